// guarantee: archives/torn-files-are-not-packed

import { execFileSync } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdirSync, readFileSync, readdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { type CacheEvent, openCache } from 'warmswap'
import { afterAll, beforeAll, describe, expect } from 'vitest'
import { damage, flipSeekTable } from '../support/blobs.js'
import { start } from '../support/children.js'
import { type FaultServer, startFaultServer } from '../support/fault-server.js'
import { repository } from '../support/paths.js'
import { SECRET_ACCESS_KEY } from '../support/s3.js'
import { test } from '../support/temp.js'
import { digest, makeTree } from '../support/trees.js'

const program = join(repository, '__test__/programs/caches-store.js')

describe('caches/empty-and-shrunk-are-refused: nothing and a fraction do not become a generation', () => {
  test.for<[string, (root: string) => void]>([
    ['a missing directory', () => {}],
    ['an empty directory', (root) => mkdirSync(root)],
    ['a directory of empty directories', (root) => mkdirSync(join(root, 'a/b/c'), { recursive: true })],
    [
      'one file without bytes',
      (root) => {
        mkdirSync(root)
        writeFileSync(join(root, 'nothing'), '')
      },
    ],
  ])('%s is empty', async ([, make], { memory }) => {
    const from = join(memory, 'from')
    make(from)
    const cache = openCache(`file://${join(memory, 'store')}`)
    expect(await cache.snapshot({ key: 'site', from })).toMatchObject({ ok: false, outcome: 'empty', uploadedBytes: 0 })
    expect(existsSync(join(memory, 'store'))).toBe(false)
  })

  test('a half-warm tree over a full one is shrunk, unless that is allowed', async ({ memory }) => {
    const full = makeTree(join(memory, 'full'), 60)
    const half = makeTree(join(memory, 'half'), 5)
    const cache = openCache('memory:')
    await cache.snapshot({ key: 'site', from: full })
    expect(await cache.snapshot({ key: 'site', from: half })).toMatchObject({
      ok: false,
      outcome: 'shrunk',
      uploadedBytes: 0,
    })
    expect((await cache.inspect('site'))!.files).toBe(64)
    expect(await cache.snapshot({ key: 'site', from: half, guard: { allowShrink: true } })).toMatchObject({
      outcome: 'uploaded',
    })
  })

  test('links that lead out of the tree are reported when they are packed, not when the restore refuses them', async ({
    memory,
  }) => {
    const tree = makeTree(join(memory, 'tree'))
    symlinkSync('../packages/name', join(tree, 'name'))
    const cache = openCache('memory:')
    expect(await cache.snapshot({ key: 'site', from: tree })).toMatchObject({
      ok: true,
      outcome: 'uploaded',
      reason: expect.stringMatching(/^1 symbolic link.*'relative'/),
    })
    expect(await cache.restore({ key: 'site', into: join(memory, 'into') })).toMatchObject({
      ok: false,
      outcome: 'refused',
    })
    expect(await cache.restore({ key: 'site', into: join(memory, 'into'), symlinks: 'relative' })).toMatchObject({
      outcome: 'restored',
    })
  })

  test('pipes, sockets and devices are left out, and none of them blocks the call', async ({ memory }) => {
    const tree = makeTree(join(memory, 'tree'))
    const before = digest(tree)
    execFileSync('mkfifo', [join(tree, 'pipe')])
    const socket = createServer().listen(join(tree, 'socket'))
    await once(socket, 'listening')
    const cache = openCache('memory:')
    const result = await cache.snapshot({ key: 'site', from: tree })
    socket.close()
    const why = 'a device, socket or pipe'
    expect(result).toMatchObject({
      outcome: 'uploaded',
      skipped: [
        { path: 'pipe', why },
        { path: 'socket', why },
      ],
    })
    expect(await cache.restore({ key: 'site', into: join(memory, 'into') })).toMatchObject({ outcome: 'restored' })
    expect(digest(join(memory, 'into'))).toEqual(before)
  })

  test('limits: a tree over them is too large', async ({ memory }) => {
    const tree = makeTree(join(memory, 'tree'))
    const cache = openCache('memory:')
    expect(await cache.snapshot({ key: 'site', from: tree, limits: { maxFiles: 3 } })).toMatchObject({
      outcome: 'too-large',
      uploadedBytes: 0,
    })
    expect(await cache.snapshot({ key: 'site', from: tree, limits: { maxBytes: 10 } })).toMatchObject({
      outcome: 'too-large',
      uploadedBytes: 0,
    })
  })
})

