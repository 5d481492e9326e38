/**
 * A store that is moved, removed or created again while it is open: its id and its numbers distinguish the generations.
 */

// guarantee: bundles/replaced-store-is-noticed

import { execFileSync } from 'node:child_process'
import {
  chmodSync,
  closeSync,
  existsSync,
  openSync,
  readFileSync,
  readdirSync,
  renameSync,
  rmSync,
  writeFileSync,
  writeSync,
} from 'node:fs'
import { join } from 'node:path'
import { describe, expect } from 'vitest'
import { openBundles } from 'warmswap'
import { repository } from '../support/paths.js'
import { publish } from '../support/stores.js'
import { test } from '../support/temp.js'

const module = (build: string): Record<string, string> => ({
  'main.mjs': `export { build } from './part.mjs'`,
  'part.mjs': `export const build = '${build}'`,
})
const closed = (message: RegExp): object => ({ code: 'ERR_CLOSED', message: expect.stringMatching(message) })

/** Another process opens the store at `root`, which it makes if need be, and publishes. */
function publishElsewhere(root: string, build: string): void {
  const text = `
    import { openBundles } from 'warmswap'
    const store = await openBundles(${JSON.stringify(root)}, { keep: 0 })
    const stage = await store.stage()
    for (const [path, text] of Object.entries(${JSON.stringify(module(build))})) await stage.write(path, text)
    await stage.publish({ meta: ${JSON.stringify(build)} })
    await store.collect()`
  execFileSync(process.execPath, ['--input-type=module', '-e', text], { cwd: repository })
}

describe('a store that was removed and created again', () => {
  test.for(['this process', 'another process'])(
    'by %s: modules are the new ones, and old pins are not current',
    async (by, { memory }) => {
      const root = join(memory, 'store')
      const first = await openBundles(root)
      await publish(first, module('1'))
      const old = first.pin()
      expect(await import(old.url('main.mjs'))).toMatchObject({ build: '1' })
      rmSync(root, { recursive: true })
      if (by === 'another process') publishElsewhere(root, '2')
      const second = await openBundles(root)
      if (by === 'this process') await publish(second, module('2'))
      using pin = second.pin()
      expect(pin.generation.number).toBe(2)
      expect(pin.url('main.mjs')).not.toBe(old.url('main.mjs'))
      expect(await import(pin.url('main.mjs'))).toMatchObject({ build: '2' })
      if (by === 'another process') expect(pin.generation.meta).toBe('2')
      expect(old.isCurrent()).toBe(false)
      expect(pin.isCurrent()).toBe(true)
      expect(() => first.pin()).toThrow(
        expect.objectContaining(closed(/another store is at this path.*openBundles\(\) again/)),
      )
      // A further open finds the same store.
      const third = await openBundles(root)
      expect(third.current()?.number).toBe(2)
      using same = third.pin()
      expect(same.url('main.mjs')).toBe(pin.url('main.mjs'))
      old.release()
      for (const store of [first, second, third]) await store.close()
    },
  )

  test('before its first publish: the numbering continues', async ({ memory }) => {
    const root = join(memory, 'store')
    const first = await openBundles(root)
    for (const text of ['1', '2', '3']) await publish(first, { a: text })
    rmSync(root, { recursive: true })
    await (await openBundles(root)).close()
    publishElsewhere(root, 'elsewhere')
    const second = await openBundles(root)
    expect(second.current()?.number).toBe(4)
    for (const store of [first, second]) await store.close()
  })
})

