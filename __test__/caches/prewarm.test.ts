// prewarm() over a store: one caller runs the job, the others get its result; whatever goes wrong, no two runs count.
import { existsSync, mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, beforeEach, describe, expect } from 'vitest'
import { type PrewarmJob, prewarm, type StoreLock, type StorePrewarmOptions } from 'warmswap'
import { type Child, start } from '../support/children.js'
import { type FaultServer, startFaultServer } from '../support/fault-server.js'
import { repository } from '../support/paths.js'
import { startS3rver } from '../support/s3.js'
import { test } from '../support/temp.js'

type Job = PrewarmJob<string, StoreLock>

/** A promise and what settles it. */
function signalled(): { promise: Promise<void>; done: () => void } {
  let done = (): void => {}
  const promise = new Promise<void>((resolve) => (done = resolve))
  return { promise, done }
}

/** A job whose result is a file. Counts its runs. */
function fileJob(made: string, run?: Job['run']): Job & { runs: number } {
  const job = {
    runs: 0,
    isReady: () => existsSync(made) && readFileSync(made, 'utf8'),
    async run(lock: StoreLock) {
      job.runs += 1
      const value = run === undefined ? 'made' : await run(lock)
      writeFileSync(made, value)
      return value
    },
  }
  return job
}

const storeIn = (folder: string): `file:///${string}` => `file://${join(folder, 'store/site')}` as `file:///${string}`
const recordIn = (folder: string): string => join(folder, 'store/site/.warmswap-ensure/prewarm.json')
const readRecord = (folder: string): Record<string, unknown> => JSON.parse(readFileSync(recordIn(folder), 'utf8'))