describe('caches/snapshot-when-quiet: the ready gate', () => {
  test('quietMs waits while a tree is being written, and then packs all of it', async ({ memory }) => {
    const tree = join(memory, 'tree')
    mkdirSync(tree)
    let written = 0
    const writer = setInterval(() => {
      if (written < 8) writeFileSync(join(tree, `${++written}`), 'x')
    }, 100)
    const cache = openCache('memory:')
    const result = await cache.snapshot({ key: 'site', from: tree, quietMs: 1500 })
    clearInterval(writer)
    expect(result).toMatchObject({ outcome: 'uploaded', files: 8 })
    expect(result.timings.quiet).toBeGreaterThanOrEqual(1400)
  })

  test('a tree that keeps changing is unstable at the deadline', async ({ memory }) => {
    const tree = makeTree(join(memory, 'tree'))
    let number = 0
    const writer = setInterval(() => writeFileSync(join(tree, 'log'), `${++number}`), 30)
    const result = await openCache('memory:').snapshot({ key: 'site', from: tree, quietMs: 2000, deadlineMs: 3000 })
    clearInterval(writer)
    expect(result).toMatchObject({ ok: false, outcome: 'unstable', uploadedBytes: 0 })
  })
})

describe('caches/no-lost-update: no lost update', () => {
  test.for(['file', 'fault server'])(
    'of 16 concurrent snapshots exactly one wins each generation (%s)',
    async (kind, { memory }) => {
      const server = kind === 'file' ? undefined : await startFaultServer()
      const store = server?.store('race') ?? `file://${join(memory, 'store')}`
      const base = makeTree(join(memory, 'base'))
      await openCache(store).snapshot({ key: 'site', from: base })
      for (let generation = 0; generation < 2; generation += 1) {
        const { ticket } = await openCache(store).restore({ key: 'site', into: join(memory, `into-${generation}`) })
        const trees = Array.from({ length: 16 }, (_, index) => {
          const tree = makeTree(join(memory, `tree-${generation}-${index}`))
          writeFileSync(join(tree, 'writer'), `${generation} ${index}`)
          return tree
        })
        const results = await Promise.all(
          trees.map((from) => openCache(store).snapshot({ key: 'site', from, ticket: ticket! })),
        )
        const winners = results.filter(({ outcome }) => outcome === 'uploaded')
        expect(results.map(({ outcome }) => outcome).filter((outcome) => outcome !== 'uploaded')).toEqual(
          Array(15).fill('superseded'),
        )
        expect(winners).toHaveLength(1)
        expect((await openCache(store).inspect('site'))!.generation).toBe(winners[0]!.generation)
      }
      await server?.stop()
    },
  )
})

describe('caches/readers-see-whole-snapshots: readers never see a half snapshot', () => {
  test('kill -9 at each step: a reader sees the old generation or the new one', async ({ memory }) => {
    const store = `file://${join(memory, 'store')}`
    const tree = makeTree(join(memory, 'tree'))
    await openCache(store).snapshot({ key: 'site', from: tree })
    const seen = new Set<string>()
    for (let point = 1; point <= 400; point += 23) {
      writeFileSync(join(tree, 'step'), `${point}`)
      const child = start(process.execPath, [program, 'snapshot', store, tree], {
        testing: true,
        env: { WARMSWAP_FAULT: `${point}:KILL` },
      })
      const { signal } = await child.ended
      const into = join(memory, 'into')
      expect(
        await openCache(store).restore({ key: 'site', into, mode: 'replace' }),
        `killed at point ${point}`,
      ).toMatchObject({ ok: true })
      seen.add(signal ?? 'finished')
      const step = existsSync(join(into, 'step')) ? Number(readFileSync(join(into, 'step'), 'utf8')) : 0
      expect([0, ...Array.from({ length: 18 }, (_, index) => 1 + index * 23)]).toContain(step)
    }
    expect(seen).toContain('SIGKILL')
  })
})

describe('caches/process-may-exit: the process may exit', () => {
  let server: FaultServer
  beforeAll(async () => {
    server = await startFaultServer()
  })
  afterAll(() => server.stop())

  test('a detached snapshot reports its end, and its progress, to a process that keeps running', async ({ memory }) => {
    const phases = new Set<string>()
    const tree = makeTree(join(memory, 'tree'))
    const cache = openCache('memory:')
    expect(
      await cache.snapshot({
        key: 'site',
        from: tree,
        keepProcessAlive: false,
        quietMs: 400,
        onProgress: ({ phase }) => phases.add(phase),
      }),
    ).toMatchObject({ outcome: 'uploaded', files: 24 })
    expect([...phases]).toContain('pack')
    await expect(
      cache.snapshot({ key: 'site', from: join(memory, 'absent'), keepProcessAlive: false, strict: true }),
    ).rejects.toMatchObject({ code: 'ERR_EMPTY_STAGE', outcome: 'empty' })
    await expect(cache.snapshot({ key: '../x', from: tree, keepProcessAlive: false })).rejects.toMatchObject({
      code: 'ERR_INVALID_ARGUMENT',
    })
  })

  test('a detached snapshot does not keep Node alive, and leaves nothing at the key', async ({ memory }) => {
    // Not the probe of conditions, which is a PUT as well and comes first.
    const uploads = new Promise<void>((resolve) => {
      server.fault = {
        when: ({ method, path }) => {
          const isUpload = method === 'PUT' && path.includes('/blobs/')
          if (isUpload) resolve()
          return isUpload
        },
        what: 'stall-after-accept',
      }
    })
    const tree = makeTree(join(memory, 'tree'))
    const child = start(process.execPath, [program, 'detached', JSON.stringify(server.store('exit')), tree])
    await uploads
    child.say('end')
    await child.line(/^main ends/)
    const ends = performance.now()
    expect(await child.ended).toMatchObject({ signal: null })
    // 200 ms by the invariant, ten times that on a machine under load.
    expect(performance.now() - ends).toBeLessThan(2000)
    expect([...server.objects.keys()].filter((path) => /\/(blobs\/|current\.json$)/.test(path))).toEqual([])
  })
})

