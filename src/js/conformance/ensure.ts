/** Cases of the records of ensure() and prewarm(), in a folder as the store: docs/protocol/ensure.md. */

import { existsSync, readFileSync, readdirSync, renameSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { type Cache, type EnsureEvent, openCache, type StoreUrl } from '../caches/index.js'
import { prewarm } from '../locks/index.js'
import { type CaseContext, check, numbered, same } from './cases.js'

const KEY = 'app/node_modules'
const FINGERPRINT = 'lock file 1'
const WAIT_MS = 20_000
/** A lease that is not expected to expire. */
const LONG_MS = 30_000
/** A lease that a case waits for. */
const SHORT_MS = 1_500

/** A store with its cache, and what the operations of the program get. */
function setUp(folder: string) {
  const store = join(folder, 'store')
  const cache = openCache(pathToFileURL(store).href as StoreUrl)
  const record = { store, key: KEY, fingerprint: FINGERPRINT }
  return { store, cache, record, lease: { ...record, ttlMs: LONG_MS, waitMs: 0 }, into: join(folder, 'into') }
}

const recordsIn = (store: string): string => join(store, KEY, '.warmswap-ensure')

/** The path of the only record of the key. */
function recordIn(store: string): string {
  const names = readdirSync(recordsIn(store)).filter((name) => name.endsWith('.json'))
  same('the number of records', names.length, 1)
  return join(recordsIn(store), names[0] as string)
}

const read = (store: string): Record<string, unknown> => JSON.parse(readFileSync(recordIn(store), 'utf8'))

/** Replaces the record by something else, as another caller or a damage does. */
function replace(store: string, record: unknown): string {
  const bytes = typeof record === 'string' ? record : JSON.stringify(record)
  const path = recordIn(store)
  writeFileSync(`${path}.new`, bytes)
  renameSync(`${path}.new`, path)
  return bytes
}

/** A build of one file, with a count of its calls. */
function counted(task: () => Promise<void> = async () => {}) {
  const counter = {
    builds: 0,
    async build({ dir }: { dir: string }): Promise<void> {
      counter.builds += 1
      await task()
      writeFileSync(join(dir, 'file'), 'built')
    },
  }
  return counter
}

/** A promise and what settles it. */
function signalled(): { promise: Promise<void>; done(): void } {
  let done = (): void => {}
  const promise = new Promise<void>((resolve) => (done = resolve))
  return { promise, done: () => done() }
}

/** Starts ensure(), and resolves once it waits for the program. */
async function startWaiter(cache: Cache, into: string, options: { deadlineMs?: number } = {}) {
  const waiting = signalled()
  const events: Extract<EnsureEvent, { kind: 'waiting' }>[] = []
  const counter = counted()
  const onEvent = (event: EnsureEvent): void => {
    if (event.kind === 'waiting') events.push(event)
    waiting.done()
  }
  const call = cache.ensure(KEY, { fingerprint: FINGERPRINT, into, build: counter.build, onEvent, ...options })
  const ended = call.then(
    (result) => ({ result }),
    (error: Error) => ({ error }),
  )
  await Promise.race([waiting.promise, ended])
  check(counter.builds === 0, 'ensure() built while the program held the lease')
  return { ended, events, counter }
}

/** A result in the store, as a pointer and as the folder that it was built from. The record is removed. */
async function makeResult(folder: string): Promise<{ pointer: unknown; from: string }> {
  const { store, cache } = setUp(folder)
  const from = join(folder, 'from')
  await cache.ensure(KEY, { fingerprint: FINGERPRINT, into: from, build: counted().build })
  const { pointer } = read(store)
  renameSync(recordsIn(store), join(folder, 'old-records'))
  return { pointer, from }
}

const cases = [
  {
    title: 'a waiter sees the phase of a build of the program, and restores its result',
    needs: ['ensure/acquire', 'ensure/renew', 'ensure/publish'],
    run: async ({ folder, program }: CaseContext) => {
      const result = await makeResult(folder)
      const { cache, lease, into } = setUp(folder)
      const acquired = await program.expect('ensure/acquire', { ...lease, ttlMs: 3_000 })
      await program.expect('ensure/renew', { lease: acquired.lease, phase: 'compiling' })
      const { ended, events } = await startWaiter(cache, into)
      same('the phase', events[0]?.phase, 'compiling')
      check(Number.isInteger(events[0]?.holder.pid), 'the record has no pid')
      await program.expect('ensure/publish', { lease: acquired.lease, ...result })
      same('the role of the waiter', ((await ended) as { result?: { role: string } }).result?.role, 'restored')
      same('the restored file', readFileSync(join(into, 'file'), 'utf8'), 'built')
    },
  },
  {
    title: 'a failed build of the program fails its waiter with its message',
    needs: ['ensure/acquire', 'ensure/fail'],
    run: async ({ folder, program }: CaseContext) => {
      const { cache, lease, into } = setUp(folder)
      const acquired = await program.expect('ensure/acquire', lease)
      const { ended } = await startWaiter(cache, into)
      await program.expect('ensure/fail', { lease: acquired.lease, message: 'there is no compiler' })
      same('the error', ((await ended) as { error?: Error }).error?.message, 'there is no compiler')
      check(!existsSync(into), 'the target was made')
    },
  },
  {
    title: 'a lease that the program gives up is free immediately',
    needs: ['ensure/acquire', 'ensure/fail'],
    run: async ({ folder, program }: CaseContext) => {
      const { cache, lease, into } = setUp(folder)
      const acquired = await program.expect('ensure/acquire', lease)
      await program.expect('ensure/fail', { lease: acquired.lease })
      const { role } = await cache.ensure(KEY, { fingerprint: FINGERPRINT, into, build: counted().build })
      same('the role', role, 'built')
    },
  },
  {
    title: 'the lease of a killed program is taken over',
    needs: ['ensure/acquire'],
    run: async ({ folder, program }: CaseContext) => {
      const { cache, lease, into } = setUp(folder)
      await program.expect('ensure/acquire', { ...lease, ttlMs: SHORT_MS })
      await program.kill()
      const { ended } = await startWaiter(cache, into)
      same('the role', ((await ended) as { result?: { role: string } }).result?.role, 'built')
    },
  },
  {
    title: 'the lease of a program that lives is renewed, and is not taken over',
    needs: ['ensure/acquire'],
    run: async ({ folder, program }: CaseContext) => {
      const { cache, lease, into } = setUp(folder)
      await program.expect('ensure/acquire', { ...lease, ttlMs: SHORT_MS })
      const { ended } = await startWaiter(cache, into, { deadlineMs: 1.5 * SHORT_MS })
      same('the role', ((await ended) as { result?: { role: string } }).result?.role, 'alone')
    },
  },
  {
    title: 'a build of another caller is busy, and an inspection names its process and phase',
    needs: ['ensure/acquire', 'ensure/inspect'],
    run: async ({ folder, program }: CaseContext) => {
      const { cache, lease, record, into } = setUp(folder)
      const [building, over] = [signalled(), signalled()]
      const call = cache.ensure(KEY, {
        fingerprint: FINGERPRINT,
        into,
        ttlMs: SHORT_MS,
        async build({ dir, lock }) {
          lock.progress('compiling')
          building.done()
          await over.promise
          writeFileSync(join(dir, 'file'), 'built')
        },
      })
      await building.promise
      // Longer than the lease: it is renewed.
      await program.refuses('busy', 'ensure/acquire', { ...lease, waitMs: 1.5 * SHORT_MS })
      const found = await program.expect('ensure/inspect', record)
      same('the answer', [found.state, found.pid, found.phase], ['building', process.pid, 'compiling'])
      over.done()
      same('the role', (await call).role, 'built')
    },
  },
  {
    title: 'a silent holder is taken over, and not before 1.25 of its lease',
    needs: ['ensure/acquire'],
    run: async ({ folder, program }: CaseContext) => {
      const { store, cache, lease, into } = setUp(folder)
      await cache.ensure(KEY, { fingerprint: FINGERPRINT, into, build: counted().build })
      const dead = { v: 1, token: 'd'.repeat(32), seq: 1, ttlMs: SHORT_MS, state: 'building' }
      replace(store, dead)
      const started = performance.now()
      await program.expect('ensure/acquire', { ...lease, waitMs: WAIT_MS })
      const waited = performance.now() - started
      check(waited >= 1.25 * SHORT_MS, `it was taken over after ${Math.round(waited)} ms`)
      check(read(store).token !== dead.token, 'the record has the token of the dead holder')
    },
  },
  {
    title: 'a program whose record was replaced has lost its lease, and writes nothing',
    needs: ['ensure/acquire', 'ensure/publish'],
    run: async ({ folder, program }: CaseContext) => {
      const result = await makeResult(folder)
      const { store, lease } = setUp(folder)
      const { lease: number } = await program.expect('ensure/acquire', lease)
      const theirs = replace(store, { v: 1, token: 'e'.repeat(32), seq: 1, ttlMs: LONG_MS, state: 'building' })
      await program.refuses('lost', 'ensure/publish', { lease: number, ...result })
      same('the record', readFileSync(recordIn(store), 'utf8'), theirs)
    },
  },
  {
    title: 'a result is not built again',
    needs: ['ensure/acquire', 'ensure/inspect'],
    run: async ({ folder, program }: CaseContext) => {
      const { store, cache, lease, record, into } = setUp(folder)
      await cache.ensure(KEY, { fingerprint: FINGERPRINT, into, build: counted().build })
      const before = readFileSync(recordIn(store), 'utf8')
      await program.refuses('ready', 'ensure/acquire', lease)
      same('the state', (await program.expect('ensure/inspect', record)).state, 'ready')
      same('the record', readFileSync(recordIn(store), 'utf8'), before)
    },
  },
  {
    title: 'an object that is no record is replaced',
    needs: ['ensure/acquire'],
    run: async ({ folder, program }: CaseContext) => {
      const { store, cache, lease, into } = setUp(folder)
      await cache.ensure(KEY, { fingerprint: FINGERPRINT, into, build: counted().build })
      replace(store, '{"v":1,"state"')
      await program.expect('ensure/acquire', lease)
      same('the state', read(store).state, 'building')
    },
  },
  {
    title: 'a record of a newer version is left as it is',
    needs: ['ensure/acquire'],
    run: async ({ folder, program }: CaseContext) => {
      const { store, cache, lease, into } = setUp(folder)
      await cache.ensure(KEY, { fingerprint: FINGERPRINT, into, build: counted().build })
      const newer = replace(store, { v: 2 })
      await program.refuses('incompatible', 'ensure/acquire', lease)
      same('the record', readFileSync(recordIn(store), 'utf8'), newer)
    },
  },
  {
    title: 'each write of a caller has its token and a higher seq, and every field',
    needs: ['ensure/acquire', 'ensure/renew'],
    run: async ({ folder, program }: CaseContext) => {
      const { store, lease } = setUp(folder)
      const { lease: number } = await program.expect('ensure/acquire', { ...lease, ttlMs: 3_000 })
      const first = read(store)
      await program.expect('ensure/renew', { lease: number, phase: 'linking' })
      const second = read(store)
      same('the token', second.token, first.token)
      check(/^[0-9a-f]{32}$/.test(String(first.token)), `the token is ${first.token}. Expected 32 hex digits`)
      check(Number(second.seq) > Number(first.seq), `seq ${second.seq} follows seq ${first.seq}`)
      const { v, ttlMs, fingerprint, state, phase } = second
      same(
        'the record',
        { v, ttlMs, fingerprint, state, phase },
        {
          v: 1,
          ttlMs: 3_000,
          fingerprint: FINGERPRINT,
          state: 'building',
          phase: 'linking',
        },
      )
      check(!Number.isNaN(Date.parse(String(second.at))), `"at" is ${second.at}. Expected a time`)
    },
  },
  {
    title: 'prewarm() waits for a job of the program, and reuses its result',
    needs: ['ensure/acquire', 'ensure/publish'],
    run: async ({ folder, program }: CaseContext) => {
      const { store } = setUp(folder)
      const made = join(folder, 'made')
      const lease = { store, key: 'site', ttlMs: LONG_MS, waitMs: 0 }
      const acquired = await program.expect('ensure/acquire', lease)
      const waiting = signalled()
      const call = prewarm(
        pathToFileURL(join(store, 'site')).href as StoreUrl,
        { isReady: () => existsSync(made), run: () => Promise.reject(new Error('it ran twice')) },
        { onWait: () => waiting.done() },
      )
      await Promise.race([waiting.promise, call])
      writeFileSync(made, '')
      await program.expect('ensure/publish', { lease: acquired.lease })
      same('the role', (await call).role, 'reused')
      const next = await program.expect('ensure/acquire', lease)
      check(
        Number(next.generation) > Number(acquired.generation),
        `generation ${next.generation} follows ${acquired.generation}`,
      )
    },
  },
]

export const ensure = numbered('ensure', cases)
