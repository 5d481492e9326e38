/** Bad input, full disks, foreign filesystems, stopped writers, many publishes (I6, I17, I18, I19, I21). */

import { execFileSync, spawnSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import {
  chmodSync,
  closeSync,
  cpSync,
  lstatSync,
  mkdirSync,
  openSync,
  readFileSync,
  readdirSync,
  readlinkSync,
  rmSync,
  symlinkSync,
  writeFileSync,
  writeSync,
} from 'node:fs'
import { createRequire } from 'node:module'
import { isAbsolute, join } from 'node:path'
import { describe, expect, test as plain } from 'vitest'
import { type BundleStore, type Stage, bundleIgnores, openBundles } from 'warmswap'
import { start } from '../support/children.js'
import { repository } from '../support/paths.js'
import { publish } from '../support/stores.js'
import { makeTemp, test } from '../support/temp.js'

const isRoot = process.getuid?.() === 0

/** The current generation as it was, and nothing beside it. */
async function expectUntouched(store: BundleStore, number: number): Promise<void> {
  expect(store.current()?.number).toBe(number)
  expect(await store.verify()).toEqual({ ok: true, problems: [] })
  await store.collect()
  for (const folder of ['owners', 'stage', 'trash']) expect(readdirSync(join(store.root, folder)), folder).toEqual([])
}

const longName = 'x'.repeat(256)
const longPath = `${'d/'.repeat(2048)}x`

describe('I17: no path leaves the stage', () => {
  // The table of Kubernetes' TestValidatePath (pkg/volume/util/atomic_writer_test.go), then what it leaves out. Names that
  // begin with '..' are its own: here they are names like others.
  const table: [path: string, why: string | null][] = [
    ['i/am/well/behaved.txt', null],
    ['keepyourheaddownandfollowtherules.txt', null],
    ['a'.repeat(4097), '4096 bytes or more'],
    ['a'.repeat(256), 'more than 255 bytes'],
    ['/dev/null', 'absolute'],
    ['..sneaky.txt', null],
    ['hello/there/../../../../../../etc/passwd', "'..' part"],
    ['hello/../etc/something', "'..' part"],
    ['', 'empty'],
    ['.', "'.' or '..'"],
    ['..', "'..' part"],
    ['../x', "'..' part"],
    ['a//b', 'empty part'],
    ['a/', 'empty part'],
    ['./a', "'.' or '..'"],
    ['a\0b', 'NUL'],
    ['C:/x', 'drive letter'],
    ['a\\b', 'backslash'],
    ['NUL', 'Windows reserves'],
    ['com1.txt', 'Windows reserves'],
    [`deep/${longName}/x`, 'more than 255 bytes'],
    [longPath, '4096 bytes or more'],
    ['x'.repeat(255), null],
    ['größe/日本.txt', null],
  ]
  test('one name that is written and linked at the same time: nobody fails, and one of them stays', async ({
    memory,
  }) => {
    await using store = await openBundles(join(memory, 'store'))
    await using stage = await store.stage()
    const names = Array.from({ length: 200 }, (_, index) => `name-${index}`)
    await Promise.all(
      names.flatMap((name) => [stage.write(name, 'one'), stage.symlink(name, 'two'), stage.write(name, 'three')]),
    )
    await stage.publish()
    using pin = store.pin()
    for (const name of names) {
      const path = pin.resolve(name)
      const content = lstatSync(path).isSymbolicLink() ? readlinkSync(path) : readFileSync(path, 'utf8')
      expect(['one', 'two', 'three']).toContain(content)
    }
  })

  test.for(table)('%j: %s', async ([path, why], { memory }) => {
    await using store = await openBundles(join(memory, 'store'))
    await publish(store, { a: '1' })
    await using stage = await store.stage()
    const acts = [stage.write(path, ''), stage.symlink(path, 'x')]
    for (const [result, act] of (await Promise.allSettled(acts)).map((settled, index) => [settled, index] as const)) {
      if (why === null) expect(result.status, `act ${act}`).toBe('fulfilled')
      else
        expect(result, `act ${act}`).toMatchObject({
          status: 'rejected',
          reason: { code: 'ERR_INVALID_ARGUMENT', message: expect.stringContaining(why) },
        })
    }
    await stage.discard()
    await expectUntouched(store, 1)
  })

  test('whatever the parts are, a path is refused or lies in the stage', async ({ memory }) => {
    await using store = await openBundles(join(memory, 'store'))
    await using stage = await store.stage()
    const parts = [
      '..',
      '.',
      '',
      '...',
      '..x',
      'a',
      'b',
      '/',
      '\\',
      '\0',
      ' ',
      'C:',
      'nul',
      'CON.txt',
      'ü',
      '\u202e',
      '%2e%2e',
      '~',
      '-',
      '\n',
      longName,
      'link',
    ]
    symlinkSync('/', join(stage.path, 'link'))
    symlinkSync('../..', join(stage.path, 'a-link'))
    let seed = 20_261_125
    const random = (below: number): number => {
      seed = (Math.imul(seed, 1_664_525) + 1_013_904_223) >>> 0
      return Math.floor((seed / 2 ** 32) * below)
    }
    const accepted: string[] = []
    for (let round = 0; round < 2000; round += 1) {
      const path = Array.from({ length: 1 + random(4) }, () => parts[random(parts.length)]).join(
        random(4) === 0 ? '' : '/',
      )
      const result = await stage.write(path, '').then(
        () => 'written',
        (error: { code: string }) => error.code,
      )
      expect(['written', 'ERR_INVALID_ARGUMENT'], JSON.stringify(path)).toContain(result)
      if (result === 'written') accepted.push(path)
    }
    expect(accepted.length).toBeGreaterThan(20)
    for (const path of accepted)
      expect(isAbsolute(path) || path.split('/').some((part) => part === '..'), path).toBe(false)
    expect(readdirSync(memory)).toEqual(['store'])
    expect(readdirSync(join(store.root, 'stage')).length).toBe(1)
    expect(readdirSync(join(stage.path, '..'))).toEqual(['tree'])
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

  test('a link that holds its own store would be adopted into itself: refused, also through a link', async ({
    memory,
  }) => {
    const dist = join(memory, 'dist')
    mkdirSync(dist)
    writeFileSync(join(dist, 'precious'), 'kept')
    mkdirSync(join(memory, 'store'))
    symlinkSync('dist', join(memory, 'alias'))
    symlinkSync('store', join(memory, 'other'))
    for (const [root, link] of [
      ['dist/.store', 'dist'],
      ['alias/.store', 'dist'],
      ['store', 'store/x'],
      ['store', 'other/x'],
    ] as const) {
      const message = expect.stringMatching(/link.*root/)
      await expect(openBundles(join(memory, root), { link: join(memory, link) }), link).rejects.toMatchObject({
        code: 'ERR_INVALID_ARGUMENT',
        message,
      })
    }
    expect(readFileSync(join(dist, 'precious'), 'utf8')).toBe('kept')
    expect(lstatSync(dist).isDirectory()).toBe(true)
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
    await expect(openBundles(join(memory, 'foreign'))).rejects.toMatchObject({
      ...bad,
      message: expect.stringContaining('notes.txt'),
    })
    await using store = await openBundles(join(memory, 's'))
    await publish(store, { a: '1' })
    using pin = store.pin()
    expect(() => pin.resolve('../../x')).toThrow(expect.objectContaining(bad))
    expect(() => store.pin({ generation: 0 })).toThrow(expect.objectContaining(bad))
    writeFileSync(join(store.root, 'FORMAT'), 'warmswap bundles 2\n')
    await expect(openBundles(store.root)).rejects.toMatchObject({ code: 'ERR_FORMAT' })
  })
})

describe('bad input: a code, a message with the value and the way out, the current generation as it was, nothing left', () => {
  interface Bad {
    what: string
    act(stage: Stage, folder: string): Promise<unknown>
    code: string
    message: RegExp
  }
  const cases: Bad[] = [
    {
      what: 'a name of 256 bytes',
      act: (stage) => stage.write(longName, ''),
      code: 'ERR_INVALID_ARGUMENT',
      message: /xxxx.*accepted is .*more than 255 bytes/,
    },
    {
      what: 'a path of 4096 bytes',
      act: (stage) => stage.write(longPath, ''),
      code: 'ERR_INVALID_ARGUMENT',
      message: /d\/d\/.*4096 bytes or more/,
    },
    {
      what: 'a reserved name',
      act: (stage) => stage.write('aux.js', ''),
      code: 'ERR_INVALID_ARGUMENT',
      message: /'aux\.js'.*Windows reserves/,
    },
    {
      what: 'names that differ only by case',
      act: async (stage) => {
        await stage.write('Readme', '')
        await stage.write('README', '')
        await stage.publish()
      },
      code: 'ERR_INVALID_ARGUMENT',
      message: /'README' and 'Readme'|'Readme' and 'README'.*differ by more than case/,
    },
    {
      what: 'a write through a link',
      act: async (stage, folder) => {
        symlinkSync(folder, join(stage.path, 'out'))
        await stage.write('out/escaped', 'x')
      },
      code: 'ERR_INVALID_ARGUMENT',
      message: /'out\/escaped'.*leads through no link/,
    },
    {
      what: 'a pipe',
      act: async (stage) => {
        execFileSync('mkfifo', [join(stage.path, 'pipe')])
        await stage.publish()
      },
      code: 'ERR_INVALID_ARGUMENT',
      message: /'pipe', a device, socket or pipe; accepted is a tree of files, directories and links/,
    },
    {
      what: 'a name that is no UTF-8',
      act: async (stage) => {
        writeFileSync(Buffer.concat([Buffer.from(`${stage.path}/`), Buffer.from([0xff, 0xfe])]), '')
        await stage.publish()
      },
      code: 'ERR_INVALID_ARGUMENT',
      message: /UTF-8/,
    },
    {
      what: 'a path of 4096 bytes that a tool made',
      act: async (stage) => {
        execFileSync('python3', [
          '-c',
          `import os, sys\nos.chdir(sys.argv[1])\nfor _ in range(20):\n  os.mkdir('d' * 250)\n  os.chdir('d' * 250)\nopen('x', 'w').close()`,
          stage.path,
        ])
        await stage.publish()
      },
      code: 'ERR_',
      message: /4096 bytes|too long.*shorten/,
    },
    {
      what: 'an empty stage',
      act: (stage) => stage.publish(),
      code: 'ERR_EMPTY_STAGE',
      message: /holds no file.*refused/,
    },
    {
      what: 'a stage of empty directories',
      act: async (stage) => {
        mkdirSync(join(stage.path, 'empty'))
        await stage.publish()
      },
      code: 'ERR_EMPTY_STAGE',
      message: /holds no file.*refused/,
    },
    {
      what: 'a required file that is missing',
      act: async (stage) => {
        await stage.write('a', '')
        await stage.publish({ require: ['a', 'main.mjs'] })
      },
      code: 'ERR_MISSING_ENTRY',
      message: /'main\.mjs', named in require, is not in the stage/,
    },
    {
      what: 'a required file that is a directory',
      act: async (stage) => {
        await stage.write('main.mjs/a', '')
        await stage.publish({ require: ['main.mjs'] })
      },
      code: 'ERR_MISSING_ENTRY',
      message: /'main\.mjs'/,
    },
    {
      what: 'meta of more than a mebibyte',
      act: async (stage) => {
        await stage.write('a', '')
        await stage.publish({ meta: 'x'.repeat(2 ** 20) })
      },
      code: 'ERR_TOO_LARGE',
      message: /at most 1048576 fit/,
    },
    {
      what: 'a stage that somebody removed',
      act: async (stage) => {
        rmSync(stage.path, { recursive: true })
        await stage.publish()
      },
      code: 'ERR_STAGE_CLOSED',
      message: /was removed by somebody/,
    },
  ]
  test.for(cases)('$what: $code', async ({ act, code, message }, { disk }) => {
    await using store = await openBundles(join(disk, 'store'))
    await publish(store, { a: '1' })
    await using stage = await store.stage()
    const failure = await act(stage, disk).then(
      () => undefined,
      (error: unknown) => error,
    )
    expect(failure).toMatchObject({ code: expect.stringContaining(code), message: expect.stringMatching(message) })
    expect(readdirSync(disk)).toEqual(['store'])
    await stage.discard()
    await expectUntouched(store, 1)
  })

  test('a foreign directory, a file and a future format at root', async ({ memory }) => {
    const foreign = join(memory, 'foreign')
    mkdirSync(foreign)
    writeFileSync(join(foreign, 'notes.txt'), 'mine')
    await expect(openBundles(foreign)).rejects.toMatchObject({
      code: 'ERR_INVALID_ARGUMENT',
      message: expect.stringMatching(/holds 'notes\.txt' and no FORMAT; accepted is an empty or missing directory/),
    })
    expect(readdirSync(foreign)).toEqual(['notes.txt'])
    await expect(openBundles(join(foreign, 'notes.txt'))).rejects.toMatchObject({
      code: 'ERR_INVALID_ARGUMENT',
      message: expect.stringMatching(/notes\.txt'; accepted is a directory/),
    })

    await using store = await openBundles(join(memory, 'store'))
    await publish(store, { a: '1' })
    writeFileSync(join(store.root, 'FORMAT'), 'warmswap bundles 2\n')
    await expect(openBundles(store.root)).rejects.toMatchObject({
      code: 'ERR_FORMAT',
      message: expect.stringMatching(
        /'warmswap bundles 2'.*knows 'warmswap bundles 1': use the version that made it, or another root/,
      ),
    })
    writeFileSync(join(store.root, 'FORMAT'), 'warmswap bundles 1\n')
    await expectUntouched(store, 1)
  })

  plain.skipIf(!isRoot)(
    `a read-only root: no new store, no stage, and readers work${isRoot ? '' : ' (NOT RUN: needs root to mount)'}`,
    async () => {
      await using mounted = mountTmpfs('8m')
      const root = join(mounted.path, 'store')
      await using before = await openBundles(root)
      await publish(before, { a: '1' })
      await before.collect()
      execFileSync('mount', ['-o', 'remount,ro', mounted.path])
      const readOnly = {
        code: 'ERR_IO',
        message: expect.stringMatching(/Read-only file system.*put root where it can/),
      }
      await expect(openBundles(join(mounted.path, 'new'))).rejects.toMatchObject(readOnly)
      await using store = await openBundles(root)
      await expect(store.stage()).rejects.toMatchObject(readOnly)
      await expect(store.collect()).rejects.toMatchObject({ code: 'ERR_IO' })
      using pin = store.pin()
      expect(readFileSync(pin.resolve('a'), 'utf8')).toBe('1')
      execFileSync('mount', ['-o', 'remount,rw', mounted.path])
      await expectUntouched(store, 1)
    },
  )
})

/** A publish is alone with its stage: what is written or discarded beside it must not reach what was hashed. */
describe('I1: calls on one stage at the same time', () => {
  const many = Object.fromEntries(
    Array.from({ length: 500 }, (_, index) => [`d${index % 10}/${index}`, 'x'.repeat(1000)]),
  )

  test('a discard beside a publish, as when a scope ends on a timeout', async ({ memory }) => {
    await using store = await openBundles(join(memory, 'store'), { keep: 0 })
    for (let round = 0; round < 10; round += 1) {
      const stage = await store.stage()
      await stage.writeAll(
        Object.entries(many).map(([path, text]) => ({ path: join(memory, path), contents: Buffer.from(text) })),
        memory,
      )
      const publishing = stage.publish()
      await stage.discard()
      expect((await publishing).files).toBe(500)
      expect(await store.verify()).toEqual({ ok: true, problems: [] })
    }
  })

  test('writes beside a publish', async ({ memory }) => {
    await using store = await openBundles(join(memory, 'store'), { keep: 0 })
    for (let round = 0; round < 10; round += 1) {
      const stage = await store.stage()
      const writes = Object.entries(many).map(([path, text]) => stage.write(path, text))
      const publishing = stage.publish()
      const late = ['d0/0', 'late'].map((path) =>
        stage.write(path, 'late').then(
          () => 'written',
          (error: { code: string }) => error.code,
        ),
      )
      await Promise.all(writes)
      expect((await publishing).files).toBe(500)
      expect(await Promise.all(late)).toEqual(['ERR_STAGE_CLOSED', 'ERR_STAGE_CLOSED'])
      expect(await store.verify()).toEqual({ ok: true, problems: [] })
    }
  })
})

describe('I18: filesystems', () => {
  test('what is not on the allow list is ERR_UNSUPPORTED with the way out, before any lock', async ({ memory }) => {
    const text = `import { openBundles } from 'warmswap'; await openBundles(${JSON.stringify(join(memory, 'store'))}).catch((error) => console.log(error.code, error.message))`
    const child = start(process.execPath, ['--input-type=module', '-e', text], {
      cwd: repository,
      testing: true,
      env: { WARMSWAP_FILESYSTEM: 'nfs' },
    })
    expect(await child.line(/^ERR_/)).toMatch(/^ERR_UNSUPPORTED .* nfs .* link/)
    await child.ended
    expect(readdirSync(memory)).toEqual([])
  })

  const overlay = canMountOverlay()
  plain.skipIf(!overlay)(
    `a store baked into an image layer works on overlayfs${overlay ? '' : ' (NOT RUN: cannot mount overlayfs here)'}`,
    async () => {
      const folder = makeTemp('/dev/shm')
      for (const name of ['lower', 'upper', 'work', 'merged']) mkdirSync(join(folder, name))
      const baked = await openBundles(join(folder, 'lower/store'), { keep: 0 })
      await publish(baked, { a: '1' })
      await baked.close()
      // What a build leaves that was killed when its layer was made.
      mkdirSync(join(folder, 'lower/store/stage/orphan/tree'), { recursive: true })
      writeFileSync(join(folder, 'lower/store/stage/orphan/tree/half'), 'half')
      execFileSync('mount', [
        '-t',
        'overlay',
        'overlay',
        '-o',
        `lowerdir=${folder}/lower,upperdir=${folder}/upper,workdir=${folder}/work`,
        `${folder}/merged`,
      ])
      try {
        await using store = await openBundles(join(folder, 'merged/store'))
        expect(store.capabilities.filesystem).toBe('overlayfs')
        expect(readdirSync(join(store.root, 'stage'))).toEqual([])
        const pin = store.pin()
        expect(await publish(store, { a: '2' })).toMatchObject({ number: 2 })
        expect(await store.collect()).toMatchObject({ pinned: [1], kept: [2] })
        expect(readFileSync(pin.resolve('a'), 'utf8')).toBe('1')
        pin.release()
        expect(await store.collect()).toMatchObject({ removed: [1], kept: [2] })
        expect(readdirSync(join(store.root, 'gens'))).toEqual(['000002'])
      } finally {
        execFileSync('umount', [`${folder}/merged`])
        rmSync(folder, { recursive: true })
      }
    },
  )

  plain.skipIf(!overlay)(
    `a directory of an image layer cannot become a link: both ways out are named${overlay ? '' : ' (NOT RUN: cannot mount overlayfs here)'}`,
    async () => {
      const folder = makeTemp('/dev/shm')
      for (const name of ['lower', 'lower/dist', 'upper', 'work', 'merged']) mkdirSync(join(folder, name))
      writeFileSync(join(folder, 'lower/dist/a'), 'baked')
      execFileSync('mount', [
        '-t',
        'overlay',
        'overlay',
        '-o',
        `redirect_dir=off,lowerdir=${folder}/lower,upperdir=${folder}/upper,workdir=${folder}/work`,
        `${folder}/merged`,
      ])
      try {
        const [root, link] = [join(folder, 'merged/store'), join(folder, 'merged/dist')]
        await expect(openBundles(root, { link, adopt: true })).rejects.toMatchObject({
          code: 'ERR_UNSUPPORTED',
          message: expect.stringMatching(/remove it yourself, or leave the option link out/),
        })
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
    },
  )

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

function mountTmpfs(size: string): Mounted {
  const path = makeTemp('/dev/shm')
  execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${size}`, 'tmpfs', path])
  return {
    path,
    [Symbol.asyncDispose]: async () => {
      execFileSync('umount', [path])
      rmSync(path, { recursive: true })
    },
  }
}

/** A small btrfs in a file; undefined where it cannot be made here. */
function mountBtrfs(): Mounted | undefined {
  const folder = makeTemp('/dev/shm')
  const [image, path] = [join(folder, 'image'), join(folder, 'mount')]
  mkdirSync(path)
  const isDone = (command: string, ...args: string[]): boolean => spawnSync(command, args).status === 0
  const remove = (): void => rmSync(folder, { recursive: true, force: true })
  if (
    isDone('truncate', '-s', '256M', image) &&
    isDone('mkfs.btrfs', '-q', '-f', image) &&
    isDone('mount', '-o', 'loop', image, path)
  ) {
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
  const mounted =
    spawnSync('mount', [
      '-t',
      'overlay',
      'overlay',
      '-o',
      `lowerdir=${folder}/lower,upperdir=${folder}/upper,workdir=${folder}/work`,
      `${folder}/merged`,
    ]).status === 0
  if (mounted) spawnSync('umount', [`${folder}/merged`])
  rmSync(folder, { recursive: true, force: true })
  return mounted
}

plain.skipIf(!isRoot)(
  `I6: a full disk leaves the current generation as it was${isRoot ? '' : ' (NOT RUN: needs root for a small tmpfs)'}`,
  async () => {
    await using mounted = mountTmpfs('2m')
    await using store = await openBundles(join(mounted.path, 'store'))
    await publish(store, { a: 'x'.repeat(400_000) })
    await expect(publish(store, { a: 'y'.repeat(3_000_000) })).rejects.toMatchObject({
      code: 'ERR_IO',
      message: expect.stringMatching(/No space left.*free space there/),
    })
    await expectUntouched(store, 1)
    expect(await publish(store, { a: 'z' })).toMatchObject({ number: 2 })
  },
)

plain.skipIf(!isRoot)(
  `I6: after a reboot a store on a full disk opens for reading${isRoot ? '' : ' (NOT RUN: needs root for a small tmpfs)'}`,
  async () => {
    await using mounted = mountTmpfs('1m')
    const root = join(mounted.path, 'store')
    const before = await openBundles(root)
    await publish(before, { a: 'whole' })
    await before.close()
    const filler = openSync(join(mounted.path, 'filler'), 'w')
    expect(() => {
      for (;;) writeSync(filler, Buffer.alloc(4096, 1))
    }).toThrow(/ENOSPC/)
    closeSync(filler)
    const text = `import { openBundles } from 'warmswap'; import { readFileSync } from 'node:fs'; const store = await openBundles(${JSON.stringify(root)}); console.log(readFileSync(store.pin().resolve('a'), 'utf8')); process.exit()`
    const child = start(process.execPath, ['--input-type=module', '-e', text], {
      cwd: repository,
      testing: true,
      env: { WARMSWAP_BOOT_ID: 'the next boot' },
    })
    expect(await child.line(/./)).toBe('whole')
    await child.ended
  },
)

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
    writeFileSync(
      join(store.root, 'writer.lock'),
      JSON.stringify({ pid: holder.pid, command: 'flock', since: '2026-01-01T00:00:00.000Z' }),
    )
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
    holder.say('go')
    expect((await waiting).number).toBe(2)
    await holder.ended
  })

  test('a builder that does not end: ensure() of another ends in ERR_TIMEOUT with its holder', async ({ memory }) => {
    await using store = await openBundles(join(memory, 'store'))
    await publish(store, { a: '1' })
    const holder = start('flock', [join(store.root, 'build.lock'), '-c', 'echo held; read line'])
    await holder.line(/^held$/)
    writeFileSync(
      join(store.root, 'build.lock'),
      JSON.stringify({ pid: holder.pid, command: 'flock', since: '2026-01-01T00:00:00.000Z' }),
    )
    const late = { code: 'ERR_TIMEOUT', retryable: true, holder: { pid: holder.pid } }
    await expect(
      store.ensure(async (stage) => await stage.write('a', '2'), { fingerprint: 'x', timeoutMs: 50 }),
    ).rejects.toMatchObject(late)
    expect(await publish(store, { a: '3' }), 'a publish needs no build lock').toMatchObject({ number: 2 })
    holder.say('go')
    await holder.ended
    using built = await store.ensure(async (stage) => await stage.write('a', '2'), { fingerprint: 'x' })
    expect(built.generation.number).toBe(3)
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
  expect(readdirSync(join(store.root, 'gens'))).toEqual(
    [count - 1, count].map((number) => String(number).padStart(6, '0')),
  )
  expect(readFileSync(join(store.root, 'current.json'), 'utf8').length).toBeLessThan(1000)
})

plain.skipIf(!isRoot)(
  `as user nobody: everything, and reading what root published${isRoot ? '' : ' (NOT RUN: needs root to become nobody)'}`,
  async () => {
    const folder = makeTemp('/dev/shm')
    chmodSync(folder, 0o777)
    try {
      await using store = await openBundles(join(folder, 'of-root'))
      await publish(store, { a: '1' })
      // The checkout can be in a folder that only root reads.
      for (const part of ['dist', 'package.json'])
        cpSync(join(repository, part), join(folder, 'node_modules/warmswap', part), { recursive: true })
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
      const child = start(process.execPath, ['--input-type=module', '-e', text], { cwd: folder, uid: 65_534 })
      const ended = await child.ended
      expect(child.stderr()).toBe('')
      expect(ended.code).toBe(0)
      expect(child.lines[0]).toMatch(/"kept":\[3\].* 3 \{"ok":true/)
      expect(child.lines.slice(1)).toEqual(['1', 'ERR_IO'])
    } finally {
      rmSync(folder, { recursive: true })
    }
  },
)

test('bundleIgnores of a root with glob characters match what they name', () => {
  const picomatch = createRequire(import.meta.url)('picomatch') as (patterns: string[]) => (path: string) => boolean
  for (const root of ['/app/.warmswap', '/home/me/[id]/app (copy)/a+b@c!{x,y}/.warmswap']) {
    const isIgnored = picomatch(bundleIgnores(root))
    for (const name of [
      'stage',
      'stage/1/tree/a.js',
      'gens/000001/tree/a.js',
      'pins/000001',
      'writer.lock',
      'current.json.tmp',
    ])
      expect(isIgnored(`${root}/${name}`), name).toBe(true)
    expect(isIgnored(`${root}/current.json`)).toBe(false)
  }
})

test('bundleIgnores leaves current.json to watch', () => {
  const patterns = bundleIgnores('/app/.warmswap')
  expect(patterns).toContain('/app/.warmswap/stage/**')
  expect(patterns.join()).not.toContain('current.json')
})