describe('a store whose folder no longer exists', () => {
  test.for(['removed', 'moved'])('%s: each call reports it, with the way out', async (how, { memory }) => {
    const root = join(memory, 'store')
    const store = await openBundles(root)
    await publish(store, { a: '1' })
    using pin = store.pin()
    const stage = await store.stage()
    await stage.write('a', '2')
    if (how === 'removed') rmSync(root, { recursive: true })
    else renameSync(root, join(memory, 'moved'))
    const gone = closed(/no longer exists: its directory was removed or moved.*openBundles\(\) again/)
    expect(() => store.pin()).toThrow(expect.objectContaining(gone))
    expect(() => store.pin({ generation: 1 })).toThrow(expect.objectContaining(gone))
    expect(pin.isCurrent()).toBe(false)
    const late = [
      store.stage(),
      store.stage({ from: 'current', fenced: true }),
      store.collect(),
      store.rollback(1),
      store.ensure(async () => {}, { fingerprint: 'x' }),
    ]
    for (const result of await Promise.allSettled(late))
      expect(result).toMatchObject({ status: 'rejected', reason: gone })
    await expect(stage.publish()).rejects.toMatchObject({ code: expect.stringMatching(/ERR_CLOSED|ERR_STAGE_CLOSED/) })
    expect(existsSync(root)).toBe(false)
    const again = await openBundles(how === 'removed' ? root : join(memory, 'moved'))
    await publish(again, { a: '3' })
    expect(again.current()?.number).toBe(2)
    for (const each of [store, again]) await each.close()
  })

  test('a pin on the moved store keeps its generation, whatever happens at the old path', async ({ memory }) => {
    const root = join(memory, 'store')
    const store = await openBundles(root, { keep: 0 })
    await publish(store, { a: 'old' })
    using pin = store.pin()
    renameSync(root, join(memory, 'moved'))
    publishElsewhere(root, 'x')
    expect(() => store.pin()).toThrow(expect.objectContaining(closed(/another store is at this path/)))
    expect(pin.isCurrent()).toBe(false)
    const moved = await openBundles(join(memory, 'moved'), { keep: 0 })
    for (const text of ['2', '3']) await publish(moved, { a: text })
    expect((await moved.collect()).pinned).toEqual([1])
    expect(readFileSync(join(memory, 'moved/gens/000001/tree/a'), 'utf8')).toBe('old')
    for (const each of [store, moved]) await each.close()
  })
})

test('a store of an older version gets its id at open, and keeps it', async ({ memory }) => {
  const root = join(memory, 'store')
  publishElsewhere(root, '1')
  rmSync(join(root, 'id'))
  await using store = await openBundles(root)
  const id = readFileSync(join(root, 'id'), 'utf8')
  expect(id).toMatch(/^[0-9a-f]{32}\n$/)
  using pin = store.pin()
  expect(pin.url('main.mjs')).toMatch(/gens\/000001\/tree\/main\.mjs$/)
  await using second = await openBundles(root)
  expect(second.current()?.number).toBe(1)
  expect(readFileSync(join(root, 'id'), 'utf8')).toBe(id)
})

test('a root that is a link works, also before there is a store', async ({ memory }) => {
  const { mkdirSync, symlinkSync } = await import('node:fs')
  mkdirSync(join(memory, 'real'))
  symlinkSync('real', join(memory, 'alias'))
  await using store = await openBundles(join(memory, 'alias'))
  await publish(store, { a: '1' })
  expect(store.root).toBe(join(memory, 'real'))
  await using again = await openBundles(join(memory, 'alias'))
  expect(again.current()?.number).toBe(1)
})