describe('seeded bugs: each is detected by its check', () => {
  const runs = (mutant: string, check: string, ...args: string[]): string =>
    execFileSync(process.execPath, [program, check, ...args], {
      env: {
        ...process.env,
        NAPI_RS_NATIVE_LIBRARY_PATH: join(repository, 'build/testing/warmswap.linux-x64-gnu.node'),
        WARMSWAP_MUTANT: mutant,
      },
      encoding: 'utf8',
    }).trim()

  test('guard-by-existence: a shrunken tree replaces a full one', ({ memory }) => {
    makeTree(join(memory, 'full'), 60)
    makeTree(join(memory, 'half'), 5)
    expect(runs('', 'shrink', join(memory, 'full'), join(memory, 'half'))).toBe('shrunk')
    expect(runs('guard-by-existence', 'shrink', join(memory, 'full'), join(memory, 'half'))).toBe('uploaded')
  })

  test('no-if-match-on-ranges: an object that is swapped between ranges is not noticed by the store', ({ memory }) => {
    const tree = makeTree(join(memory, 'tree'))
    expect(runs('', 'swap', tree)).toBe('superseded')
    expect(runs('no-if-match-on-ranges', 'swap', tree)).not.toBe('superseded')
  })

  test('accept-any-range: another range is pasted in', ({ memory }) => {
    const tree = makeTree(join(memory, 'tree'))
    expect(runs('', 'other-range', tree)).toBe('corrupt range')
    expect(runs('accept-any-range', 'other-range', tree)).not.toBe('corrupt range')
  })

  test('trust-the-bytes: an object that is not the one that was sent is restored', async ({ memory }) => {
    const [store, into, blobs] = [
      `file://${join(memory, 'store')}`,
      join(memory, 'into'),
      join(memory, 'store/site/blobs'),
    ]
    await openCache(store).snapshot({ key: 'site', from: makeTree(join(memory, 'tree')) })
    damage(join(blobs, readdirSync(blobs)[0]!), join(memory, 'store/site/current.json'), flipSeekTable)
    expect(runs('', 'restore', store, into)).toBe('corrupt')
    expect(existsSync(into)).toBe(false)
    expect(runs('trust-the-bytes', 'restore', store, into)).toBe('restored')
  })

  test('pointer-before-blob: readers are sent to a blob that is not there', ({ memory }) => {
    const tree = makeTree(join(memory, 'tree'))
    expect(runs('', 'order', tree)).toBe('blob pointer')
    expect(runs('pointer-before-blob', 'order', tree)).toBe('pointer blob')
  })
})

describe('events', () => {
  test('caches/no-secrets: one event per call and, with WARMSWAP_LOG=1, one line, neither with a secret', async ({
    memory,
  }) => {
    const tree = makeTree(join(memory, 'tree'))
    const events: CacheEvent[] = []
    const cache = openCache('memory:', { onEvent: (event) => events.push(event) })
    await cache.snapshot({ key: 'site', from: tree })
    await cache.restore({ key: 'site', into: join(memory, 'into') })
    await cache.prune({ key: 'site' })
    expect(events.map(({ verb, outcome }) => [verb, outcome])).toEqual([
      ['snapshot', 'uploaded'],
      ['restore', 'restored'],
      ['prune', 'pruned'],
    ])
    for (const { key, ms, bytes, files } of events.slice(0, 2))
      expect({ key, ms: ms > 0, bytes: bytes > 0, files: files > 0 }).toEqual({
        key: 'site',
        ms: true,
        bytes: true,
        files: true,
      })
    expect(digest(join(memory, 'into'))).toEqual(digest(tree))
    const store = {
      scheme: 's3',
      bucket: 'b',
      endpoint: 'http://127.0.0.1:1',
      accessKeyId: 'AKIA',
      secretAccessKey: SECRET_ACCESS_KEY,
    }
    const child = start(process.execPath, [program, 'snapshot', JSON.stringify(store), tree], {
      env: { WARMSWAP_LOG: '1' },
    })
    await child.ended
    const line = JSON.parse(child.stderr().trim().split('\n').at(-1)!)
    expect(line).toMatchObject({ warmswap: 'cache', verb: 'snapshot', key: 'site', outcome: 'unavailable' })
    expect(child.stderr() + child.lines.join('')).not.toContain(SECRET_ACCESS_KEY)
    rmSync(join(memory, 'into'), { recursive: true })
    expect(readdirSync(memory)).toContain('tree')
  })
})