describe('in a folder', () => {
  test('fleet/one-run: of six callers one runs the job, and the others get its result', async ({ memory }) => {
    const job = fileJob(join(memory, 'made'))
    const calls = Array.from({ length: 6 }, () => prewarm(storeIn(memory), job, { leaseTtlMs: 3_000 }))
    const results = await Promise.all(calls)
    expect(job.runs).toBe(1)
    expect(results.map(({ role }) => role).sort()).toEqual(['ran', ...Array.from({ length: 5 }, () => 'reused')])
    expect(new Set(results.map(({ value }) => value))).toEqual(new Set(['made']))
    expect(results.every(({ tookOverFrom, waitedMs }) => tookOverFrom === null && waitedMs > 0)).toBe(true)
    const again = await prewarm(storeIn(memory), job)
    expect(again).toEqual({ value: 'made', role: 'reused', waitedMs: 0, tookOverFrom: null })
  })

  test('fleet/one-run: the record of a result is not enough: a job whose result no longer exists runs again', async ({
    memory,
  }) => {
    const made = join(memory, 'made')
    const generations: number[] = []
    const job = fileJob(made, ({ generation }) => `made ${generations.push(generation)}`)
    await prewarm(storeIn(memory), job)
    expect(readRecord(memory)).toMatchObject({ v: 1, state: 'ready', generation: 1, holder: { pid: process.pid } })
    rmSync(made)
    expect(await prewarm(storeIn(memory), job)).toMatchObject({ role: 'ran', value: 'made 2' })
    expect(generations).toEqual([1, 2])
  })

  test('fleet/one-run: a result that another program left after the lease was acquired is reused', async ({
    memory,
  }) => {
    const made = join(memory, 'made')
    let checks = 0
    const job: Job = {
      isReady: () => (checks++ === 0 ? undefined : 'theirs'),
      run: () => Promise.reject(new Error('it is there already')),
    }
    expect(await prewarm(storeIn(memory), job)).toMatchObject({ role: 'reused', value: 'theirs' })
    expect([readRecord(memory).state, existsSync(made)]).toEqual(['ready', false])
  })

  test('fleet/failures-are-shared: a failed run fails its caller with its own error and the waiters with its message', async ({
    memory,
  }) => {
    for (const onFailure of ['share', 'retry'] as const) {
      const made = join(memory, onFailure)
      const [running, waiting] = [signalled(), signalled()]
      const failure = new Error('the compiler failed')
      const first = prewarm(
        storeIn(memory),
        fileJob(made, async () => {
          running.done()
          await waiting.promise
          throw failure
        }),
      )
      const failed = expect(first).rejects.toBe(failure)
      await running.promise
      const job = fileJob(made)
      const second = prewarm(storeIn(memory), job, { onFailure, onWait: () => waiting.done() })
      if (onFailure === 'share') await expect(second).rejects.toThrow('the compiler failed')
      else expect(await second).toMatchObject({ role: 'ran' })
      await failed
      // A caller that comes later runs the job.
      expect(await prewarm(storeIn(memory), job)).toMatchObject({ value: 'made' })
      expect(job.runs).toBe(1)
    }
  })

  test('fleet/lease-names-its-holder: a caller that waits for timeoutMs rejects with the holder; with 0 it tries once', async ({
    memory,
  }) => {
    const [running, over] = [signalled(), signalled()]
    const job = fileJob(join(memory, 'made'), async (lock) => {
      lock.progress('compiling')
      running.done()
      await over.promise
      return 'made'
    })
    const first = prewarm(storeIn(memory), job, { leaseTtlMs: 1_000, metadata: { job: 7 }, timeoutMs: 0 })
    await running.promise
    await expect.poll(() => readRecord(memory).phase).toBe('compiling')
    const facts = {
      pid: process.pid,
      generation: 1,
      metadata: { job: 7 },
      progress: { phase: 'compiling', at: expect.stringMatching(/^\d{4}-.*Z$/) },
    }
    for (const timeoutMs of [0, 30]) {
      const holders: unknown[] = []
      const options: StorePrewarmOptions = { timeoutMs, onWait: ({ holder }) => holders.push(holder) }
      await expect(prewarm(storeIn(memory), job, options)).rejects.toMatchObject({
        code: 'ERR_LOCK_TIMEOUT',
        holder: facts,
        message: expect.stringMatching(
          /^Waited \d+ ms for the lease 'file:\/\/.*\/store\/site', held by pid \d+ .*compiling/,
        ),
      })
      if (timeoutMs > 0) expect(holders).toMatchObject([facts])
    }
    over.done()
    expect(await first).toMatchObject({ role: 'ran' })
  })

  test('fleet/abort-releases: the signal ends a wait with its reason, and does not end a run', async ({ memory }) => {
    const [running, over] = [signalled(), signalled()]
    const mine = new AbortController()
    const job = fileJob(join(memory, 'made'), async ({ signal }) => {
      running.done()
      await over.promise
      expect(signal.aborted).toBe(false)
      return 'made'
    })
    const first = prewarm(storeIn(memory), job, { signal: mine.signal })
    await running.promise
    mine.abort(new Error('too late'))
    const theirs = new AbortController()
    const reason = new Error('the pod is stopped')
    const options = { signal: theirs.signal, onWait: () => theirs.abort(reason) }
    await expect(prewarm(storeIn(memory), job, options)).rejects.toBe(reason)
    await expect(prewarm(storeIn(memory), job, { signal: theirs.signal })).rejects.toBe(reason)
    over.done()
    expect(await first).toMatchObject({ role: 'ran', value: 'made' })
  })

  test('fleet/abort-releases: a check that throws gives up the lease: the next caller does not wait for it', async ({
    memory,
  }) => {
    const failure = new Error('the registry does not answer')
    let checks = 0
    const job: Job = {
      isReady() {
        if (checks++ > 0) throw failure
        return undefined
      },
      run: () => 'never',
    }
    await expect(prewarm(storeIn(memory), job)).rejects.toBe(failure)
    expect(readRecord(memory)).toMatchObject({ state: 'failed' })
    expect(readRecord(memory)).not.toHaveProperty('failure')
    // The lease is 30 s: without the release this would wait.
    expect(await prewarm(storeIn(memory), fileJob(join(memory, 'made')))).toMatchObject({ role: 'ran' })
  })

  test('fleet/abort-releases: the signal ends a check that hangs, before the lease and for a waiter', async ({
    memory,
  }) => {
    const reason = new Error('the pod is stopped')
    for (const place of [storeIn(memory), join(memory, 'lock')]) {
      const mine = new AbortController()
      const isReady = (): Promise<undefined> => {
        mine.abort(reason)
        return new Promise(() => {})
      }
      await expect(prewarm(place as 's3://a/b', { isReady, run: () => 'never' }, { signal: mine.signal })).rejects.toBe(
        reason,
      )
    }
    await prewarm(storeIn(memory), fileJob(join(memory, 'made')))
    // The record says that the job was run, so that this caller checks again.
    const theirs = new AbortController()
    let checks = 0
    const hangs: Job = {
      isReady() {
        if (checks++ === 0) return undefined
        theirs.abort(reason)
        return new Promise(() => {})
      },
      run: () => 'never',
    }
    await expect(prewarm(storeIn(memory), hangs, { signal: theirs.signal })).rejects.toBe(reason)
    expect([checks, readRecord(memory).state]).toEqual([2, 'ready'])
  })

  test('fleet/lock-ends-with-its-build: the lock of a run that has ended is not held', async ({ memory }) => {
    const locks: StoreLock[] = []
    const job = fileJob(join(memory, 'made'), (lock) => {
      lock.assertHeld()
      locks.push(lock)
      return 'made'
    })
    await prewarm(storeIn(memory), job)
    expect(() => locks[0]?.assertHeld()).toThrow(expect.objectContaining({ code: 'ERR_LOCK_LOST' }))
  })

  test('fleet/one-run: a run that leaves no result is ERR_NOT_READY', async ({ memory }) => {
    const job: Job = { isReady: () => false, run: () => 'claimed' }
    await expect(prewarm(storeIn(memory), job)).rejects.toMatchObject({ code: 'ERR_NOT_READY' })
  })

  test('fleet/foreign-records: a damaged record is replaced; one of a newer version is left as it is', async ({
    memory,
  }) => {
    mkdirSync(join(memory, 'store/site/.warmswap-ensure'), { recursive: true })
    writeFileSync(recordIn(memory), '{"v":1,"state"')
    const made = join(memory, 'made')
    expect(await prewarm(storeIn(memory), fileJob(made))).toMatchObject({ role: 'ran' })
    rmSync(made)
    writeFileSync(recordIn(memory), '{"v":2}')
    await expect(prewarm(storeIn(memory), fileJob(made))).rejects.toMatchObject({
      code: 'ERR_UNSUPPORTED',
      message: expect.stringContaining('format 2'),
    })
    expect([readFileSync(recordIn(memory), 'utf8'), existsSync(made)]).toEqual(['{"v":2}', false])
  })

  test('fleet/wrong-arguments: wrong stores, keys and options are refused', async ({ memory }) => {
    const job = fileJob(join(memory, 'made'))
    const wrong: [unknown, unknown, unknown?][] = [
      ['s3://bucket', job],
      ['s3://bucket/', job],
      ['s3://bucket/a b', job],
      ['s3://bucket/prefix/site.tgz', job],
      ['s3://key:secret@bucket/prefix/site', job],
      ['s3://bucket/prefix/site?color=red', job],
      ['redis://host/site', job],
      ['file:store/site', job],
      [{ scheme: 's3', bucket: 'bucket' }, job],
      [{ scheme: 'ftp', path: '/a/b' }, job],
      [undefined, job],
      [storeIn(memory), { isReady: () => true }],
      [storeIn(memory), job, { mode: 'kernel' }],
      [storeIn(memory), job, { coverChildren: true }],
      [storeIn(memory), job, { foreignStaleMs: 1 }],
      [storeIn(memory), job, { leaseTtlMs: 100 }],
      [storeIn(memory), job, { onFailure: 'ignore' }],
      [storeIn(memory), job, { metadata: { text: 'x'.repeat(5_000) } }],
    ]
    for (const [store, wrongJob, options] of wrong)
      await expect(
        prewarm(store as 's3://a/b', wrongJob as Job, options as StorePrewarmOptions),
        JSON.stringify([store, options])?.slice(0, 80),
      ).rejects.toMatchObject({ code: 'ERR_INVALID_ARGUMENT' })
    expect([job.runs, readdirSync(memory)]).toEqual([0, []])
  })
})

