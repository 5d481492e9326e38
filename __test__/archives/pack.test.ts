// guarantee: archives/torn-files-are-not-packed

import { execFileSync } from 'node:child_process'
import {
  createWriteStream,
  existsSync,
  mkdirSync,
  readFileSync,
  readdirSync,
  readlinkSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { homedir } from 'node:os'
import { join } from 'node:path'
import { Writable } from 'node:stream'
import * as tar from 'tar'
import { describe, expect } from 'vitest'
import { pack, unpack } from 'warmswap'
import { start } from '../support/children.js'
import { repository } from '../support/paths.js'
import { test } from '../support/temp.js'

/** A tree with a large file, an empty one, a link and an empty directory. */
function sample(root: string): string {
  const tree = join(root, 'tree')
  mkdirSync(join(tree, 'pkg/lib'), { recursive: true })
  mkdirSync(join(tree, 'empty'))
  writeFileSync(join(tree, 'pkg/lib/index.js'), 'export default 1\n')
  writeFileSync(join(tree, 'pkg/large.bin'), Buffer.alloc(12 << 20, 'warm'))
  writeFileSync(join(tree, 'nothing'), '')
  symlinkSync('pkg/lib/index.js', join(tree, 'main.js'))
  return tree
}

/** Where a descriptor leads; nothing if it was closed in the meantime. */
function readlink(path: string): string {
  try {
    return readlinkSync(path)
  } catch {
    return ''
  }
}

const same = (one: string, other: string): string =>
  execFileSync('diff', ['-r', '--no-dereference', one, other], { encoding: 'utf8' })

describe('pack and unpack', () => {
  for (const format of ['tar.zst', 'tar.gz', 'tar'] as const) {
    test(`archives/round-trip: a ${format} stream is restored as it was packed`, async ({ memory }) => {
      const tree = sample(memory)
      const result = await unpack(pack(tree, { format }), join(memory, 'out'))
      expect(result).toMatchObject({
        ok: true,
        outcome: 'restored',
        commit: 'rename',
        files: 3,
        retries: 0,
        skippedFiles: 0,
      })
      expect(result.timings.total).toBeGreaterThan(0)
      expect(same(tree, join(memory, 'out'))).toBe('')
    })
  }

  test('a path and an AsyncIterable are sources too', async ({ memory }) => {
    const tree = sample(memory)
    const archive = join(memory, 'tree.tar.zst')
    await pack(tree).pipeTo(Writable.toWeb(createWriteStream(archive)))
    expect((await unpack(archive, join(memory, 'from-path'))).outcome).toBe('restored')
    const bytes = readFileSync(archive)
    const drops = (async function* () {
      for (let at = 0; at < bytes.length; at += 1000) yield bytes.subarray(at, at + 1000)
    })()
    expect((await unpack(drops, join(memory, 'from-drops'))).outcome).toBe('restored')
    expect(same(tree, join(memory, 'from-drops'))).toBe('')
  })

  test('archives/other-tools-agree: node-tar reads what we write, and we read what node-tar writes', async ({
    memory,
  }) => {
    const tree = sample(memory)
    mkdirSync(join(memory, 'theirs'))
    await pack(tree, { format: 'tar.gz' }).pipeTo(Writable.toWeb(createWriteStream(join(memory, 'ours.tgz'))))
    await tar.extract({ file: join(memory, 'ours.tgz'), cwd: join(memory, 'theirs') })
    expect(same(tree, join(memory, 'theirs'))).toBe('')
    await tar.create({ file: join(memory, 'theirs.tgz'), gzip: true, cwd: tree }, ['.'])
    expect((await unpack(join(memory, 'theirs.tgz'), join(memory, 'out'))).outcome).toBe('restored')
    expect(same(tree, join(memory, 'out'))).toBe('')
  })

  test('excludes and presets leave out the matching files', async ({ memory }) => {
    const tree = sample(memory)
    mkdirSync(join(tree, '.vite'))
    writeFileSync(join(tree, '.vite/stale.js'), '')
    await unpack(pack(tree, { preset: 'node_modules', exclude: ['*.bin', 'empty'] }), join(memory, 'out'), {
      strict: true,
    })
    expect(readdirSync(join(memory, 'out')).sort()).toEqual(['main.js', 'nothing', 'pkg'])
    expect(existsSync(join(memory, 'out/pkg/large.bin'))).toBe(false)
  })

  test.for([
    [
      'deno',
      ['npm/registry.npmjs.org/react/18.0.0/index.js', 'remote/https/deno.land/ab', 'gen/x.js'],
      [
        'v8_code_cache_v2',
        'dep_analysis_cache_v2-wal',
        'node_analysis_cache_v2-shm',
        'npm/registry.npmjs.org/react/registry.json',
        'node_compat_bin/deno',
      ],
    ],
    [
      'node_modules',
      ['react/index.js', 'react/.vite/kept.js'],
      ['.vite/deps/react.js', '.cache/babel/x', '.vite-temp/x', '.vitest/x'],
    ],
    [
      'vite',
      ['deps/react.js', 'deps/_metadata.json'],
      ['deps_temp_1a2b/react.js', 'deps_ssr_temp_1/x.js', 'vitest/results.json'],
    ],
  ] as const)(
    'preset %s keeps the cache, and leaves out live, volatile and incomplete files',
    async ([preset, kept, left], { memory }) => {
      const tree = join(memory, 'tree')
      for (const path of [...kept, ...left]) {
        mkdirSync(join(tree, path, '..'), { recursive: true })
        writeFileSync(join(tree, path), path)
      }
      await unpack(pack(tree, { preset }), join(memory, 'out'), { strict: true })
      const files = readdirSync(join(memory, 'out'), { recursive: true, withFileTypes: true }).filter((entry) =>
        entry.isFile(),
      )
      expect(
        files.map((entry) => join(entry.parentPath, entry.name).slice(join(memory, 'out').length + 1)).sort(),
      ).toEqual([...kept].sort())
    },
  )

  test('a stream packs nothing before the first read: the tree at that moment counts', async ({ memory }) => {
    const tree = join(memory, 'is not there yet')
    const stream = pack(tree)
    await pack(sample(memory)).cancel()
    mkdirSync(tree)
    writeFileSync(join(tree, 'late'), 'late')
    expect(await unpack(stream, join(memory, 'out'))).toMatchObject({ outcome: 'restored', files: 1 })
    await expect(pack(join(memory, 'is not there')).getReader().read()).rejects.toMatchObject({ code: 'ERR_IO' })
  })

  test('a cancelled stream ends, and closes the tree', async ({ memory }) => {
    const reader = pack(sample(memory), { format: 'tar' }).getReader()
    await reader.read()
    await reader.cancel()
    expect(await reader.read()).toEqual({ done: true, value: undefined })
    await expect
      .poll(() => readdirSync('/proc/self/fd').filter((fd) => readlink(`/proc/self/fd/${fd}`).startsWith(memory)), {
        timeout: 10_000,
      })
      .toEqual([])
  })

  test('an abort errors the packed stream with its reason', async ({ memory }) => {
    const abort = new AbortController()
    const reader = pack(sample(memory), { signal: abort.signal, format: 'tar' }).getReader()
    await reader.read()
    const reason = new Error('enough')
    abort.abort(reason)
    await expect(reader.read()).rejects.toBe(reason)
  })
})

describe('outcomes', () => {
  test('a target that is not empty is not changed by default', async ({ memory }) => {
    const tree = sample(memory)
    const into = join(memory, 'out')
    mkdirSync(into)
    writeFileSync(join(into, 'nothing'), 'mine')
    expect(await unpack(pack(tree), into)).toMatchObject({ ok: false, outcome: 'target-not-empty' })
    expect(await unpack(pack(tree), into, { mode: 'merge' })).toMatchObject({
      ok: true,
      commit: 'merge',
      skippedFiles: 1,
    })
    expect(readFileSync(join(into, 'nothing'), 'utf8')).toBe('mine')
    expect(await unpack(pack(tree), into, { mode: 'replace' })).toMatchObject({ ok: true, commit: 'exchange' })
    expect(same(tree, into)).toBe('')
  })

  test('damaged bytes are corrupt, strict throws', async ({ memory }) => {
    const archive = join(memory, 'a.tar.zst')
    await pack(sample(memory)).pipeTo(Writable.toWeb(createWriteStream(archive)))
    writeFileSync(archive, readFileSync(archive).subarray(0, 1000))
    const result = await unpack(archive, join(memory, 'out'))
    expect(result).toMatchObject({ ok: false, outcome: 'corrupt', stage: 'decode' })
    expect(result.reason).toMatch(/cut off|damaged/)
    await expect(unpack(archive, join(memory, 'out'), { strict: true })).rejects.toThrow(/\[corrupt\]/)
    expect(readdirSync(memory).sort()).toEqual(['a.tar.zst', 'tree'])
  })

  test('caches/deadline-is-absolute, archives/no-late-commit: a source that stalls ends at the deadline, and nothing is committed later', async ({
    memory,
  }) => {
    const stalled = new ReadableStream<Uint8Array>({
      start: (controller) => controller.enqueue(new Uint8Array([0x28, 0xb5, 0x2f, 0xfd])),
    })
    const started = performance.now()
    const result = await unpack(stalled, join(memory, 'out'), { deadlineMs: 300 })
    expect(result.outcome).toBe('timeout')
    expect(performance.now() - started).toBeLessThan(3000)
    await expect.poll(() => readdirSync(memory), { timeout: 10_000 }).toEqual([])
  })

  test('an abort and a source that throws are outcomes', async ({ memory }) => {
    const abort = new AbortController()
    const never = new ReadableStream<Uint8Array>({})
    const aborted = unpack(never, join(memory, 'out'), { signal: abort.signal })
    abort.abort()
    expect((await aborted).outcome).toBe('aborted')
    const broken = new ReadableStream<Uint8Array>({
      pull: (controller) => controller.error(new Error('connection reset')),
    })
    expect(await unpack(broken, join(memory, 'out'))).toMatchObject({
      outcome: 'error',
      reason: expect.stringContaining('connection reset'),
    })
    // The aborted call's stage is removed by its thread, soon after the promise has settled.
    await expect.poll(() => readdirSync(memory), { timeout: 10_000 }).toEqual([])
  })

  test('the end of a call is the end of its source, also while the source is silent', async ({ memory }) => {
    let cancelled = (_: unknown): void => {}
    const told = new Promise((resolve) => (cancelled = resolve))
    const silent = new ReadableStream<Uint8Array>({ cancel: cancelled })
    expect((await unpack(silent, join(memory, 'out'), { deadlineMs: 100 })).outcome).toBe('timeout')
    await told
  })

  test('archives/memory-is-bounded: a stream of 512 MiB leaves no chunk behind', async ({ memory }) => {
    const child = start(process.execPath, [
      join(repository, '__test__/programs/caches-calls.js'),
      'unpack-stream',
      join(memory, 'out'),
      '512',
    ])
    const { code } = await child.ended
    expect(code, child.stderr()).toBe(0)
    const [outcome, grownMiB] = child.lines[0]!.split(' ')
    expect(outcome).toBe('restored')
    // The queue to the decoder, some chunks in flight and garbage; every chunk of it would be 512.
    expect(Number(grownMiB)).toBeLessThan(128)
  })

  test('a source is pulled no faster than it is read', async ({ memory }) => {
    let pulled = 0
    const chunk = new Uint8Array(1 << 20)
    const source = new ReadableStream<Uint8Array>({
      pull(controller) {
        pulled += 1
        controller.enqueue(chunk)
      },
    })
    // Endless zeros are not an archive: 64 MiB of them are read, then the call fails.
    expect((await unpack(source, join(memory, 'out'))).outcome).toBe('refused')
    expect(pulled).toBeLessThan(128)
  })
})

describe('bad input is refused before anything is done', () => {
  const refused = { code: 'ERR_INVALID_ARGUMENT' }
  test('unpack rejects', async ({ memory }) => {
    const into = join(memory, 'out')
    const bad = (source: unknown, target: unknown, options?: unknown): Promise<unknown> =>
      unpack(source as string, target as string, options as never)
    for (const target of ['/', homedir(), 'relative', '', 'a\0b', 7])
      await expect(bad('/a', target), String(target)).rejects.toMatchObject(refused)
    const locked = new ReadableStream()
    locked.getReader()
    for (const source of ['relative', 7, null, {}, locked])
      await expect(bad(source, into), String(source)).rejects.toMatchObject(refused)
    for (const options of [
      { mode: 'overwrite' },
      { symlinks: 'follow' },
      { deadlineMs: -1 },
      { deadlineMs: NaN },
      { limits: { maxBytes: 1.5 } },
      { limits: { maxBytes: 1, maxFileBytes: 2 } },
      { unknown: 1 },
      { signal: 1 },
    ]) {
      await expect(bad('/a', into, options), JSON.stringify(options)).rejects.toMatchObject(refused)
    }
    writeFileSync(join(memory, 'file'), '')
    await expect(bad(join(memory, 'file'), join(memory, 'file'))).rejects.toMatchObject(refused)
    expect(readdirSync(memory)).toEqual(['file'])
  })

  test('pack throws', () => {
    for (const options of [
      { level: 99 },
      { level: 0.5 },
      { format: 'zip' },
      { preset: 'npm' },
      { exclude: ['['] },
      { exclude: 'a' },
      { format: 'tar.gz', level: 12 },
    ]) {
      expect(() => pack('/a', options as never), JSON.stringify(options)).toThrow(expect.objectContaining(refused))
    }
    expect(() => pack('relative')).toThrow(expect.objectContaining(refused))
  })
})
