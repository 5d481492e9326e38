// @module-tag storm
// Many calls at once: what waits for the network, for a quiet tree or for another writer holds none of the few threads
// that everything else of the process needs.
import { setMaxListeners } from 'node:events'
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { openBundles, openCache } from 'warmswap'
import { expect } from 'vitest'
import { test } from '../support/temp.js'
import { noise } from '../support/trees.js'

/** More than the runtime has threads for work that blocks. */
const CROWD = 20

test('caches/deadline-is-absolute: twenty restores from a folder at once are all restored (sixteen waited for each other until their deadlines)', async ({
  memory,
}) => {
  const tree = join(memory, 'tree')
  mkdirSync(tree)
  // Several parts of 8 MiB, one at a time: a restore waits for parts while it decodes.
  writeFileSync(join(tree, 'large'), noise(40 << 20))
  const cache = openCache(`file://${join(memory, 'store')}`)
  expect(await cache.snapshot({ key: 'site', from: tree })).toMatchObject({ outcome: 'uploaded' })
  const results = await Promise.all(
    Array.from({ length: CROWD }, (_, index) =>
      cache.restore({ key: 'site', into: join(memory, `into-${index}`), concurrency: 1, deadlineMs: 40_000 }),
    ),
  )
  expect(results.map(({ outcome }) => outcome)).toEqual(Array.from({ length: CROWD }, () => 'restored'))
})

test('caches/event-loop-stays-free: a publish does not wait for snapshots that wait for their trees to rest', async ({
  memory,
}) => {
  const tree = join(memory, 'tree')
  mkdirSync(tree)
  writeFileSync(join(tree, 'file'), 'x')
  const over = new AbortController()
  setMaxListeners(CROWD, over.signal)
  const cache = openCache('memory:')
  const outcomes: string[] = []
  for (let index = 0; index < CROWD; index += 1) {
    void cache
      .snapshot({ key: `site-${index}`, from: tree, quietMs: 50_000, deadlineMs: 59_000, signal: over.signal })
      .then(({ outcome }) => outcomes.push(outcome))
  }
  const store = await openBundles(join(memory, 'bundles'))
  const stage = await store.stage()
  await stage.write('main.js', 'export {}')
  await stage.publish()
  expect(outcomes).toEqual([])
  over.abort()
  await expect.poll(() => outcomes).toEqual(Array.from({ length: CROWD }, () => 'aborted'))
})