describe('in a bucket', () => {
  let server: FaultServer
  beforeAll(async () => {
    server = await startFaultServer()
  })
  afterAll(() => server.stop())
  beforeEach(() => {
    server.fault = undefined
    server.objects.clear()
    server.requests.length = 0
  })

  const isRecord = ({ path }: { path: string }): boolean => path.endsWith('/site/.warmswap-ensure/prewarm.json')
  const store = () => server.store('p/site')

  const faults = ['lose-answer', 'double', 'conflict', 'precondition', 'slow-down', 'reset'] as const
  for (const what of faults) {
    test(`fleet/lost-answers: ${what} of a write of the lease is survived`, async ({ memory }) => {
      for (const nth of [1, 2]) {
        let seen = 0
        server.objects.clear()
        server.fault = {
          what,
          when: (request) => isRecord(request) && request.method === 'PUT' && ++seen === nth,
          times: 1,
        }
        const job = fileJob(join(memory, `made-${nth}`))
        const { role } = await prewarm(store(), job)
        expect([role, job.runs, server.fault.times]).toEqual(['ran', 1, 0])
      }
    })
  }

  test('fleet/lost-answers: a run whose record is deleted does not count: its caller looks again', async () => {
    let runs = 0
    const job: Job = {
      isReady: () => runs > 0 && 'first',
      run() {
        runs += 1
        for (const path of server.objects.keys()) if (isRecord({ path })) server.objects.delete(path)
        return 'first'
      },
    }
    // The second round finds the result of the first, under a lease that holds.
    expect(await prewarm(store(), job)).toMatchObject({ role: 'reused', value: 'first' })
    const records = [...server.objects].filter(([path]) => isRecord({ path }))
    expect(records.map(([, { bytes }]) => JSON.parse(bytes.toString()).state)).toEqual(['ready'])
  })

  test('fleet/build-stops-in-time: a run that cannot renew its lease is stopped, and runs again once the store answers', async ({
    memory,
  }) => {
    const events: string[] = []
    const job = fileJob(join(memory, 'made'), async (lock) => {
      events.push(`run ${lock.generation}`)
      if (lock.generation > 1) return 'second'
      server.fault = { what: 'slow-down', when: isRecord }
      await new Promise((resolve) => lock.signal.addEventListener('abort', resolve))
      events.push('lost')
      expect(lock.assertHeld).toThrow(expect.objectContaining({ code: 'ERR_LOCK_LOST' }))
      server.fault = undefined
      throw lock.signal.reason
    })
    const result = await prewarm(store(), job, { leaseTtlMs: 1_000 })
    expect([result.role, result.value, events]).toEqual(['ran', 'second', ['run 1', 'lost', 'run 2']])
  })

  test('fleet/lost-answers: a store that refuses writes, and one that fails for longer than patience, are named errors', async ({
    memory,
  }) => {
    const job = fileJob(join(memory, 'made'))
    server.fault = { what: 'denied', when: ({ method }) => method === 'PUT' }
    const denied = { code: 'ERR_IO', outcome: 'denied', message: expect.stringContaining('403') }
    await expect(prewarm(store(), job)).rejects.toMatchObject(denied)
    server.fault = { what: 'slow-down', when: isRecord }
    const failing = { outcome: 'unavailable', message: expect.stringContaining('503') }
    await expect(prewarm(store(), job, { leaseTtlMs: 1_000 })).rejects.toMatchObject(failing)
    expect(job.runs).toBe(0)
  })

  test('fleet/unsupported-stores: a store that ignores conditions is ERR_UNSUPPORTED, with the way out, and nothing runs', async ({
    memory,
  }) => {
    const s3rver = await startS3rver()
    const job = fileJob(join(memory, 'made'))
    const refused = { code: 'ERR_UNSUPPORTED', message: expect.stringMatching(/conditional writes.* path of a lock/) }
    await expect(prewarm(s3rver.store('p/site') as never, job)).rejects.toMatchObject(refused)
    expect(job.runs).toBe(0)
    await s3rver.stop()
  })
})

