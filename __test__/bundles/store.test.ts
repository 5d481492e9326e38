/** The contract of a store, call by call, through the built package. */

import { chmodSync, linkSync, readFileSync, readdirSync, readlinkSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect } from 'vitest'
import { openBundles } from 'warmswap'
import { publish } from '../support/stores.js'
import { test } from '../support/temp.js'

test('pin(), current() and list() return the published stage', async ({ disk }) => {
  await using store = await openBundles(join(disk, 'store'))
  expect(store.current()).toBeNull()
  await expect(store.verify()).rejects.toMatchObject({ code: 'ERR_NO_GENERATION' })
  expect(() => store.pin()).toThrow(expect.objectContaining({ code: 'ERR_NO_GENERATION' }))
  const published = await publish(store, { 'main.mjs': 'export default 1', 'assets/deep/a.txt': 'a' })
  expect(published).toMatchObject({ number: 1, files: 2, bytes: 17, changed: true })
  using pin = store.pin()
  expect(pin.generation.number).toBe(1)
  expect(pin.path).toBe(join(store.root, 'gens/000001/tree'))
  expect(readFileSync(pin.resolve('assets/deep/a.txt'), 'utf8')).toBe('a')
  expect(await import(pin.url('main.mjs'))).toMatchObject({ default: 1 })
  expect(pin.isCurrent()).toBe(true)
  expect(JSON.parse(JSON.stringify(await store.list()))).toEqual(
    [JSON.parse(JSON.stringify(published))].map(({ ...rest }) => rest),
  )
  expect(await store.verify()).toEqual({ ok: true, problems: [] })
  expect(readlinkSync(join(store.root, 'current'))).toBe('gens/000001/tree')
})

test('a pinned generation is kept across publishes, an unpinned one is removed', async ({ memory }) => {
  await using store = await openBundles(join(memory, 'store'), { keep: 0 })
  await publish(store, { a: '1' })
  const pin = store.pin()
  const second = store.pin({ generation: 1 })
  for (const text of ['2', '3', '4']) await publish(store, { a: text })
  expect(readFileSync(join(pin.path, 'a'), 'utf8')).toBe('1')
  expect(pin.isCurrent()).toBe(false)
  expect(await store.collect()).toMatchObject({ kept: [4], pinned: [1] })
  pin.release()
  pin.release()
  expect(await store.collect()).toMatchObject({ pinned: [1] })
  second.release()
  expect(await store.collect()).toMatchObject({ kept: [4], pinned: [] })
  expect(() => store.pin({ generation: 1 })).toThrow(expect.objectContaining({ code: 'ERR_GENERATION_GONE' }))
  expect(readdirSync(join(store.root, 'gens'))).toEqual(['000004'])
  for (const folder of ['owners', 'stage', 'trash']) expect(readdirSync(join(store.root, folder))).toEqual([])
})

test('rollback makes an older generation current, and numbers are never used twice', async ({ memory }) => {
  await using store = await openBundles(join(memory, 'store'), { keep: 2 })
  await publish(store, { a: '1' })
  await publish(store, { a: '2' })
  expect(await store.rollback(1)).toMatchObject({ number: 1 })
  expect(store.current()?.number).toBe(1)
  expect((await publish(store, { a: '3' })).number).toBe(3)
  expect((await store.list()).map((each) => each.number)).toEqual([1, 2, 3])
  await expect(store.rollback(9)).rejects.toMatchObject({ code: 'ERR_GENERATION_GONE' })
})

test('ifChanged, expect, require, fenced and an empty stage', async ({ memory }) => {
  await using store = await openBundles(join(memory, 'store'))
  await publish(store, { a: '1' })
  await using same = await store.stage()
  await same.write('a', '1')
  expect(await same.publish({ ifChanged: true })).toMatchObject({ number: 1, changed: false })
  await using late = await store.stage({ fenced: true })
  await using fast = await store.stage({ fenced: true })
  await late.write('a', 'late')
  await expect(late.publish({ expect: 7 })).rejects.toMatchObject({ code: 'ERR_FENCED' })
  await expect(late.publish({ require: ['main.mjs'] })).rejects.toMatchObject({ code: 'ERR_MISSING_ENTRY' })
  await expect(fast.publish()).rejects.toMatchObject({ code: 'ERR_EMPTY_STAGE' })
  await fast.write('a', 'fast')
  expect(await fast.publish({ meta: { sha: 'x' }, fingerprint: 'f' })).toMatchObject({
    number: 2,
    meta: { sha: 'x' },
    fingerprint: 'f',
  })
  await expect(late.publish()).rejects.toMatchObject({ code: 'ERR_FENCED' })
  await expect(fast.write('b', '')).rejects.toMatchObject({ code: 'ERR_STAGE_CLOSED' })
  expect(store.current()?.number).toBe(2)
})

test('ensure builds once for a fingerprint, and again when the generation does not verify', async ({ memory }) => {
  await using store = await openBundles(join(memory, 'store'))
  let builds = 0
  const build = async (stage: { write(path: string, data: string): Promise<void> }) => {
    builds += 1
    await stage.write('a', 'built')
  }
  const pins = await Promise.all([1, 2, 3].map(() => store.ensure(build, { fingerprint: 'one' })))
  expect([builds, ...pins.map((pin) => pin.generation.number)]).toEqual([1, 1, 1, 1])
  for (const pin of pins) pin.release()
  using other = await store.ensure(build, { fingerprint: 'two' })
  expect([builds, other.generation.number]).toEqual([2, 2])
  using older = await store.ensure(build, { fingerprint: 'one' })
  expect([builds, older.generation.number]).toEqual([2, 1])
})

