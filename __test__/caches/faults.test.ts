// @module-tag system
import { mkdirSync, readdirSync, rmSync, utimesSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { openCache } from 'warmswap'
import { afterAll, afterEach, beforeAll, describe, expect } from 'vitest'
import { blackHole, heldLine } from '../support/endpoints.js'
import { type Fault, type FaultServer, startFaultServer } from '../support/fault-server.js'
import { SECRET_ACCESS_KEY } from '../support/s3.js'
import { test } from '../support/temp.js'
import { digest, makeTree, noise } from '../support/trees.js'

let server: FaultServer
const rejections: unknown[] = []
const onRejection = (reason: unknown): void => void rejections.push(reason)
beforeAll(async () => {
  process.on('unhandledRejection', onRejection)
  server = await startFaultServer()
})
afterAll(async () => {
  process.off('unhandledRejection', onRejection)
  await server.stop()
  expect(rejections).toEqual([])
})
afterEach(() => {
  server.fault = undefined
  server.latencyMs = 0
  server.bytesPerSecond = 0
  server.requests.length = 0
})

const RESTORE_OUTCOMES = [
  'restored',
  'unchanged',
  'miss',
  'disabled',
  'timeout',
  'aborted',
  'corrupt',
  'refused',
  'incompatible',
  'target-not-empty',
  'busy',
  'no-space',
  'denied',
  'unavailable',
  'superseded',
  'error',
]
const SNAPSHOT_OUTCOMES = [
  'uploaded',
  'unchanged',
  'empty',
  'shrunk',
  'unstable',
  'superseded',
  'busy',
  'too-large',
  'disabled',
  'corrupt',
  'incompatible',
  'timeout',
  'aborted',
  'denied',
  'unavailable',
  'no-space',
  'error',
]

const ALL: Fault['what'][] = [
  'stall-after-accept',
  'stall-after-headers',
  'stall-mid-body',
  'trickle',
  'reset-mid-body',
  'ignore-range',
  'wrong-content-range',
  'short-range',
  'short-body',
  'slow-down',
  'redirect',
  'conflict',
  'precondition',
  'denied',
  'swap-object',
  'lose-answer',
  'garbage',
]
const isPointer = ({ path }: { path: string }): boolean => path.endsWith('current.json')
const isBlob = ({ path }: { path: string }): boolean => path.includes('/blobs/')
const DEADLINE_MS = 1000
/** The invariant says 100 ms; ten times that on a machine under load. */
const LATE_MS = 1000

/** A tree whose archive has three parts, in a prefix of its own. */
let prefixes = 0
async function published(
  memory: string,
): Promise<{ store: ReturnType<FaultServer['store']>; tree: string; before: Record<string, string> }> {
  server.fault = undefined
  const store = server.store(`p${++prefixes}`)
  const tree = makeTree(join(memory, 'tree'))
  writeFileSync(join(tree, 'noise'), noise(20 << 20))
  const cache = openCache(store)
  expect(await cache.snapshot({ key: 'site', from: tree })).toMatchObject({ outcome: 'uploaded' })
  await cache.close()
  return { store, tree, before: digest(tree) }
}

/** The files next to tree manifests, which are written after the call. */
const names = (directory: string): string[] =>
  readdirSync(directory)
    .filter((name) => !name.startsWith('.warmswap-stamp'))
    .sort()

async function timed<T>(call: () => Promise<T>): Promise<{ result: T; ms: number }> {
  const started = performance.now()
  const result = await call()
  return { result, ms: performance.now() - started }
}

describe('caches/calls-never-reject, caches/deadline-is-absolute, archives/all-or-nothing: the fault matrix', () => {
  test('a restore resolves with a known outcome in time, and the target is whole or untouched', {
    timeout: 300_000,
  }, async ({ memory }) => {
    const { store, before } = await published(memory)
    const into = join(memory, 'into')
    const mine = ownTree(into)
    const table: Record<string, string> = {}
    for (const [place, matches] of [
      ['pointer', isPointer],
      ['blob', isBlob],
    ] as const) {
      for (const what of ALL) {
        const pristine = new Map(server.objects)
        server.fault = { when: matches, what }
        const { result, ms } = await timed(() =>
          openCache(store).restore({ key: 'site', into, mode: 'replace', deadlineMs: DEADLINE_MS }),
        )
        server.fault = undefined
        server.objects.clear()
        for (const [path, object] of pristine) server.objects.set(path, object)
        table[`${place} ${what}`] = result.outcome
        expect(RESTORE_OUTCOMES, `${place} ${what}`).toContain(result.outcome)
        expect(ms, `${place} ${what}: ${result.outcome}`).toBeLessThan(DEADLINE_MS + LATE_MS)
        expect(JSON.stringify(result)).not.toContain(SECRET_ACCESS_KEY)
        if (result.ok) expect(digest(into), `${place} ${what}`).toEqual(before)
        else expect(digest(into), `${place} ${what}`).toEqual(mine)
        if (result.ok) ownTree(into)
      }
    }
    expect(table).toMatchObject({
      'pointer stall-after-accept': 'timeout',
      'pointer stall-after-headers': 'timeout',
      'pointer slow-down': 'unavailable',
      'pointer denied': 'denied',
      'pointer garbage': 'corrupt',
      'pointer redirect': 'unavailable',
      'blob stall-after-accept': 'timeout',
      'blob stall-after-headers': 'timeout',
      'blob stall-mid-body': 'timeout',
      'blob trickle': 'timeout',
      'blob reset-mid-body': 'unavailable',
      'blob short-body': 'unavailable',
      'blob ignore-range': 'restored',
      'blob wrong-content-range': 'corrupt',
      'blob short-range': 'corrupt',
      'blob slow-down': 'unavailable',
      'blob denied': 'denied',
      'blob precondition': 'superseded',
      'blob swap-object': 'superseded',
      'blob garbage': 'corrupt',
    })
  })

  test('a snapshot resolves with a known outcome in time, and readers see the old generation or the new one', {
    timeout: 300_000,
  }, async ({ memory }) => {
    const { store, tree } = await published(memory)
    const table: Record<string, string> = {}
    let step = 0
    for (const [place, matches] of [
      ['pointer', isPointer],
      ['blob', isBlob],
    ] as const) {
      // The conditions protect a pointer that another writer replaces by nonsense; no reader could use it.
      for (const what of ALL.filter((each) => place === 'blob' || each !== 'swap-object')) {
        writeFileSync(join(tree, 'step'), `${++step}`)
        server.fault = { when: (request) => matches(request) && (place === 'blob' || request.method === 'PUT'), what }
        const { result, ms } = await timed(() =>
          openCache(store).snapshot({ key: 'site', from: tree, deadlineMs: DEADLINE_MS * 2 }),
        )
        server.fault = undefined
        table[`${place} ${what}`] = result.outcome
        expect(SNAPSHOT_OUTCOMES, `${place} ${what}`).toContain(result.outcome)
        expect(ms, `${place} ${what}: ${result.outcome}`).toBeLessThan(DEADLINE_MS * 2 + LATE_MS)
        expect(JSON.stringify(result)).not.toContain(SECRET_ACCESS_KEY)
        const into = join(memory, `into-${step}`)
        const seen = await openCache(store).restore({ key: 'site', into })
        expect(seen, `${place} ${what}: ${result.outcome}`).toMatchObject({ outcome: 'restored' })
        if (result.ok) expect(digest(into)).toEqual(digest(tree))
      }
    }
    expect(table).toMatchObject({
      'pointer lose-answer': 'uploaded',
      'pointer conflict': 'superseded',
      'pointer precondition': 'superseded',
      'pointer slow-down': 'unavailable',
      'pointer denied': 'denied',
      'pointer stall-after-accept': 'timeout',
      'blob stall-after-accept': 'timeout',
      'blob denied': 'denied',
      'blob slow-down': 'unavailable',
      'blob garbage': 'corrupt',
      'blob ignore-range': 'uploaded',
    })
  })

  test('a temporary fault is survived, and reported as retries', async ({ memory }) => {
    const { store, before } = await published(memory)
    for (const what of [
      'slow-down',
      'reset-mid-body',
      'short-body',
      'wrong-content-range',
      'stall-after-headers',
    ] as const) {
      server.fault = { when: isBlob, what, times: 1 }
      const into = join(memory, what)
      const result = await openCache(store).restore({ key: 'site', into, idleMs: 500, deadlineMs: 20_000 })
      expect(result, what).toMatchObject({ outcome: 'restored' })
      expect(result.retries, what).toBeGreaterThan(0)
      expect(digest(into)).toEqual(before)
    }
  })
})

/** A target that holds what the program has there already; its digest. */
function ownTree(into: string): Record<string, string> {
  rmSync(into, { recursive: true, force: true })
  mkdirSync(into)
  writeFileSync(join(into, 'mine'), 'mine')
  return digest(into)
}

describe('the response to a repeated request counts, not the error of the first one', () => {
  test('a miss after a reset is a miss, so the fallback key is tried', async ({ memory }) => {
    const { store } = await published(memory)
    server.fault = { when: ({ path }) => path.endsWith('absent/current.json'), what: 'reset', times: 1 }
    expect(
      await openCache(store).restore({ key: 'absent', fallbackKeys: ['site'], into: join(memory, 'into') }),
    ).toMatchObject({ outcome: 'restored', key: 'site', retries: 1 })
  })

  test('a blob that was written although its response was lost is found', async ({ memory }) => {
    const { store, tree } = await published(memory)
    writeFileSync(join(tree, 'noise'), noise(1 << 20, 7))
    server.fault = { when: (request) => isBlob(request) && request.method === 'PUT', what: 'lose-answer', times: 1 }
    expect(await openCache(store).snapshot({ key: 'site', from: tree, guard: { allowShrink: true } })).toMatchObject({
      outcome: 'uploaded',
    })
  })
})

describe('one object whose write got no response', () => {
  test('is found: no other writer is reported as the winner', async ({ memory }) => {
    const tree = makeTree(join(memory, 'tree'))
    const store = server.store('lost')
    server.fault = {
      when: ({ method, path }) => method === 'PUT' && path.endsWith('site.tar'),
      what: 'lose-answer',
      times: 1,
    }
    expect(await openCache(store).snapshot({ key: 'site.tar', from: tree })).toMatchObject({ outcome: 'uploaded' })
    expect(await openCache(store).restore({ key: 'site.tar', into: join(memory, 'into') })).toMatchObject({
      outcome: 'restored',
    })
  })
})

describe('caches/readers-see-whole-snapshots: a prune beside a snapshot', () => {
  test('does not remove the old blob that the snapshot has found and is about to point to', async ({ memory }) => {
    const tree = makeTree(join(memory, 'tree'))
    const store = server.store('prune')
    const cache = openCache(store)
    const snapshot = async (text: string) => {
      writeFileSync(join(tree, 'text'), text)
      utimesSync(join(tree, 'text'), 1, 1)
      expect(await cache.snapshot({ key: 'site', from: tree })).toMatchObject({ outcome: 'uploaded' })
    }
    for (const text of ['one', 'two']) await snapshot(text)
    const ours = [...server.objects].filter(([path]) => path.startsWith(`${store.prefix}/`)).map(([, object]) => object)
    for (const object of ours) object.modified = new Date(Date.now() - 7_200_000)
    const line = await heldLine(server.endpoint)
    // The prune has its list, and asks for what it is about to remove.
    const arrived = line.hold(({ method, url }) => method !== 'GET' && url!.includes('/blobs/'))
    const pruning = openCache({ ...store, endpoint: line.url }).prune({ key: 'site', keep: 1 })
    const release = await arrived
    await snapshot('one')
    release()
    expect(await pruning).toEqual({ removed: [], outcome: 'pruned' })
    expect(await cache.restore({ key: 'site', into: join(memory, 'into') })).toMatchObject({ outcome: 'restored' })
    expect(digest(join(memory, 'into'))).toEqual(digest(tree))
    await line.stop()
  })
})

describe('caches/no-lost-update: a restore that timed out', () => {
  test('reports what it read, so that the next snapshot replaces nothing that was published in between', async ({
    memory,
  }) => {
    const { store, tree } = await published(memory)
    server.fault = { when: isBlob, what: 'stall-after-accept' }
    const { outcome, ticket } = await openCache(store).restore({
      key: 'site',
      into: join(memory, 'into'),
      deadlineMs: DEADLINE_MS,
    })
    expect({ outcome, ticket }).toEqual({ outcome: 'timeout', ticket: expect.any(String) })
    server.fault = undefined
    writeFileSync(join(tree, 'theirs'), 'theirs')
    expect(await openCache(store).snapshot({ key: 'site', from: tree })).toMatchObject({ outcome: 'uploaded' })
    writeFileSync(join(tree, 'mine'), 'mine')
    expect(await openCache(store).snapshot({ key: 'site', from: tree, ticket: ticket! })).toMatchObject({
      outcome: 'superseded',
    })
  })
})

describe('least privilege', () => {
  test('a writer that may not delete, and may write below its key only, snapshots under conditions', async ({
    memory,
  }) => {
    const tree = makeTree(join(memory, 'tree'))
    for (const key of ['site/a', 'site/cache.tgz']) {
      const store = server.store(`policy-${key.length}`)
      const allowed = `${store.prefix}/site/`
      server.fault = {
        when: ({ method, path }) => method === 'DELETE' || (method === 'PUT' && !path.startsWith(allowed)),
        what: 'denied',
      }
      expect(await openCache(store).snapshot({ key, from: tree }), key).toMatchObject({
        outcome: 'uploaded',
        guard: 'etag',
      })
    }
  })

  test('the remains of its probes are removed with the key, by a writer that may', async ({ memory }) => {
    const store = server.store('probes')
    const left = (): string[] => [...server.objects.keys()].filter((path) => path.startsWith(store.prefix))
    server.fault = { when: ({ method }) => method === 'DELETE', what: 'denied' }
    await openCache(store).snapshot({ key: 'site', from: makeTree(join(memory, 'tree')) })
    expect(left()).toContainEqual(expect.stringContaining('/.warmswap-probe/'))
    server.fault = undefined
    // A young one may be of a probe that goes on.
    expect(await openCache(store).remove('site')).toEqual({ outcome: 'removed' })
    expect(left()).toHaveLength(1)
    for (const path of left()) server.objects.get(path)!.modified = new Date(Date.now() - 7_200_000)
    expect(await openCache(store).remove('site')).toEqual({ outcome: 'removed' })
    expect(left()).toEqual([])
  })
})

describe('the encryption that a bucket requires is sent', () => {
  test('server-side encryption and its key with each object and each upload in parts', async ({ memory }) => {
    const tree = makeTree(join(memory, 'tree'))
    writeFileSync(join(tree, 'noise'), noise(9 << 20))
    const encryption = { serverSideEncryption: 'aws:kms', kmsKeyId: 'key-1' } as const
    expect(
      await openCache({ ...server.store('encrypted'), ...encryption }).snapshot({ key: 'site', from: tree }),
    ).toMatchObject({ outcome: 'uploaded' })
    const makes = server.requests.filter(
      ({ method, path, query }) =>
        (method === 'PUT' && isPointer({ path })) || (method === 'POST' && query.has('uploads')),
    )
    expect(makes.length).toBeGreaterThanOrEqual(2)
    for (const { headers } of makes)
      expect(headers).toMatchObject({
        'x-amz-server-side-encryption': 'aws:kms',
        'x-amz-server-side-encryption-aws-kms-key-id': 'key-1',
      })
  })
})

describe('archives/all-or-nothing: a connection that is reset', () => {
  test('after any number of bytes, again and again: the target is unchanged, and complete once the connection works', async ({
    memory,
  }) => {
    const { store, before } = await published(memory)
    const into = join(memory, 'into')
    const mine = ownTree(into)
    for (const at of [0, 1, 511, 64 << 10, 1 << 20, (8 << 20) - 1]) {
      server.fault = { when: isBlob, what: 'reset-mid-body', at }
      expect(await openCache(store).restore({ key: 'site', into, mode: 'replace' }), `${at}`).toMatchObject({
        ok: false,
        outcome: 'unavailable',
        stage: 'download',
      })
      expect(digest(into), `${at}`).toEqual(mine)
    }
    server.fault = undefined
    expect(await openCache(store).restore({ key: 'site', into, mode: 'replace' })).toMatchObject({
      outcome: 'restored',
    })
    expect(digest(into)).toEqual(before)
  })
})

describe('caches/deadline-is-absolute: a store in a black hole, where no connection is ever made', () => {
  test('both verbs time out, at the deadline or after idleMs, whichever is first', async ({ memory }) => {
    const hole = await blackHole()
    const tree = makeTree(join(memory, 'tree'))
    const cache = openCache({ ...server.store('hole'), endpoint: hole.url })
    for (const budget of [
      { deadlineMs: DEADLINE_MS, idleMs: 60_000 },
      { deadlineMs: 60_000, idleMs: DEADLINE_MS, attempts: 1 },
    ]) {
      const restored = await timed(() => cache.restore({ key: 'site', into: join(memory, 'into'), ...budget }))
      expect(restored.result).toMatchObject({ outcome: 'timeout', stage: 'lookup' })
      const saved = await timed(() => cache.snapshot({ key: 'site', from: tree, ...budget }))
      expect(saved.result).toMatchObject({ outcome: 'timeout', uploadedBytes: 0 })
      for (const { ms } of [restored, saved]) expect(ms).toBeLessThan(DEADLINE_MS + LATE_MS)
    }
    await hole.stop()
  })
})

describe('caches/idle-is-not-the-deadline: silence and slowness are distinguished from the deadline', () => {
  test('a connection that is silent for idleMs ends the call long before its deadline', async ({ memory }) => {
    const { store } = await published(memory)
    for (const what of ['stall-after-accept', 'stall-after-headers'] as const) {
      server.fault = { when: isBlob, what }
      const { result, ms } = await timed(() =>
        openCache(store).restore({ key: 'site', into: join(memory, 'into'), deadlineMs: 60_000, idleMs: 300 }),
      )
      expect(result).toMatchObject({
        outcome: 'timeout',
        stage: 'download',
        reason: expect.stringContaining('sent no data'),
      })
      expect(ms).toBeLessThan(10_000)
    }
  })

  test('a trickle is ended by minBytesPerSecond', async ({ memory }) => {
    const { store } = await published(memory)
    server.fault = { when: isBlob, what: 'trickle' }
    const { result, ms } = await timed(() =>
      openCache(store).restore({
        key: 'site',
        into: join(memory, 'into'),
        deadlineMs: 60_000,
        idleMs: 3000,
        minBytesPerSecond: 64 * 1024,
      }),
    )
    expect(result).toMatchObject({ outcome: 'timeout', reason: expect.stringContaining('minBytesPerSecond') })
    expect(ms).toBeLessThan(8000)
  })
})

describe('caches/one-version-per-restore, caches/ranges-are-checked: ranges', () => {
  test('every ranged GET is bound to one version', async ({ memory }) => {
    const { store } = await published(memory)
    server.requests.length = 0
    expect(await openCache(store).restore({ key: 'site', into: join(memory, 'into') })).toMatchObject({
      outcome: 'restored',
    })
    const gets = server.requests.filter(({ method, path }) => method === 'GET' && path.includes('/blobs/'))
    expect(gets.length).toBeGreaterThan(2)
    for (const { range, ifMatch } of gets)
      expect({ range, ifMatch }).toEqual({
        range: expect.stringMatching(/^bytes=\d+-\d+$/),
        ifMatch: expect.stringMatching(/^".+"$/),
      })
  })

  test('an object that is replaced after range 2 is never mixed', async ({ memory }) => {
    const { store } = await published(memory)
    let blobs = 0
    server.fault = { when: (request) => isBlob(request) && ++blobs === 3, what: 'swap-object', times: 1 }
    expect(await openCache(store).restore({ key: 'site', into: join(memory, 'into'), concurrency: 1 })).toMatchObject({
      outcome: 'corrupt',
      reason: expect.any(String),
    })
    expect(names(memory)).toEqual(['tree'])
    // And one that is another version each time it is asked for.
    server.fault = { when: isBlob, what: 'swap-object' }
    expect(await openCache(store).restore({ key: 'site', into: join(memory, 'into') })).toMatchObject({
      outcome: 'superseded',
    })
    expect(names(memory)).toEqual(['tree'])
  })
})

describe('caches/calls-never-reject: an abort in the middle of an upload in parts', () => {
  test.for(['site.tar', 'site'])(
    '%s: it ends as aborted, the parts are given up, and strict throws the reason',
    async (key, { memory }) => {
      const tree = makeTree(join(memory, 'tree'))
      writeFileSync(join(tree, 'noise'), noise(20 << 20))
      const store = server.store(`abort-${key}`)
      for (const strict of [false, true]) {
        const controller = new AbortController()
        server.fault = {
          when: ({ query }) => {
            const isSecond = query.get('partNumber') === '2' && query.get('uploadId') !== null
            if (isSecond) controller.abort(new Error('mine'))
            return isSecond
          },
          what: 'stall-after-accept',
        }
        const running = openCache(store).snapshot({ key, from: tree, signal: controller.signal, strict })
        if (strict) await expect(running).rejects.toThrow('mine')
        else expect(await running).toMatchObject({ ok: false, outcome: 'aborted' })
        await expect
          .poll(() => server.requests.filter(({ method }) => method === 'DELETE').length, { timeout: 10_000 })
          .toBeGreaterThan(0)
        server.requests.length = 0
      }
    },
  )
})

describe('archives/no-late-commit: AbortSignal and deadline stop the work', () => {
  test('nothing is removed after a prune and a remove were cancelled', async ({ memory }) => {
    const tree = makeTree(join(memory, 'tree'))
    const store = server.store('called-off')
    const cache = openCache(store)
    for (const text of ['one', 'two', 'three']) {
      writeFileSync(join(tree, 'text'), text)
      expect(await cache.snapshot({ key: 'site', from: tree })).toMatchObject({ outcome: 'uploaded' })
    }
    const blobs = (): string[] =>
      [...server.objects.keys()].filter((path) => path.startsWith(`${store.prefix}/site/blobs/`))
    expect(blobs()).toHaveLength(3)
    for (const verb of ['prune', 'remove'] as const) {
      const line = await heldLine(server.endpoint)
      const [held, controller] = [openCache({ ...store, endpoint: line.url }), new AbortController()]
      const { signal } = controller
      const arrived = line.hold(({ url }) => url!.includes('list-type'))
      const running =
        verb === 'prune'
          ? held.prune({ key: 'site', keep: 1, olderThanMs: 0, signal })
          : held.remove('site', { signal })
      const release = await arrived
      controller.abort()
      expect(await running).toMatchObject({ outcome: 'aborted' })
      release()
      // The list has its answer when another request has gone the same way, and what would follow it is then on its way too.
      for (let round = 0; round < 3; round += 1) await held.inspect('other')
      expect(blobs()).toHaveLength(3)
      await line.stop()
    }
  })

  test('no request is sent, and nothing is left, after the call has settled', async ({ memory }) => {
    const { store } = await published(memory)
    server.bytesPerSecond = 1 << 20
    const controller = new AbortController()
    const into = join(memory, 'into')
    const running = openCache(store).restore({
      key: 'site',
      into,
      signal: controller.signal,
      onProgress: ({ phase }) => phase === 'download' && controller.abort(),
    })
    expect(await running).toMatchObject({ ok: false, outcome: 'aborted' })
    const asked = server.requests.length
    await expect.poll(() => names(memory), { timeout: 5000 }).toEqual(['tree'])
    expect(server.requests.length).toBe(asked)
  })
})