describe('in processes', () => {
  const program = join(repository, '__test__/programs/caches-prewarm.mjs')
  const TTL_MS = 1_500

  async function startCallers(count: number): Promise<Child[]> {
    const children = Array.from({ length: count }, () => start(process.execPath, [program]))
    await Promise.all(children.map((child) => child.line(/^ready$/)))
    return children
  }

  test('fleet/killed-builders: a killed run is taken over by one waiter, which sees whom it follows', async ({
    memory,
  }) => {
    const [victim, ...others] = (await startCallers(3)) as [Child, Child, Child]
    const call = { store: storeIn(memory), made: join(memory, 'made'), ttlMs: TTL_MS }
    victim.say(JSON.stringify({ ...call, runMs: 60_000 }))
    await victim.line(/^running 1$/)
    for (const child of others) child.say(JSON.stringify({ ...call, runMs: 10 }))
    await Promise.all(others.map((child) => child.line(new RegExp(`^waiting ${victim.pid} `))))
    victim.signal('SIGKILL')
    const ends = await Promise.all(others.map((child) => child.line(/^(end|failed) /)))
    const winner = others.find((child) => child.lines.includes('running 2'))
    expect(ends.sort(), others.map(({ lines }) => lines.join('\n')).join('\n---\n')).toEqual([
      `end ran ${winner?.pid} ${victim.pid}`,
      `end reused ${winner?.pid} -`,
    ])
  })

  test('fleet/build-stops-in-time: a run that was stopped for longer than its lease does not count', async ({
    memory,
  }) => {
    const [stopped, other] = (await startCallers(2)) as [Child, Child]
    const call = { store: storeIn(memory), made: join(memory, 'made'), ttlMs: TTL_MS }
    stopped.say(JSON.stringify({ ...call, runMs: 60_000 }))
    await stopped.line(/^running 1$/)
    other.say(JSON.stringify({ ...call, runMs: 10 }))
    await other.line(/^waiting /)
    stopped.signal('SIGSTOP')
    await other.line(/^end ran /)
    stopped.signal('SIGCONT')
    await stopped.line(/^aborted$/)
    expect(await stopped.line(/^(end|failed) /)).toBe(`end reused ${other.pid} -`)
  })
})