test('writeAll, symlink, adopt and from current', async ({ disk }) => {
  await using store = await openBundles(join(disk, 'store'))
  await using stage = await store.stage()
  await stage.writeAll([{ path: join(disk, 'out/b/c.js'), contents: Buffer.from('c') }], join(disk, 'out'))
  await stage.symlink('node_modules', '../../../../node_modules')
  await expect(stage.write('node_modules/x', 'through')).rejects.toMatchObject({ code: 'ERR_INVALID_ARGUMENT' })
  await expect(stage.write('../x', 'out')).rejects.toMatchObject({ code: 'ERR_INVALID_ARGUMENT' })
  const first = await stage.publish({ require: ['b/c.js'] })
  await using next = await store.stage({ from: 'current' })
  expect(readFileSync(join(next.path, 'b/c.js'), 'utf8')).toBe('c')
  expect(readlinkSync(join(next.path, 'node_modules'))).toBe('../../../../node_modules')
  await next.adopt(first.path, 'copy').catch(() => {})
  expect((await next.publish({ ifChanged: true })).changed).toBe(false)
})

test('link adopts a directory and follows every publish', async ({ disk }) => {
  await using first = await openBundles(join(disk, 'other'))
  await publish(first, { 'index.html': 'old' })
  const { cpSync } = await import('node:fs')
  cpSync(first.pin().path, join(disk, 'dist'), { recursive: true })
  await using store = await openBundles(join(disk, 'store'), { link: join(disk, 'dist'), adopt: true })
  expect(store.current()?.number).toBe(1)
  expect(readlinkSync(join(disk, 'dist'))).toBe('store/view')
  expect(readFileSync(join(disk, 'dist/index.html'), 'utf8')).toBe('old')
  await publish(store, { 'index.html': 'new' })
  expect(readFileSync(join(disk, 'dist/index.html'), 'utf8')).toBe('new')
  symlinkSync('/nowhere', join(disk, 'foreign'))
  await expect(openBundles(join(disk, 'third'), { link: join(disk, 'foreign') })).rejects.toMatchObject({
    code: 'ERR_INVALID_ARGUMENT',
  })
})

test('watch reports the last publish', async ({ disk }) => {
  await using store = await openBundles(join(disk, 'store'))
  const seen: number[] = []
  const told = new Promise<void>((resolve) => {
    store.watch(({ number }) => {
      seen.push(number)
      if (number === 3) resolve()
    })
  })
  for (const text of ['1', '2', '3']) await publish(store, { a: text })
  await told
  expect(seen.at(-1)).toBe(3)
})

test('bundles/waits-are-bounded: forty openers that want different settings and a loop of collections do not wait for each other', async ({
  memory,
}) => {
  const root = join(memory, 'store')
  await using store = await openBundles(root)
  await publish(store, { a: '1' })
  let opening = true
  const collecting = (async () => {
    while (opening) await store.collect()
  })()
  // More than the addon has threads for what blocks (16, src/addon/runtime.rs).
  const stores = await Promise.all(
    Array.from({ length: 40 }, (_, index) => openBundles(root, { keep: (index % 5) + 1 })),
  )
  opening = false
  await collecting
  for (const each of stores) await each.close()
})

test('a damaged manifest of an older generation: list() leaves it out, ensure() builds again, verify() reports it', async ({
  memory,
}) => {
  await using store = await openBundles(join(memory, 'store'), { keep: 3 })
  const build = async (stage: { write(path: string, data: string): Promise<void> }) => await stage.write('a', 'built')
  ;(await store.ensure(build, { fingerprint: 'one' })).release()
  await publish(store, { a: '2' })
  writeFileSync(join(store.root, 'pins/000001'), '')
  expect((await store.list()).map(({ number }) => number)).toEqual([2])
  await expect(store.verify(1)).rejects.toMatchObject({ code: 'ERR_GENERATION_CORRUPT' })
  using pin = await store.ensure(build, { fingerprint: 'one' })
  expect(pin.generation.number).toBe(3)
})

test("a user's own file next to a hard-linked one is kept, and names may have any length", async ({ disk }) => {
  await using store = await openBundles(join(disk, 'store'))
  await using stage = await store.stage()
  const long = 'x'.repeat(255)
  for (const name of ['a', 'a.warmswap-copy', long]) await stage.write(name, name)
  for (const name of ['a', long]) linkSync(join(stage.path, name), join(disk, name))
  const { path } = await stage.publish()
  expect(readdirSync(path).sort()).toEqual(['a', 'a.warmswap-copy', long])
  // A program that rewrites the other name in place does not change the generation.
  writeFileSync(join(disk, 'a'), 'rewritten')
  expect(readFileSync(join(path, 'a'), 'utf8')).toBe('a')
  await expect(store.verify()).resolves.toEqual({ ok: true, problems: [] })
})

test('a copy of the current generation is unchanged under any umask', async ({ memory }) => {
  await using store = await openBundles(join(memory, 'store'))
  await using stage = await store.stage()
  await stage.write('wide/a', '1')
  chmodSync(join(stage.path, 'wide'), 0o775)
  await stage.publish()
  await using next = await store.stage({ from: 'current' })
  expect(await next.publish({ ifChanged: true })).toMatchObject({ number: 1, changed: false })
})

test('bundles/publish-is-noticed: a publish whose link cannot be made is refused before anything is visible', async ({
  disk,
}) => {
  await using store = await openBundles(join(disk, 'store'), { link: join(disk, 'file/dist') })
  writeFileSync(join(disk, 'file'), '')
  await expect(publish(store, { a: '1' })).rejects.toMatchObject({ code: 'ERR_IO' })
  expect(store.current()).toBeNull()
})