describe('files that were changed inside the store', () => {
  test('publish({ ifChanged }) replaces a generation of which a file is missing', async ({ memory }) => {
    await using store = await openBundles(join(memory, 'store'))
    const files = { a: '1', 'deep/b': '2' }
    const first = await publish(store, files)
    const unchanged = async (): Promise<boolean> => {
      await using stage = await store.stage()
      for (const [path, text] of Object.entries(files)) await stage.write(path, text)
      return !(await stage.publish({ ifChanged: true })).changed
    }
    expect(await unchanged()).toBe(true)
    writeFileSync(join(first.path, '.nojekyll'), '')
    expect(await unchanged(), 'an added file').toBe(true)
    rmSync(join(first.path, 'deep/b'))
    expect(await unchanged(), 'a missing file').toBe(false)
    expect(store.current()?.number).toBe(2)
    expect(await store.verify()).toEqual({ ok: true, problems: [] })
  })

  test('pin() rejects a generation that was emptied, even one that this process has pinned; an added file is served', async ({
    memory,
  }) => {
    await using store = await openBundles(join(memory, 'store'))
    const { path } = await publish(store, { a: '1', b: '2' })
    using held = store.pin()
    writeFileSync(join(path, '.DS_Store'), '')
    store.pin().release()
    store.pin({ generation: 1 }).release()
    rmSync(join(path, 'a'))
    const corrupt = expect.objectContaining({
      code: 'ERR_GENERATION_CORRUPT',
      message: expect.stringMatching(/verify\(\)/),
    })
    expect(() => store.pin()).toThrow(corrupt)
    expect(() => store.pin({ generation: 1 })).toThrow(corrupt)
    expect((await store.verify()).problems).toEqual([
      { path: '.DS_Store', problem: 'extra' },
      { path: 'a', problem: 'missing' },
    ])
    held.release()
    expect(() => store.pin()).toThrow(corrupt)
    rmSync(path, { recursive: true })
    expect(() => store.pin()).toThrow(expect.objectContaining({ code: 'ERR_GENERATION_CORRUPT' }))
    await publish(store, { a: '3' })
    store.pin().release()
  })

  test('an open falls back to a complete generation; ensure() builds again, and not for an added file', async ({
    memory,
  }) => {
    const root = join(memory, 'store')
    await using store = await openBundles(root, { keep: 3 })
    let builds = 0
    const build = async (stage: { write(path: string, data: string): Promise<void> }): Promise<void> => {
      builds += 1
      await stage.write('a', 'built')
    }
    const ensured = async (): Promise<number> => {
      using pin = await store.ensure(build, { fingerprint: 'one' })
      return pin.generation.number
    }
    expect(await ensured()).toBe(1)
    writeFileSync(join(root, 'gens/000001/tree/extra'), '')
    expect(await ensured()).toBe(1)
    await publish(store, { a: '2' })
    rmSync(join(root, 'gens/000002/tree/a'))
    await using second = await openBundles(root)
    expect(second.current()?.number).toBe(1)
    rmSync(join(root, 'gens/000001/tree/a'))
    expect(await ensured()).toBe(3)
    expect(builds).toBe(2)
    expect(readdirSync(join(root, 'gens/000003/tree'))).toEqual(['a'])
  })
})

test('bundles/open-files-can-change, bundles/links-are-not-versioned: a file that a tool has open and the target of a link change after the publish', async ({
  memory,
}) => {
  await using store = await openBundles(join(memory, 'store'))
  writeFileSync(join(memory, 'target'), 'one')
  await using stage = await store.stage()
  await stage.write('main.mjs', 'one')
  await stage.symlink('outside', join(memory, 'target'))
  const open = openSync(join(stage.path, 'main.mjs'), 'r+')
  await stage.publish()
  writeSync(open, 'two', 0)
  closeSync(open)
  writeFileSync(join(memory, 'target'), 'two')
  const pin = store.pin()
  expect(readFileSync(pin.resolve('main.mjs'), 'utf8')).toBe('two')
  expect(readFileSync(pin.resolve('outside'), 'utf8')).toBe('two')
  expect((await store.verify()).problems).toEqual([{ path: 'main.mjs', problem: 'hash' }])
  pin.release()
})

test('bundles/published-files-can-be-forced: verify names the files that another program changed', async ({
  memory,
}) => {
  await using store = await openBundles(join(memory, 'store'))
  await publish(store, { size: '1', hash: '1', missing: '1', mode: '1' })
  const { path } = store.current() as { path: string }
  for (const [name, text] of [
    ['size', '12'],
    ['hash', '2'],
  ] as const) {
    chmodSync(join(path, name), 0o644)
    writeFileSync(join(path, name), text)
    chmodSync(join(path, name), 0o444)
  }
  rmSync(join(path, 'missing'))
  chmodSync(join(path, 'mode'), 0o755)
  writeFileSync(join(path, 'extra'), '')
  expect((await store.verify()).problems).toEqual(
    ['extra', 'hash', 'missing', 'mode', 'size'].map((name) => ({ path: name, problem: name })),
  )
})
