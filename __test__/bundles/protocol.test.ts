/**
 * docs/protocol/bundles.md is sufficient: a reader and a collector in Python, written from its text alone, work
 * concurrently with warmswap.
 */

// guarantee: bundles/protocol-is-documented

import { execFileSync } from 'node:child_process'
import { existsSync, readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { type BundleStore, openBundles } from 'warmswap'
import { describe, expect } from 'vitest'
import { start } from '../support/children.js'
import { repository } from '../support/paths.js'
import { test } from '../support/stores.js'

const program = join(repository, '__test__/programs/bundles_reader.py')
const hasPython = ((): boolean => {
  try {
    return execFileSync('python3', ['--version']).length > 0
  } catch {
    return false
  }
})()
if (!hasPython) console.warn('skipped: python3 is not installed, so the protocol is not tried from another language')

async function publish(store: BundleStore, version: number): Promise<void> {
  const stage = await store.stage()
  for (const name of ['one.txt', 'deep/two.txt', 'deep/three.txt'])
    await stage.write(name, `${version}\n${'x'.repeat(version % 7)}`)
  await stage.symlink('link', 'one.txt')
  await stage.publish()
}

const collect = (root: string): Record<string, number[]> =>
  JSON.parse(execFileSync('python3', [program, 'collect', root], { encoding: 'utf8' }))

describe.skipIf(!hasPython)('the protocol in another language', () => {
  test('bundles/pin-is-complete, bundles/pinned-is-unchanged, bundles/pin-is-current: a Python reader sees no torn, mixed or backward generation while we publish and it collects', async ({
    store,
  }) => {
    await publish(store, 1)
    const reader = start('python3', [program, 'read', store.root, '3'])
    const until = Date.now() + 3_000
    let version = 1
    let collections = 0
    while (Date.now() < until) {
      version += 1
      await publish(store, version)
      if (version % 50 === 0) {
        collect(store.root)
        collections += 1
      }
    }
    const { reads, generations, problems } = JSON.parse(await reader.line(/"reads"/))
    expect(problems).toEqual([])
    expect(generations).toBeGreaterThan(10)
    expect(reads).toBeGreaterThan(10)
    expect(collections).toBeGreaterThan(0)
  })

  test("bundles/pinned-is-unchanged, bundles/unneeded-is-removed: each side's collector leaves what the other side holds, and removes the rest", async ({
    store,
  }) => {
    await publish(store, 1)
    const held = start('python3', [program, 'hold', store.root])
    await held.line(/"held": 1/)
    for (const version of [2, 3, 4]) await publish(store, version)
    expect((await store.collect()).pinned).toEqual([1])

    const ours = store.pin({ generation: 3 })
    await publish(store, 5)
    await publish(store, 6)
    // The collection after the publishes may have removed it before.
    expect(collect(store.root).pinned).toEqual([1, 3])
    expect(existsSync(ours.resolve('deep/two.txt'))).toBe(true)

    held.say('go on')
    expect(JSON.parse(await held.line(/"problems"/))).toEqual({ problems: [] })
    await held.ended
    ours.release()
    expect(collect(store.root).kept).toEqual([5, 6])
    expect(readdirSync(join(store.root, 'gens'))).toEqual(['000005', '000006'])
    for (const folder of ['stage', 'owners', 'trash']) expect(readdirSync(join(store.root, folder))).toEqual([])
    expect((await store.verify()).ok).toBe(true)
    await publish(store, 7)
    expect(store.current()?.number).toBe(7)
  })

  test('bundles/unneeded-is-removed: the Python collector keeps what we pin and keep, and removes the rest', async ({
    memory,
  }) => {
    const root = join(memory, 'kept')
    let store = await openBundles(root, { keep: 9 })
    for (const version of [1, 2, 3, 4]) await publish(store, version)
    await store.close()
    // Only the setting changes. Nothing of the first store is left that could collect: the collection is Python's.
    store = await openBundles(root)
    const pin = store.pin({ generation: 2 })
    writeFileSync(join(root, 'config.json'), '{"keep":1,"graceMs":0}')
    expect(collect(root)).toEqual({ removed: [1], pinned: [2], kept: [3, 4] })
    pin.release()
    expect(collect(root)).toEqual({ removed: [2], pinned: [], kept: [3, 4] })
    expect((await store.verify()).ok).toBe(true)
    await store.close()
  })

  test('bundles/crash-needs-no-repair: what a killed publisher of ours leaves, the Python collector sweeps', async ({
    store,
  }) => {
    await publish(store, 1)
    const child = start(
      process.execPath,
      [
        '--input-type=module',
        '-e',
        `import { openBundles } from 'warmswap'; const store = await openBundles(${JSON.stringify(store.root)}); const stage = await store.stage(); await stage.write('half', 'half'); console.log('staged'); setInterval(() => {}, 1000)`,
      ],
      { cwd: repository },
    )
    await child.line(/staged/)
    collect(store.root)
    expect(readdirSync(join(store.root, 'stage')), 'a living writer keeps its stage').toHaveLength(1)
    child.signal('SIGKILL')
    await child.ended
    collect(store.root)
    expect(readdirSync(join(store.root, 'stage'))).toEqual([])
    expect(readdirSync(join(store.root, 'owners'))).toEqual([])
  })
})
