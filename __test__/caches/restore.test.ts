import { getEventListeners } from 'node:events'
import {
  chmodSync,
  cpSync,
  mkdirSync,
  readFileSync,
  readdirSync,
  rmSync,
  rmdirSync,
  statSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { describe, expect } from 'vitest'
import { type Cache, type CacheEvent, cacheLocationFromEnv, isWarmswapError, openCache } from 'warmswap'
import { damage, flipSeekTable, rewrite } from '../support/blobs.js'
import { start } from '../support/children.js'
import { repository } from '../support/paths.js'
import { test } from '../support/temp.js'
import { digest, makeTree, noise } from '../support/trees.js'
import { isRoot } from '../support/users.js'

const stores: [string, (folder: string) => string][] = [
  ['memory', () => 'memory:'],
  ['file', (folder) => `file://${join(folder, 'store')}`],
]

/** The tree manifest is written after the call. A call that finds none is correct, only slower. */
async function unchangedSoon(call: () => Promise<{ outcome: string }>): Promise<void> {
  await expect.poll(async () => (await call()).outcome, { timeout: 10_000 }).toBe('unchanged')
}

/** The files next to tree manifests, which are written after the call. */
const names = (directory: string): string[] =>
  readdirSync(directory)
    .filter((name) => !name.startsWith('.warmswap-stamp'))
    .sort()

describe.each(stores)('a %s store', (_, location) => {
  test('archives/round-trip: restore(snapshot(T)) is T, and both verbs then find it unchanged', async ({ memory }) => {
    const tree = makeTree(join(memory, 'tree'))
    const into = join(memory, 'into')
    const cache = openCache(location(memory))
    const first = await cache.restore({ key: 'site', into })
    expect(first).toMatchObject({ ok: false, outcome: 'miss', stage: 'lookup' })
    const uploaded = await cache.snapshot({ key: 'site', from: tree, ticket: first.ticket! })
    expect(uploaded).toMatchObject({ ok: true, outcome: 'uploaded', guard: 'etag', skipped: [] })
    const restored = await cache.restore({ key: 'site', into })
    expect(restored).toMatchObject({
      ok: true,
      outcome: 'restored',
      commit: 'rename',
      generation: uploaded.generation!,
      files: uploaded.files,
      bytes: uploaded.bytes,
    })
    expect(digest(into)).toEqual(digest(tree))
    await unchangedSoon(() => cache.restore({ key: 'site', into }))
    expect(await cache.snapshot({ key: 'site', from: into })).toMatchObject({ outcome: 'unchanged', uploadedBytes: 0 })
  })

  test('caches/unchanged-sends-nothing: unchanged sends nothing, also when every time was touched and every inode is new', async ({
    memory,
  }) => {
    const tree = makeTree(join(memory, 'tree'))
    const cache = openCache(location(memory))
    await cache.snapshot({ key: 'site', from: tree })
    const files = readdirSync(tree, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile())
    for (const entry of files) utimesSync(join(entry.parentPath, entry.name), 1, 1)
    expect(await cache.snapshot({ key: 'site', from: tree })).toMatchObject({ outcome: 'unchanged', uploadedBytes: 0 })
    const copy = makeTree(join(memory, 'copy'))
    expect(await cache.snapshot({ key: 'site', from: copy })).toMatchObject({ outcome: 'unchanged', uploadedBytes: 0 })
  })

  test.for(['site.tgz', 'site.tar.gz', 'site.tar', 'site.tar.zst'])(
    'a key %s is one object, read and written as such',
    async (key, { memory }) => {
      const tree = makeTree(join(memory, 'tree'))
      const into = join(memory, 'into')
      const cache = openCache(location(memory))
      expect(await cache.snapshot({ key, from: tree })).toMatchObject({ outcome: 'uploaded' })
      expect(await cache.snapshot({ key, from: tree })).toMatchObject({ outcome: 'unchanged', uploadedBytes: 0 })
      expect(await cache.restore({ key, into })).toMatchObject({ outcome: 'restored' })
      expect(digest(into)).toEqual(digest(tree))
      const stale = await cache.restore({ key, into: join(memory, 'other') })
      writeFileSync(join(tree, 'more'), 'x'.repeat(5000))
      expect(await cache.snapshot({ key, from: tree })).toMatchObject({ outcome: 'uploaded' })
      writeFileSync(join(tree, 'most'), 'y'.repeat(5000))
      expect(await cache.snapshot({ key, from: tree, ticket: stale.ticket! })).toMatchObject({
        outcome: 'superseded',
        uploadedBytes: 0,
      })
    },
  )

  test('modes: if-empty refuses, merge adds and never overwrites, replace exchanges', async ({ memory }) => {
    const tree = makeTree(join(memory, 'tree'))
    const into = join(memory, 'into')
    mkdirSync(into)
    writeFileSync(join(into, 'mine'), 'mine')
    writeFileSync(join(into, 'a.js'), 'my own')
    const cache = openCache(location(memory))
    await cache.snapshot({ key: 'site', from: tree })
    const before = digest(into)
    expect(await cache.restore({ key: 'site', into })).toMatchObject({ ok: false, outcome: 'target-not-empty' })
    expect(digest(into)).toEqual(before)
    expect(await cache.restore({ key: 'site', into, mode: 'merge' })).toMatchObject({
      outcome: 'restored',
      commit: 'merge',
    })
    expect(readFileSync(join(into, 'a.js'), 'utf8')).toBe('my own')
    expect(readFileSync(join(into, 'mine'), 'utf8')).toBe('mine')
    expect(await cache.restore({ key: 'site', into, mode: 'replace' })).toMatchObject({
      outcome: 'restored',
      commit: 'exchange',
    })
    expect(digest(into)).toEqual(digest(tree))
  })

  test("a volume's lost+found does not count as content of the tree", async ({ memory }) => {
    const cache = openCache(location(memory))
    const into = join(memory, 'into')
    const tree = makeTree(join(memory, 'tree'))
    const before = digest(tree)
    mkdirSync(join(tree, 'lost+found'), { mode: 0 })
    expect(await cache.snapshot({ key: 'site', from: tree })).toMatchObject({ outcome: 'uploaded', skipped: [] })
    rmdirSync(join(tree, 'lost+found'))
    mkdirSync(join(into, 'lost+found'), { recursive: true })
    expect(await cache.restore({ key: 'site', into })).toMatchObject({ outcome: 'restored' })
    await unchangedSoon(() => cache.restore({ key: 'site', into }))
    rmdirSync(join(into, 'lost+found'))
    expect(digest(into)).toEqual(before)
  })

  test('fallback keys are tried in turn, and the ticket is of the first', async ({ memory }) => {
    const tree = makeTree(join(memory, 'tree'))
    const cache = openCache(location(memory))
    await cache.snapshot({ key: 'main', from: tree })
    const restored = await cache.restore({ key: 'branch', fallbackKeys: ['other', 'main'], into: join(memory, 'into') })
    expect(restored).toMatchObject({ outcome: 'restored', key: 'main' })
    expect(await cache.snapshot({ key: 'branch', from: tree, ticket: restored.ticket! })).toMatchObject({
      outcome: 'uploaded',
    })
  })

  test('expect: a tree of another machine or lock file is incompatible', async ({ memory }) => {
    const tree = makeTree(join(memory, 'tree'))
    const into = join(memory, 'into')
    const cache = openCache(location(memory))
    await cache.snapshot({ key: 'site', from: tree, fingerprint: 'lock-1' })
    expect(await cache.restore({ key: 'site', into, expect: { arch: 'z80' } })).toMatchObject({
      outcome: 'incompatible',
      stage: 'lookup',
    })
    expect(await cache.restore({ key: 'site', into, expect: { fingerprint: 'lock-2' } })).toMatchObject({
      outcome: 'incompatible',
    })
    expect(() => statSync(into)).toThrow()
    expect(
      await cache.restore({
        key: 'site',
        into,
        expect: { arch: process.arch, platform: process.platform, fingerprint: 'lock-1' },
      }),
    ).toMatchObject({ outcome: 'restored' })
  })

  test('the same tree from another lock file gets a pointer of its own, and its bytes are not sent again', async ({
    memory,
  }) => {
    const tree = makeTree(join(memory, 'tree'))
    writeFileSync(join(tree, 'noise'), noise(1 << 20))
    const cache = openCache(location(memory))
    await cache.snapshot({ key: 'site', from: tree, fingerprint: 'lock-1' })
    expect(
      await cache.restore({ key: 'site', into: join(memory, 'into'), expect: { fingerprint: 'lock-2' } }),
    ).toMatchObject({ outcome: 'incompatible' })
    const again = await cache.snapshot({ key: 'site', from: tree, fingerprint: 'lock-2' })
    expect(again).toMatchObject({ outcome: 'uploaded' })
    expect(again.uploadedBytes).toBeLessThan(4096)
    expect(
      await cache.restore({ key: 'site', into: join(memory, 'into'), expect: { fingerprint: 'lock-2' } }),
    ).toMatchObject({ outcome: 'restored' })
    expect(await cache.snapshot({ key: 'site', from: tree, fingerprint: 'lock-2' })).toMatchObject({
      outcome: 'unchanged',
    })
    expect(await cache.snapshot({ key: 'site', from: tree })).toMatchObject({ outcome: 'unchanged' })
  })

  test('a fallback key is tried after an unusable one, and the first one is reported if none is usable', async ({
    memory,
  }) => {
    const tree = makeTree(join(memory, 'tree'))
    const cache = openCache(location(memory))
    await cache.snapshot({ key: 'site', from: tree, fingerprint: 'lock-1' })
    await cache.snapshot({ key: 'main', from: tree, fingerprint: 'lock-2' })
    const calls = { key: 'site', into: join(memory, 'into'), expect: { fingerprint: 'lock-2' } }
    expect(await cache.restore({ ...calls, fallbackKeys: ['absent'] })).toMatchObject({
      outcome: 'incompatible',
      key: 'site',
      reason: expect.stringContaining('lock-1'),
    })
    expect(await cache.restore({ ...calls, fallbackKeys: ['absent', 'main'] })).toMatchObject({
      outcome: 'restored',
      key: 'main',
    })
  })

  test('caches/one-object-records-nothing: a single object does not record its origin: with expect it is incompatible', async ({
    memory,
  }) => {
    const cache = openCache(location(memory))
    await cache.snapshot({ key: 'site.tgz', from: makeTree(join(memory, 'tree')) })
    expect(
      await cache.restore({ key: 'site.tgz', into: join(memory, 'into'), expect: { platform: process.platform } }),
    ).toMatchObject({ outcome: 'incompatible', reason: expect.stringContaining('single object') })
    expect(await cache.restore({ key: 'site.tgz', into: join(memory, 'into') })).toMatchObject({ outcome: 'restored' })
  })

  test('inspect, prune and remove', async ({ memory }) => {
    const tree = makeTree(join(memory, 'tree'))
    const cache = openCache(location(memory))
    expect(await cache.inspect('site')).toBeNull()
    for (let generation = 0; generation < 4; generation += 1) {
      writeFileSync(join(tree, 'generation'), `${generation}`)
      expect(await cache.snapshot({ key: 'site', from: tree })).toMatchObject({ outcome: 'uploaded' })
    }
    const info = (await cache.inspect('site'))!
    expect(info.files).toBeGreaterThan(5)
    expect(info.producer).toMatchObject({ tool: 'warmswap', platform: process.platform, arch: process.arch })
    expect(Date.parse(info.createdAt)).toBeGreaterThan(Date.now() - 60_000)
    expect(await cache.prune({ key: 'site', keep: 2 })).toEqual({ removed: [], outcome: 'pruned' })
    const pruned = await cache.prune({ key: 'site', keep: 2, olderThanMs: 0 })
    expect(pruned.removed).toHaveLength(2)
    expect(await cache.restore({ key: 'site', into: join(memory, 'into') })).toMatchObject({ outcome: 'restored' })
    expect(await cache.remove('site')).toEqual({ outcome: 'removed' })
    expect(await cache.inspect('site')).toBeNull()
    expect(await cache.remove('site')).toEqual({ outcome: 'removed' })
  })
})

describe('caches/trust-levels: low trust does not write what high trust reads', () => {
  test('a signed cache refuses unsigned, foreign and moved pointers', async ({ memory }) => {
    const store = `file://${join(memory, 'store')}`
    const tree = makeTree(join(memory, 'tree'))
    const into = join(memory, 'into')
    const secret = 'a secret of 16 bytes or more'
    const signed = openCache(store, { hmacKey: secret })
    await openCache(store).snapshot({ key: 'unsigned', from: tree })
    expect(await signed.restore({ key: 'unsigned', into })).toMatchObject({ outcome: 'refused', stage: 'lookup' })
    await openCache(store, { hmacKey: 'another secret of 16 bytes' }).snapshot({ key: 'foreign', from: tree })
    expect(await signed.restore({ key: 'foreign', into })).toMatchObject({ outcome: 'refused' })
    await signed.snapshot({ key: 'site-a', from: tree })
    mkdirSync(join(memory, 'store/site-b'))
    writeFileSync(join(memory, 'store/site-b/current.json'), readFileSync(join(memory, 'store/site-a/current.json')))
    expect(await signed.restore({ key: 'site-b', into })).toMatchObject({ outcome: 'refused' })
    expect(await signed.restore({ key: 'object.tgz', into })).toMatchObject({ outcome: 'refused' })
    expect(await signed.restore({ key: 'site-a', into })).toMatchObject({ outcome: 'restored' })
  })

  test('a writer with another secret replaces nothing: the signed generation stays, until the key is removed', async ({
    memory,
  }) => {
    const store = `file://${join(memory, 'store')}`
    const tree = makeTree(join(memory, 'tree'))
    const into = join(memory, 'into')
    const [right, wrong] = [
      openCache(store, { hmacKey: 'a secret of 16 bytes or more' }),
      openCache(store, { hmacKey: 'another secret of 16 bytes' }),
    ]
    await right.snapshot({ key: 'site', from: tree })
    writeFileSync(join(tree, 'more'), 'more')
    expect(await wrong.snapshot({ key: 'site', from: tree })).toMatchObject({
      ok: false,
      outcome: 'denied',
      reason: expect.stringContaining('sign'),
    })
    expect(await right.restore({ key: 'site', into })).toMatchObject({ outcome: 'restored' })
    expect(await wrong.remove('site')).toEqual({ outcome: 'removed' })
    expect(await wrong.snapshot({ key: 'site', from: tree })).toMatchObject({ outcome: 'uploaded' })
  })

  test('a read-only cache restores and never writes', async ({ memory }) => {
    const store = `file://${join(memory, 'store')}`
    const tree = makeTree(join(memory, 'tree'))
    await openCache(store).snapshot({ key: 'site', from: tree })
    const before = digest(join(memory, 'store'))
    const reader = openCache(store, { readOnly: true })
    writeFileSync(join(tree, 'more'), 'more')
    expect(await reader.snapshot({ key: 'site', from: tree })).toMatchObject({
      outcome: 'disabled',
      reason: expect.stringContaining('read-only'),
    })
    expect(await reader.prune({ key: 'site', keep: 1, olderThanMs: 0 })).toMatchObject({ outcome: 'disabled' })
    expect(await reader.remove('site')).toEqual({ outcome: 'disabled', reason: expect.stringContaining('read-only') })
    expect(digest(join(memory, 'store'))).toEqual(before)
    expect(await reader.restore({ key: 'site', into: join(memory, 'into') })).toMatchObject({ outcome: 'restored' })
    expect(await reader.probe()).toEqual({
      conditionalPut: false,
      exclusiveWrites: false,
      conditionalMultipart: false,
      ranged: false,
      writable: false,
    })
  })
})

describe('archives/verified-before-commit: what is not what the pointer promised is corrupt, and the target stays', () => {
  async function broken(
    memory: string,
    harm: (blob: string, pointer: string) => void,
  ): Promise<Awaited<ReturnType<Cache['restore']>>> {
    const tree = makeTree(join(memory, 'tree'))
    const cache = openCache(`file://${join(memory, 'store')}`)
    await cache.snapshot({ key: 'site', from: tree })
    const blobs = join(memory, 'store/site/blobs')
    harm(join(blobs, readdirSync(blobs)[0]!), join(memory, 'store/site/current.json'))
    const into = join(memory, 'into')
    mkdirSync(into)
    const result = await cache.restore({ key: 'site', into })
    expect(readdirSync(into)).toEqual([])
    expect(names(memory)).toEqual(['into', 'store', 'tree'])
    return result
  }
  const flip = (bytes: Buffer): Buffer => {
    bytes[bytes.length >> 1]! ^= 1
    return bytes
  }

  test('a flipped bit', async ({ memory }) => {
    expect(await broken(memory, (blob, pointer) => damage(blob, pointer, flip))).toMatchObject({ outcome: 'corrupt' })
  })
  test('a byte that every decoder skips: the sha256 detects it', async ({ memory }) => {
    expect(await broken(memory, (blob, pointer) => damage(blob, pointer, flipSeekTable))).toMatchObject({
      outcome: 'corrupt',
      reason: expect.stringContaining('sha256'),
    })
  })
  test('a cut object', async ({ memory }) => {
    expect(
      await broken(memory, (blob, pointer) => damage(blob, pointer, (bytes) => bytes.subarray(0, -10))),
    ).toMatchObject({ outcome: 'corrupt' })
  })
  test('bytes after the end of one object', async ({ memory }) => {
    const cache = openCache(`file://${join(memory, 'store')}`)
    await cache.snapshot({ key: 'site.tar.zst', from: makeTree(join(memory, 'tree')) })
    rewrite(join(memory, 'store/site.tar.zst'), (bytes) => Buffer.concat([bytes, Buffer.from('more')]))
    expect(await cache.restore({ key: 'site.tar.zst', into: join(memory, 'into') })).toMatchObject({
      outcome: 'corrupt',
    })
    expect(names(memory)).toEqual(['store', 'tree'])
  })
  test('another number of files', async ({ memory }) => {
    expect(
      await broken(memory, (_, pointer) =>
        rewrite(pointer, (bytes) => Buffer.from(JSON.stringify({ ...JSON.parse(bytes.toString()), files: 3 }))),
      ),
    ).toMatchObject({ outcome: 'corrupt' })
  })
  test.for([
    ['is not there any more, as after a lifecycle rule', (blob: string) => rmSync(blob), false],
    ['is cut off', (blob: string) => rewrite(blob, (bytes) => bytes.subarray(0, -10)), false],
    [
      'has another bit, and the ticket of the restore that found it',
      (blob: string, pointer: string) => damage(blob, pointer, flip),
      true,
    ],
  ] as const)(
    'a blob that %s: the next snapshot of the same tree heals the key',
    async ([, harm, withTicket], { memory }) => {
      const tree = makeTree(join(memory, 'tree'))
      const cache = openCache(`file://${join(memory, 'store')}`)
      await cache.snapshot({ key: 'site', from: tree })
      const blobs = join(memory, 'store/site/blobs')
      harm(join(blobs, readdirSync(blobs)[0]!), join(memory, 'store/site/current.json'))
      const into = join(memory, 'into')
      const broken = await cache.restore({ key: 'site', into })
      expect(broken.ok).toBe(false)
      expect(
        await cache.snapshot({ key: 'site', from: tree, ...(withTicket ? { ticket: broken.ticket! } : {}) }),
      ).toMatchObject({ outcome: 'uploaded' })
      expect(await cache.restore({ key: 'site', into })).toMatchObject({ outcome: 'restored' })
      expect(digest(into)).toEqual(digest(tree))
    },
  )
  test('a pointer that is not valid', async ({ memory }) => {
    expect(await broken(memory, (_, pointer) => writeFileSync(pointer, 'not JSON'))).toMatchObject({
      outcome: 'corrupt',
      stage: 'lookup',
    })
  })
  test('a pointer that is too large: reported, and replaced by the next snapshot', async ({ memory }) => {
    const grown = (pointer: string): void =>
      rewrite(pointer, (bytes) => Buffer.concat([bytes, Buffer.alloc(5000, ' ')]))
    expect(await broken(memory, (_, pointer) => grown(pointer))).toMatchObject({
      outcome: 'corrupt',
      stage: 'lookup',
      reason: expect.stringContaining('4096'),
    })
    const cache = openCache(`file://${join(memory, 'store')}`)
    expect(await cache.snapshot({ key: 'site', from: join(memory, 'tree') })).toMatchObject({ outcome: 'uploaded' })
    expect(await cache.restore({ key: 'site', into: join(memory, 'into') })).toMatchObject({ outcome: 'restored' })
  })
  test('a pointer of a later layout', async ({ memory }) => {
    expect(
      await broken(memory, (_, pointer) =>
        rewrite(pointer, (bytes) => Buffer.from(JSON.stringify({ ...JSON.parse(bytes.toString()), v: 2 }))),
      ),
    ).toMatchObject({ outcome: 'incompatible' })
  })
  test('a blob that is not there', async ({ memory }) => {
    expect(await broken(memory, (blob) => rmSync(blob))).toMatchObject({
      outcome: 'corrupt',
      reason: expect.stringContaining('does not exist'),
    })
  })
  test('a blob whose version is another one, as after a bucket was moved, is proven by its bytes', async ({
    memory,
  }) => {
    const location = { scheme: 'file', path: join(memory, 'store') } as const
    const tree = makeTree(join(memory, 'tree'))
    await openCache(location).snapshot({ key: 'site', from: tree })
    const [blob] = readdirSync(join(memory, 'store/site/blobs'))
    rewrite(join(memory, 'store/site/blobs', blob!), (bytes) => bytes)
    expect(await openCache(location).restore({ key: 'site', into: join(memory, 'into') })).toMatchObject({
      outcome: 'restored',
    })
    expect(digest(join(memory, 'into'))).toEqual(digest(tree))
    rewrite(join(memory, 'store/site/blobs', blob!), (bytes) =>
      Buffer.concat([bytes.subarray(0, -1), Buffer.from([bytes.at(-1)! ^ 1])]),
    )
    expect(await openCache(location).restore({ key: 'site', into: join(memory, 'other') })).toMatchObject({
      outcome: 'corrupt',
    })
  })
})

describe('the face', () => {
  test('wrong arguments reject before any I/O, naming the argument and the expected value', async ({ memory }) => {
    const cache = openCache(`file://${join(memory, 'store')}`)
    const into = join(memory, 'into')
    const file = join(memory, 'file')
    writeFileSync(file, 'x')
    const wrong: [() => Promise<unknown>, RegExp][] = [
      [() => cache.restore({ key: '../x', into }), /options\.key/],
      [() => cache.restore({ key: 'a b', into }), /options\.key/],
      [() => cache.restore({ key: 'a', fallbackKeys: ['/'], into }), /options\.fallbackKeys\[0\]/],
      [() => cache.restore({ key: 'a', into: '/' }), /options\.into/],
      [() => cache.restore({ key: 'a', into: process.env.HOME! }), /options\.into/],
      [() => cache.restore({ key: 'a', into: 'relative' }), /options\.into/],
      [() => cache.restore({ key: 'a', into: file }), /options\.into/],
      [() => cache.restore({ key: 'a', into, mode: 'overwrite' as 'merge' }), /options\.mode/],
      [() => cache.restore({ key: 'a', into, deadline: 5 } as never), /options\.deadline/],
      [() => cache.restore({ key: 'a', into, deadlineMs: -1 }), /options\.deadlineMs/],
      [() => cache.restore({ key: 'a', into, deadlineMs: Number.NaN }), /options\.deadlineMs/],
      [() => cache.restore({ key: 'a', into, concurrency: 0 }), /options\.concurrency/],
      [() => cache.restore({ key: 'a', into, limits: { maxBytes: 1, maxFileBytes: 2 } }), /maxFileBytes/],
      [() => cache.snapshot({ key: 'a', from: 'x' }), /options\.from/],
      [() => cache.snapshot({ key: 'a', from: memory, ticket: 'nonsense' }), /options\.ticket/],
      [
        () => cache.snapshot({ key: 'a', from: memory, fingerprint: 'é'.repeat(257) }),
        /options\.fingerprint.*512 bytes/,
      ],
      [() => cache.snapshot({ key: 'a', from: memory, guard: { maxShrink: 2 } }), /maxShrink/],
      [() => cache.snapshot({ key: 'a', from: memory, level: 99 }), /options\.level/],
      [() => cache.prune({ key: 'a', keep: 0 }), /options\.keep/],
      [() => cache.inspect('blobs'), /key/],
      [() => cache.restore({ key: 'é', into }), /options\.key/],
      [() => cache.restore({ key: 'a'.repeat(513), into }), /options\.key/],
      [() => cache.restore({ key: 'a', into: join(process.env.HOME!, '..') }), /options\.into/],
      [() => cache.restore({ key: 'a', into: `${memory}\0x` }), /options\.into/],
      [() => cache.restore({ key: 'a', into, concurrency: 65 }), /options\.concurrency/],
      [() => cache.restore({ key: 'a', into, limits: { maxEntries: 1 } as never }), /options\.limits\.maxEntries/],
      [() => cache.restore({ key: 'a', into, limits: { maxFiles: -1 } }), /options\.limits\.maxFiles/],
      [() => cache.restore({ key: 'a', into, expect: { os: 'linux' } as never }), /options\.expect\.os/],
      [() => cache.restore({ key: 'a', into, idleMs: 0 }), /options\.idleMs/],
      [() => cache.restore({ key: 'a', into, deadlineMs: Infinity }), /options\.deadlineMs/],
      [() => cache.restore({ key: 'a', into, attempts: 0 }), /options\.attempts/],
      [() => cache.restore({ key: 'a', into, signal: {} as never }), /signal/],
      [() => cache.restore({ key: 'a', into, onProgress: true as never }), /options\.onProgress/],
      [() => cache.restore(undefined as never), /options\.key/],
      [() => cache.restore(null as never), /options/],
      [() => cache.snapshot({ key: 'a', from: memory, preset: 'npm' as never }), /options\.preset/],
      [() => cache.snapshot({ key: 'a', from: memory, exclude: ['['] }), /exclude/],
      [() => cache.snapshot({ key: 'a', from: memory, quietMs: -1 }), /options\.quietMs/],
      [() => cache.snapshot({ key: 'a', from: memory, keepProcessAlive: 1 as never }), /options\.keepProcessAlive/],
      [() => cache.snapshot({ key: 'a', from: memory, guard: { minFiles: 0.5 } }), /minFiles/],
      [() => cache.remove('../a'), /key/],
      [() => cache.remove('a', { deadlineMs: 0 }), /budget\.deadlineMs/],
      [() => cache.probe({ idle: 1 } as never), /budget\.idle/],
    ]
    for (const [call, message] of wrong) {
      await expect(call(), String(call)).rejects.toSatisfy(
        (error) => isWarmswapError(error) && error.code === 'ERR_INVALID_ARGUMENT' && message.test(error.message),
      )
    }
    expect(readdirSync(memory)).toEqual(['file'])
  })

  test('a call that is refused leaves no listener on its signal', async () => {
    const { signal } = new AbortController()
    const cache = openCache('memory:')
    for (const call of [
      () => cache.inspect('a', { signal, idleMs: 0 }),
      () => cache.remove('a', { signal, attempts: 0 }),
      () => cache.probe({ signal, deadlineMs: -1 }),
      () => cache.prune({ key: 'a', signal, deadlineMs: 0 }),
    ]) {
      await expect(call()).rejects.toMatchObject({ code: 'ERR_INVALID_ARGUMENT' })
      expect(getEventListeners(signal, 'abort')).toEqual([])
    }
  })

  test.skipIf(!isRoot)(
    `caches/calls-never-reject: a user without a home restores too${isRoot ? '' : ' (NOT RUN: needs root to become such a user)'}`,
    async ({ memory }) => {
      chmodSync(memory, 0o777)
      await openCache(`file://${join(memory, 'store')}`).snapshot({ key: 'site', from: makeTree(join(memory, 'tree')) })
      // The checkout can be in a folder that only root reads.
      const installed = join(memory, 'node_modules/warmswap')
      for (const part of ['dist', 'package.json'])
        cpSync(join(repository, part), join(installed, part), { recursive: true })
      cpSync(join(repository, '__test__/programs/caches-calls.js'), join(memory, 'calls.mjs'))
      const location = JSON.stringify({ scheme: 'file', path: join(memory, 'store') })
      const withoutHome = [
        '--reuid',
        '54321',
        '--regid',
        '54321',
        '--clear-groups',
        'env',
        '-u',
        'HOME',
        '-u',
        'NAPI_RS_NATIVE_LIBRARY_PATH',
      ]
      const child = start('setpriv', [
        ...withoutHome,
        process.execPath,
        join(memory, 'calls.mjs'),
        'restore',
        location,
        join(memory, 'into'),
      ])
      await child.ended
      expect(child.lines.join('\n') + child.stderr()).toBe('restored')
    },
  )

  test('caches/no-secrets: wrong locations throw, and no message repeats a secret', () => {
    const secret = 'TOP+SECRET/VALUE'
    const wrong: unknown[] = [
      'ftp://x',
      'nonsense',
      's3://',
      5,
      null,
      'file:///x?unknown=1',
      'file://host/x',
      `s3://user:${encodeURIComponent(secret)}@bucket`,
      `s3://bucket?region=r&secretAccessKey=${encodeURIComponent(secret)}`,
      `s3://bucket?sessionToken=${encodeURIComponent(secret)}`,
      's3://bucket/%zz',
      'memory:%zz',
      'file:///%zz',
      'file:///a%2fb',
      's3://b?region=a&region=b',
      { scheme: 's3', region: 'eu-west-1' },
      { scheme: 's3', bucket: 'b', region: 'r', accessKeyId: secret },
      { scheme: 's3', bucket: 'b', region: 'r', unknown: secret },
      { scheme: 's3', bucket: 'b', endpoint: `http://user:${secret}@host` },
      { scheme: 's3', bucket: 'b', region: 'r', secretAccessKey: { secret } },
    ]
    for (const location of wrong) {
      expect(() => openCache(location as string), JSON.stringify(location)).toThrow(
        expect.objectContaining({ code: 'ERR_INVALID_ARGUMENT' }),
      )
      try {
        openCache(location as string)
      } catch (error) {
        expect((error as Error).message).not.toContain(secret)
      }
    }
    expect(() => openCache('memory:', { hmacKey: 'short' })).toThrow(/hmacKey/)
  })

  test('strict throws the outcome, with the code of the table', async ({ memory }) => {
    const cache = openCache('memory:')
    const into = join(memory, 'into')
    await expect(cache.restore({ key: 'a', into, strict: true })).rejects.toMatchObject({ code: 'ERR_NO_GENERATION' })
    await expect(cache.snapshot({ key: 'a', from: join(memory, 'absent'), strict: true })).rejects.toMatchObject({
      code: 'ERR_EMPTY_STAGE',
    })
  })

  test('without a store every call is disabled and nothing is touched', async ({ memory }) => {
    const events: CacheEvent[] = []
    const cache = openCache(cacheLocationFromEnv({}, 'CACHE').store, { onEvent: (event) => events.push(event) })
    expect(await cache.restore({ key: 'a', into: join(memory, 'into') })).toMatchObject({
      ok: false,
      outcome: 'disabled',
    })
    expect(await cache.snapshot({ key: 'a', from: memory })).toMatchObject({ ok: false, outcome: 'disabled' })
    expect(await cache.inspect('a')).toBeNull()
    expect(await cache.prune({ key: 'a' })).toEqual({ removed: [], outcome: 'disabled' })
    expect(await cache.remove('a')).toEqual({ outcome: 'disabled' })
    expect(events.map(({ verb, outcome }) => `${verb} ${outcome}`)).toEqual([
      'restore disabled',
      'snapshot disabled',
      'prune disabled',
      'remove disabled',
    ])
  })

  test('cacheLocationFromEnv reads a record that need not be process.env', () => {
    const body = {
      CACHE_S3_BUCKET: 'bucket',
      CACHE_S3_KEY: 'site/cache.tgz',
      CACHE_S3_ENDPOINT: 'http://127.0.0.1:9000',
      OTHER: 'x',
    }
    expect(cacheLocationFromEnv(body, 'CACHE', { region: 'eu-central-1' })).toEqual({
      store: { scheme: 's3', bucket: 'bucket', region: 'eu-central-1', endpoint: 'http://127.0.0.1:9000' },
      key: 'site/cache.tgz',
    })
    expect(
      cacheLocationFromEnv({ ...body, CACHE_S3_REGION: 'us-west-2' }, 'CACHE', { region: 'eu-central-1' }).store,
    ).toMatchObject({ region: 'us-west-2' })
    expect(cacheLocationFromEnv({ CACHE_S3_KEY: 'k' }, 'CACHE')).toEqual({ store: undefined, key: 'k' })
    expect(cacheLocationFromEnv({ CACHE_S3_BUCKET: ' ' }, 'CACHE').store).toBeUndefined()
    expect(() => cacheLocationFromEnv({}, 'not a prefix')).toThrow(/prefix/)
  })

  test('caches/inspect-and-probe-reject: inspect and probe reject with the outcome if the store cannot be read', async () => {
    const cache = openCache({
      scheme: 's3',
      bucket: 'b',
      endpoint: 'http://127.0.0.1:1',
      accessKeyId: 'AKIA',
      secretAccessKey: 'secret',
    })
    await expect(cache.inspect('a')).rejects.toMatchObject({ code: 'ERR_IO', outcome: 'unavailable' })
    await expect(cache.probe()).rejects.toMatchObject({ code: 'ERR_IO', outcome: 'unavailable' })
    const signal = AbortSignal.abort(new Error('mine'))
    await expect(cache.probe({ signal })).rejects.toThrow('mine')
  })

  test('an aborted signal ends the call with the outcome aborted; strict throws its reason', async ({ memory }) => {
    const cache = openCache('memory:')
    const signal = AbortSignal.abort(new Error('mine'))
    expect(await cache.restore({ key: 'a', into: join(memory, 'into'), signal })).toMatchObject({
      ok: false,
      outcome: 'aborted',
    })
    await expect(cache.restore({ key: 'a', into: join(memory, 'into'), signal, strict: true })).rejects.toThrow('mine')
  })

  test('close waits for running calls, and later calls reject', async ({ memory }) => {
    const cache = openCache('memory:')
    const running = cache.snapshot({ key: 'a', from: makeTree(join(memory, 'tree')) })
    await cache.close()
    expect(await Promise.race([running, sleep(0, 'still running')])).toMatchObject({ outcome: 'uploaded' })
    await expect(cache.inspect('a')).rejects.toMatchObject({ code: 'ERR_CLOSED' })
  })
})
