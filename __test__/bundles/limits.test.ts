/** Bad input, full disks, foreign filesystems, stopped writers, many publishes (I6, I17, I18, I19, I21). */

import { execFileSync, spawnSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { chmodSync, mkdirSync, readFileSync, readdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { describe, expect, test as plain } from 'vitest'
import { type BundleStore, bundleIgnores, openBundles } from 'warmswap'
import { start } from '../support/children.js'
import { repository } from '../support/paths.js'
import { makeTemp, test } from '../support/temp.js'

async function publish(store: BundleStore, files: Record<string, string>): Promise<number> {
  await using stage = await store.stage()
  for (const [path, text] of Object.entries(files)) await stage.write(path, text)
  return (await stage.publish()).number
}

/** The current generation as it was, and nothing beside it. */
async function expectUntouched(store: BundleStore, number: number): Promise<void> {
  expect(store.current()?.number).toBe(number)
  expect(await store.verify()).toEqual({ ok: true, problems: [] })
  await store.collect()
  for (const folder of ['owners', 'stage', 'trash']) expect(readdirSync(join(store.root, folder)), folder).toEqual([])
}

describe('I17: no path leaves the stage', () => {
  const cases = ['', '.', '..', '../x', 'a/../../x', '/abs', 'a//b', './a', 'a\0b', 'C:/x', 'a\\b', 'NUL', 'com1.txt', 'x'.repeat(256), `${'d/'.repeat(2048)}x`]
  test.for(cases)('write(%j) is refused', async (path, { memory }) => {
    await using store = await openBundles(join(memory, 'store'))
    await publish(store, { a: '1' })
    await using stage = await store.stage()
    await expect(stage.write(path, '')).rejects.toMatchObject({ code: 'ERR_INVALID_ARGUMENT' })
    await expect(stage.symlink(path, 'x')).rejects.toMatchObject({ code: 'ERR_INVALID_ARGUMENT' })
    await stage.discard()
    await expectUntouched(store, 1)
  })

  test('names that differ only by case, sockets, and a write through a link are refused', async ({ memory }) => {
    await using store = await openBundles(join(memory, 'store'))
    await publish(store, { a: '1' })
    await using stage = await store.stage()
    await stage.write('Readme', '')
    await stage.write('README', '')
    await expect(stage.publish()).rejects.toMatchObject({ code: 'ERR_INVALID_ARGUMENT', message: expect.stringContaining("'README'") })
    rmSync(join(stage.path, 'Readme'))
    execFileSync('mkfifo', [join(stage.path, 'pipe')])
    await expect(stage.publish()).rejects.toMatchObject({ code: 'ERR_INVALID_ARGUMENT', message: expect.stringContaining('pipe') })
    symlinkSync(memory, join(stage.path, 'out'))
    await expect(stage.write('out/escaped', 'x')).rejects.toMatchObject({ code: 'ERR_INVALID_ARGUMENT' })
    expect(readdirSync(memory)).toEqual(['store'])
    await stage.discard()
    await expectUntouched(store, 1)
  })

  test('deleting a generation never follows its links', async ({ memory }) => {
    await using store = await openBundles(join(memory, 'store'), { keep: 0 })
    writeFileSync(join(memory, 'precious'), 'kept')
    await using stage = await store.stage()
    await stage.write('a', '')
    await stage.symlink('outside', memory)
    await stage.publish()
    await publish(store, { a: '2' })
    await store.collect()
    expect(readFileSync(join(memory, 'precious'), 'utf8')).toBe('kept')
  })

  test('roots, options and pins are checked', async ({ memory }) => {
    const bad = { code: 'ERR_INVALID_ARGUMENT' }
    await expect(openBundles('relative')).rejects.toMatchObject(bad)
    await expect(openBundles(join(memory, 's'), { keep: -1 })).rejects.toMatchObject(bad)
    await expect(openBundles(join(memory, 's'), { durability: 'disk' as never })).rejects.toMatchObject(bad)
    await expect(openBundles(join(memory, 's'), { lnk: 'x' } as never)).rejects.toMatchObject(bad)
    await expect(openBundles(join(memory, 's'), { link: join(memory, 's/dist') })).rejects.toMatchObject(bad)
    mkdirSync(join(memory, 'foreign'))
    writeFileSync(join(memory, 'foreign/notes.txt'), '')
    await expect(openBundles(join(memory, 'foreign'))).rejects.toMatchObject({ ...bad, message: expect.stringContaining('notes.txt') })
    await using store = await openBundles(join(memory, 's'))
    await publish(store, { a: '1' })
    using pin = store.pin()
    expect(() => pin.resolve('../../x')).toThrow(expect.objectContaining(bad))
    expect(() => store.pin({ generation: 0 })).toThrow(expect.objectContaining(bad))
    writeFileSync(join(store.root, 'FORMAT'), 'warmswap bundles 2\n')
    await expect(openBundles(store.root)).rejects.toMatchObject({ code: 'ERR_FORMAT' })
  })
})

describe('I18: filesystems', () => {
  test('what is not on the allow list is ERR_UNSUPPORTED with the way out, before any lock', async ({ memory }) => {
    const text = `import { openBundles } from 'warmswap'; await openBundles(${JSON.stringify(join(memory, 'store'))}).catch((error) => console.log(error.code, error.message))`
    const child = start(process.execPath, ['--input-type=module', '-e', text], { cwd: repository, testing: true, env: { WARMSWAP_FILESYSTEM: 'nfs' } })
    expect(await child.line(/^ERR_/)).toMatch(/^ERR_UNSUPPORTED .* nfs .* link/)
    await child.ended
    expect(readdirSync(memory)).toEqual([])
  })

  const overlay = canMountOverlay()
  plain.skipIf(!overlay)(`a store baked into an image layer works on overlayfs${overlay ? '' : ' (NOT RUN: cannot mount overlayfs here)'}`, async () => {
    const folder = makeTemp('/dev/shm')
    for (const name of ['lower', 'upper', 'work', 'merged']) mkdirSync(join(folder, name))
    const baked = await openBundles(join(folder, 'lower/store'), { keep: 0 })
    await publish(baked, { a: '1' })
    await baked.close()
    execFileSync('mount', ['-t', 'overlay', 'overlay', '-o', `lowerdir=${folder}/lower,upperdir=${folder}/upper,workdir=${folder}/work`, `${folder}/merged`])
    try {
      await using store = await openBundles(join(folder, 'merged/store'))
      expect(store.capabilities.filesystem).toBe('overlayfs')
      const pin = store.pin()
      expect(await publish(store, { a: '2' })).toBe(2)
      expect(await store.collect()).toMatchObject({ pinned: [1], kept: [2] })
      expect(readFileSync(pin.resolve('a'), 'utf8')).toBe('1')
      pin.release()
      expect(await store.collect()).toMatchObject({ removed: [1], kept: [2] })
      expect(readdirSync(join(store.root, 'gens'))).toEqual(['000002'])
    } finally {
      execFileSync('umount', [`${folder}/merged`])
      rmSync(folder, { recursive: true })
    }
  })

  plain.skipIf(!overlay)(`a directory of an image layer cannot become a link: both ways out are named${overlay ? '' : ' (NOT RUN: cannot mount overlayfs here)'}`, async () => {
    const folder = makeTemp('/dev/shm')
    for (const name of ['lower', 'lower/dist', 'upper', 'work', 'merged']) mkdirSync(join(folder, name))
    writeFileSync(join(folder, 'lower/dist/a'), 'baked')
    execFileSync('mount', ['-t', 'overlay', 'overlay', '-o', `redirect_dir=off,lowerdir=${folder}/lower,upperdir=${folder}/upper,workdir=${folder}/work`, `${folder}/merged`])
    try {
      const [root, link] = [join(folder, 'merged/store'), join(folder, 'merged/dist')]
      await expect(openBundles(root, { link })).rejects.toMatchObject({ code: 'ERR_UNSUPPORTED', message: expect.stringMatching(/remove it yourself, or leave the option link out/) })
      expect(readdirSync(join(folder, 'merged')).sort()).toEqual(['dist', 'store'])
      expect(readFileSync(join(link, 'a'), 'utf8')).toBe('baked')
      rmSync(link, { recursive: true })
      await using store = await openBundles(root, { link })
      expect(readFileSync(join(link, 'a'), 'utf8')).toBe('baked')
      expect(await store.verify()).toEqual({ ok: true, problems: [] })
    } finally {
      execFileSync('umount', [`${folder}/merged`])
      rmSync(folder, { recursive: true })
    }
  })

  plain('a stage from the current generation shares its blocks on btrfs', async ({ skip }) => {
    await using disk = mountBtrfs()
    if (disk === undefined) return skip('NOT RUN: needs mkfs.btrfs and a loop device')
    await using store = await openBundles(join(disk.path, 'store'), { keep: 20 })
    expect(store.capabilities).toEqual({ filesystem: 'btrfs', clone: true })
    // Four times more than the image holds, were they copies.
    const contents = randomBytes(64 * 2 ** 20)
    await using first = await store.stage()
    await first.write('large', contents)
    await first.publish()
    for (let copies = 0; copies < 15; copies += 1) {
      await using stage = await store.stage({ from: 'current' })
      await stage.write('small', String(copies))
      await stage.publish()
    }
    expect(readdirSync(join(store.root, 'gens')).length).toBe(16)
    expect(readFileSync(join(store.root, 'current/large')).equals(contents)).toBe(true)
  })
})

interface Mounted extends AsyncDisposable {
  readonly path: string
}

/** A small btrfs in a file; undefined where it cannot be made here. */
function mountBtrfs(): Mounted | undefined {
  const folder = makeTemp('/dev/shm')
  const [image, path] = [join(folder, 'image'), join(folder, 'mount')]
  mkdirSync(path)
  const isDone = (command: string, ...args: string[]): boolean => spawnSync(command, args).status === 0
  const remove = (): void => rmSync(folder, { recursive: true, force: true })
  if (isDone('truncate', '-s', '256M', image) && isDone('mkfs.btrfs', '-q', '-f', image) && isDone('mount', '-o', 'loop', image, path)) {
    return {
      path,
      [Symbol.asyncDispose]: async () => {
        execFileSync('umount', [path])
        remove()
      },
    }
  }
  remove()
  return undefined
}

function canMountOverlay(): boolean {
  const folder = makeTemp('/dev/shm')
  for (const name of ['lower', 'upper', 'work', 'merged']) mkdirSync(join(folder, name))
  const mounted = spawnSync('mount', ['-t', 'overlay', 'overlay', '-o', `lowerdir=${folder}/lower,upperdir=${folder}/upper,workdir=${folder}/work`, `${folder}/merged`]).status === 0
  if (mounted) spawnSync('umount', [`${folder}/merged`])
  rmSync(folder, { recursive: true, force: true })
  return mounted
}

const isRoot = process.getuid?.() === 0

plain.skipIf(!isRoot)(`I6: a full disk leaves the current generation as it was${isRoot ? '' : ' (NOT RUN: needs root for a small tmpfs)'}`, async () => {
  const folder = makeTemp('/dev/shm')
  execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=2m', 'tmpfs', folder])
  try {
    await using store = await openBundles(join(folder, 'store'))
    await publish(store, { a: 'x'.repeat(400_000) })
    await expect(publish(store, { a: 'y'.repeat(3_000_000) })).rejects.toMatchObject({ code: 'ERR_IO', message: expect.stringMatching(/No space left/) })
    await expectUntouched(store, 1)
    expect(await publish(store, { a: 'z' })).toBe(2)
  } finally {
    execFileSync('umount', [folder])
    rmSync(folder, { recursive: true })
  }
})

test('I6: an aborted publish changes nothing, and the stage can be published later', async ({ memory }) => {
  await using store = await openBundles(join(memory, 'store'))
  await publish(store, { a: '1' })
  await using stage = await store.stage()
  await stage.write('a', '2')
  const reason = new Error('changed my mind')
  await expect(stage.publish({ signal: AbortSignal.abort(reason) })).rejects.toBe(reason)
  expect(store.current()?.number).toBe(1)
  expect((await stage.publish()).number).toBe(2)
})

describe('I21: no call waits for ever, none spins', () => {
  test('a stopped writer: writes end in ERR_TIMEOUT with its holder, readers are unaffected', async ({ memory }) => {
    await using store = await openBundles(join(memory, 'store'))
    await publish(store, { a: '1' })
    const holder = start('flock', [join(store.root, 'writer.lock'), '-c', 'echo held; read line'])
    await holder.line(/^held$/)
    writeFileSync(join(store.root, 'writer.lock'), JSON.stringify({ pid: holder.pid, command: 'flock', since: '2026-01-01T00:00:00.000Z' }))
    await using stage = await store.stage()
    await stage.write('a', '2')
    const late = { code: 'ERR_TIMEOUT', retryable: true, holder: { pid: holder.pid, format: 'warmswap' } }
    await expect(stage.publish({ timeoutMs: 50 })).rejects.toMatchObject(late)
    await expect(store.collect({ timeoutMs: 50 })).rejects.toMatchObject(late)
    await expect(store.rollback(1, { timeoutMs: 50 })).rejects.toMatchObject(late)
    await expect(store.stage({ fenced: true, timeoutMs: 50 })).rejects.toMatchObject(late)
    store.pin().release()
    await using second = await openBundles(store.root)
    expect(second.current()?.number).toBe(1)
    const waiting = stage.publish()
    await pause(20)
    holder.say('go')
    expect((await waiting).number).toBe(2)
    await holder.ended
  })

  test('a removed lock file is ERR_GENERATION_CORRUPT at once, and open() heals it', async ({ memory }) => {
    await using store = await openBundles(join(memory, 'store'))
    await publish(store, { a: '1' })
    rmSync(join(store.root, 'pins/000001'))
    expect(() => store.pin()).toThrow(expect.objectContaining({ code: 'ERR_GENERATION_CORRUPT' }))
    await using healed = await openBundles(store.root)
    using pin = healed.pin()
    expect(readFileSync(pin.resolve('a'), 'utf8')).toBe('1')
    expect(await healed.verify()).toMatchObject({ ok: true })
  })
})

test('verify names what was changed behind our back', async ({ memory }) => {
  await using store = await openBundles(join(memory, 'store'))
  await publish(store, { size: '1', hash: '1', missing: '1', mode: '1' })
  const { path } = store.current() as { path: string }
  for (const [name, text] of [['size', '12'], ['hash', '2']] as const) {
    chmodSync(join(path, name), 0o644)
    writeFileSync(join(path, name), text)
    chmodSync(join(path, name), 0o444)
  }
  rmSync(join(path, 'missing'))
  chmodSync(join(path, 'mode'), 0o755)
  writeFileSync(join(path, 'extra'), '')
  expect((await store.verify()).problems).toEqual(['extra', 'hash', 'missing', 'mode', 'size'].map((name) => ({ path: name, problem: name })))
})

const count = process.env.WARMSWAP_LONG === '1' ? 20_000 : 5000
test(`I19: ${count} publishes cost the same from the first to the last`, { timeout: 240_000 }, async ({ memory }) => {
  await using store = await openBundles(join(memory, 'store'))
  const descriptors = (): number => readdirSync('/proc/self/fd').length
  const times: number[] = []
  let open = 0
  for (let index = 1; index <= count; index += 1) {
    const started = performance.now()
    await publish(store, { a: String(index) })
    times.push(performance.now() - started)
    if (index === 100) open = descriptors()
    // The collection runs behind: two of it can be at work beside the kept and the current one.
    if (index % 500 === 0) expect(readdirSync(join(store.root, 'gens')).length).toBeLessThan(20)
  }
  const median = (list: number[]): number => list.sort((one, other) => one - other)[list.length >> 1] as number
  expect(median(times.slice(-500)) / median(times.slice(100, 600))).toBeLessThan(3)
  expect(descriptors()).toBeLessThanOrEqual(open + 5)
  await store.collect()
  expect(readdirSync(join(store.root, 'gens'))).toEqual([count - 1, count].map((number) => String(number).padStart(6, '0')))
  expect(readFileSync(join(store.root, 'current.json'), 'utf8').length).toBeLessThan(1000)
})

plain.skipIf(!isRoot)(`as user nobody: everything, and reading what root published${isRoot ? '' : ' (NOT RUN: needs root to become nobody)'}`, async () => {
  const folder = makeTemp('/dev/shm')
  chmodSync(folder, 0o777)
  try {
    await using store = await openBundles(join(folder, 'of-root'))
    await publish(store, { a: '1' })
    const text = `
      import { openBundles } from 'warmswap'
      import { readFileSync } from 'node:fs'
      const own = await openBundles(${JSON.stringify(join(folder, 'own'))}, { keep: 0 })
      for (const text of ['1', '2', '3']) {
        const stage = await own.stage({ from: 'current' })
        await stage.write('deep/a', text)
        await stage.publish()
      }
      console.log(JSON.stringify(await own.collect()), own.current().number, JSON.stringify(await own.verify()))
      const roots = await openBundles(${JSON.stringify(store.root)})
      console.log(readFileSync(roots.pin().resolve('a'), 'utf8'))
      const stage = await roots.stage().catch((error) => console.log(error.code))
    `
    const child = start(process.execPath, ['--input-type=module', '-e', text], { cwd: repository, uid: 65_534 })
    const ended = await child.ended
    expect(child.stderr()).toBe('')
    expect(ended.code).toBe(0)
    expect(child.lines[0]).toMatch(/"kept":\[3\].* 3 \{"ok":true/)
    expect(child.lines.slice(1)).toEqual(['1', 'ERR_IO'])
  } finally {
    rmSync(folder, { recursive: true })
  }
})

test('bundleIgnores leaves current.json to watch', () => {
  const patterns = bundleIgnores('/app/.warmswap')
  expect(patterns).toContain('/app/.warmswap/stage/**')
  expect(patterns.join()).not.toContain('current.json')
})
