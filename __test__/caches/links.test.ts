/**
 * The path that a caller gives is followed once. Entries of another user there are not trusted (docs/threat-model.md).
 */

// guarantee: archives/path-is-followed-once, caches/strangers-are-contained

import {
  chmodSync,
  existsSync,
  lchownSync,
  mkdirSync,
  readFileSync,
  readdirSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { expect } from 'vitest'
import { openCache, pack, unpack } from 'warmswap'
import { test } from '../support/temp.js'
import { digest, makeTree } from '../support/trees.js'
import { isRoot } from '../support/users.js'

const STRANGER = 12345

test('restore, snapshot and the folder of a store follow a link, and find the tree unchanged through it', async ({
  memory,
}) => {
  const tree = makeTree(join(memory, 'tree'))
  for (const name of ['store', 'real']) mkdirSync(join(memory, name))
  for (const [text, link] of [
    ['tree', 'from'],
    ['real', 'into'],
    ['store', 'bucket'],
  ] as const)
    symlinkSync(text, join(memory, link))
  const cache = openCache(`file://${join(memory, 'bucket')}`)
  expect(await cache.snapshot({ key: 'site', from: join(memory, 'from'), quietMs: 20 })).toMatchObject({
    outcome: 'uploaded',
  })
  expect(existsSync(join(memory, 'store/site/current.json'))).toBe(true)
  expect(await cache.restore({ key: 'site', into: join(memory, 'into') })).toMatchObject({
    outcome: 'restored',
    commit: 'rename',
  })
  expect(digest(join(memory, 'real'))).toEqual(digest(tree))
  await expect
    .poll(async () => (await cache.restore({ key: 'site', into: join(memory, 'into') })).outcome, { timeout: 10_000 })
    .toBe('unchanged')
  expect(await cache.snapshot({ key: 'site', from: join(memory, 'from') })).toMatchObject({
    outcome: 'unchanged',
    uploadedBytes: 0,
  })
})

test('a link inside the folder of a store is not followed, and the reason says what to do', async ({ memory }) => {
  const tree = makeTree(join(memory, 'tree'))
  for (const name of ['store', 'elsewhere']) mkdirSync(join(memory, name))
  symlinkSync('../elsewhere', join(memory, 'store/site'))
  const cache = openCache(`file://${join(memory, 'store')}`)
  for (const result of [
    await cache.snapshot({ key: 'site', from: tree }),
    await cache.restore({ key: 'site', into: join(memory, 'into') }),
  ]) {
    expect(result).toMatchObject({ ok: false, outcome: 'error' })
    expect(result.reason).toMatch(/store\/site' is a symbolic link.*Open the store at the target/)
  }
  expect(readdirSync(join(memory, 'elsewhere'))).toEqual([])
})

test.skipIf(!isRoot)(
  "another user's link, and another user's part of a store, end a call as denied with path and owner",
  async ({ memory }) => {
    const tree = makeTree(join(memory, 'tree'))
    const [shared, home] = [join(memory, 'shared'), join(memory, 'home')]
    for (const path of [shared, home]) mkdirSync(path)
    chmodSync(shared, 0o1777)
    writeFileSync(join(home, 'kept'), 'kept')
    const link = join(shared, 'into')
    symlinkSync(home, link)
    lchownSync(link, STRANGER, STRANGER)
    const refused = await unpack(pack(tree), link, { mode: 'replace' })
    expect(refused).toMatchObject({ ok: false, outcome: 'denied' })
    expect(refused.reason).toContain(`'${link}' belongs to another user (uid ${STRANGER})`)
    await expect(unpack(pack(tree), link, { mode: 'replace', strict: true })).rejects.toMatchObject({
      code: 'ERR_UNTRUSTED',
    })
    expect(readFileSync(join(home, 'kept'), 'utf8')).toBe('kept')

    mkdirSync(join(shared, 'site'))
    lchownSync(join(shared, 'site'), STRANGER, STRANGER)
    const denied = await openCache(`file://${shared}`).snapshot({ key: 'site', from: tree })
    expect(denied).toMatchObject({ ok: false, outcome: 'denied', uploadedBytes: 0 })
    expect(denied.reason).toContain(`uid ${STRANGER}`)
  },
)
