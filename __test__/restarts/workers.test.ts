/** Reboots, queue, draining; workers that misbehave. Threads and processes alike. */

// guarantee: restarts/old-worker-drains

import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { describe, expect } from 'vitest'
import { startProcess, startWorkerThread, type WorkerHandle } from 'warmswap'
import { test as raceTest } from 'warmswap/vitest'
import { isAlive } from '../support/alive.js'
import { child, publishWorker, test, thread } from '../support/coordinators.js'
import { repository } from '../support/paths.js'

const echo = 'return { version, incarnation, request }'

describe.each([
  ['threads', thread],
  ['processes', child],
] as const)('workers that are %s', (_name, start) => {
  test('dispatch starts a worker, and its answers arrive', async ({ store, open }) => {
    await publishWorker(store, 'one', echo)
    const coordinator = open(start)
    expect(coordinator.status()).toEqual({ state: 'idle', incarnation: 0, generation: null, waiting: 0 })
    const answers = await Promise.all(
      [1, 2, 3].map((request) => coordinator.dispatch({ request, bytes: new Map([[1, 2]]) })),
    )
    expect(answers.map(({ version, incarnation }) => [version, incarnation])).toEqual([
      ['one', 1],
      ['one', 1],
      ['one', 1],
    ])
    expect(answers[0].request.bytes.get(1)).toBe(2)
    expect(coordinator.status()).toMatchObject({ state: 'ready', incarnation: 1, generation: 1 })
  })

  test('an error of the handler reaches the caller with its code, and the worker keeps running', async ({
    store,
    open,
  }) => {
    await publishWorker(
      store,
      'one',
      "if (request === 'fail') throw Object.assign(new TypeError('on purpose'), { code: 'ERR_MINE' }); if (request === 'odd') return () => {}; return request",
    )
    const coordinator = open(start)
    await expect(coordinator.dispatch('fail')).rejects.toMatchObject({
      name: 'TypeError',
      message: 'on purpose',
      code: 'ERR_MINE',
    })
    await expect(coordinator.dispatch('odd')).rejects.toThrow(/could not be cloned/)
    await expect(coordinator.dispatch(() => {})).rejects.toThrow(/could not be cloned/)
    expect(await coordinator.dispatch('fine')).toBe('fine')
  })

  test('restarts/one-start-per-incarnation: many who saw the same failure cause one start; one who saw an older one causes none', async ({
    store,
    open,
  }) => {
    await publishWorker(store, 'one', echo)
    let starts = 0
    const coordinator = open((context) => {
      starts += 1
      return start(context)
    })
    const reboot = (observed: number | null) => coordinator.reboot({ observed, reason: 'test' })
    const first = await Promise.all([reboot(null), reboot(null), reboot(null)])
    expect(first.map(({ outcome }) => outcome)).toEqual(['started', 'joined', 'joined'])
    const second = await Promise.all([reboot(1), reboot(1), reboot(1), reboot(1)])
    expect(second.map(({ outcome }) => outcome)).toEqual(['started', 'joined', 'joined', 'joined'])
    expect(await reboot(1)).toEqual({ incarnation: 2, outcome: 'already' })
    expect(starts).toBe(2)
    await expect(reboot(7)).rejects.toThrow(/request\.observed/)
  })

  test('a reboot that joins a start on an older generation is followed by one more start', async ({ store, open }) => {
    await publishWorker(store, 'one', echo)
    const coordinator = open(start)
    const early = coordinator.reboot({ observed: null, reason: 'first' })
    await publishWorker(store, 'two', echo)
    const late = await Promise.all([1, 2, 3].map(() => coordinator.reboot({ observed: null, reason: 'changed' })))
    expect((await early).incarnation).toBe(1)
    expect(late.map(({ incarnation }) => incarnation)).toEqual([2, 2, 2])
    expect(await coordinator.dispatch('x')).toMatchObject({ version: 'two', incarnation: 2 })
  })

  test('build, swap, start, then drain: the old worker finishes its requests, and no request waits for a stopped one', async ({
    store,
    open,
    disk,
  }) => {
    const gate = join(disk, 'gate')
    await publishWorker(
      store,
      'one',
      'while (request.until && !existsSync(request.until)) await new Promise((resolve) => setTimeout(resolve, 5)); return { version, incarnation }',
      "import { existsSync } from 'node:fs'",
    )
    const coordinator = open(start, { drainMs: 5_000 })
    const long = coordinator.dispatch({ until: gate })
    await coordinator.dispatch({})
    await publishWorker(store, 'two', echo)
    const during: string[] = []
    let rebooting = true
    const reboot = coordinator.reboot({ observed: 1, reason: 'changed' }).finally(() => (rebooting = false))
    while (rebooting) during.push((await coordinator.dispatch({})).version)
    await reboot
    expect(during, 'the old worker answers while the new one starts').toContain('one')
    expect(await coordinator.dispatch({})).toMatchObject({ version: 'two' })
    expect(coordinator.status().state).toBe('draining')
    writeFileSync(gate, '')
    expect(await long).toEqual({ version: 'one', incarnation: 1 })
    await expect.poll(() => coordinator.status().state).toBe('ready')
  })

  test('a request that outlasts the drain deadline ends with a named error, and its worker has ended', async ({
    store,
    open,
  }) => {
    await publishWorker(store, 'one', 'if (request === "never") await new Promise(() => {}); return version')
    const coordinator = open(start, { drainMs: 50 })
    const stuck = coordinator.dispatch('never')
    stuck.catch(() => {})
    await coordinator.dispatch('x')
    await coordinator.reboot({ observed: 1, reason: 'test' })
    await expect(stuck).rejects.toMatchObject({ code: 'ERR_WORKER_EXITED', retryable: true })
    await expect.poll(() => coordinator.status().state).toBe('ready')
  })

  test('restarts/one-start-per-incarnation: a worker that dies between the request and its reaping: the next incarnation answers, once', async ({
    store,
    open,
    disk,
  }) => {
    const log = join(disk, 'log')
    writeFileSync(log, '')
    await publishWorker(
      store,
      'one',
      `appendFileSync(${JSON.stringify(log)}, incarnation + ' ' + request + '\\n'); if (request === 'leave') process.exit(0); return incarnation`,
    )
    const coordinator = open(start)
    await coordinator.dispatch('warm')
    // The worker ends while these are on their way: the coordinator gets no notice before its end.
    const leaving = coordinator.dispatch('leave')
    const parked = [1, 2, 3].map((number) =>
      coordinator.dispatch(`parked ${number}`, { replay: 'idempotent', timeoutMs: 8_000 }),
    )
    await expect(leaving).rejects.toMatchObject({ code: 'ERR_WORKER_EXITED' })
    expect(new Set(await Promise.all(parked))).toEqual(new Set([2]))
    const answeredBySecond = readFileSync(log, 'utf8')
      .split('\n')
      .filter((line) => line.startsWith('2 parked'))
    expect(answeredBySecond).toHaveLength(3)
  })

  test('a worker that exits or throws during its start, or never becomes ready, is a named error', async ({
    store,
    open,
  }) => {
    await publishWorker(store, 'exits', echo, 'process.exit(3)')
    const coordinator = open(start)
    await expect(coordinator.dispatch('x')).rejects.toMatchObject({
      code: 'ERR_WORKER_EXITED',
      message: expect.stringContaining('exit code 3'),
    })
    expect(coordinator.status()).toMatchObject({ state: 'failed', lastError: { code: 'ERR_WORKER_EXITED' } })

    await publishWorker(store, 'silent', echo, 'setInterval(() => {}, 1000); await new Promise(() => {})')
    const impatient = open((context) =>
      (start === thread ? startWorkerThread : startProcess)(context, 'worker.mjs', { readyTimeoutMs: 300 }),
    )
    await expect(impatient.reboot({ observed: null, reason: 'test' })).rejects.toMatchObject({ code: 'ERR_NOT_READY' })

    await publishWorker(store, 'good', echo)
    expect(await coordinator.dispatch('x')).toMatchObject({ version: 'good' })
    expect(coordinator.status().lastError).toBeUndefined()
  })

  test('a failed start leaves the old worker serving', async ({ store, open }) => {
    await publishWorker(store, 'good', echo)
    const coordinator = open(start)
    await coordinator.dispatch('x')
    await publishWorker(store, 'bad', echo, "throw new Error('bad on purpose')")
    await expect(coordinator.reboot({ observed: 1, reason: 'changed' })).rejects.toMatchObject({
      code: 'ERR_WORKER_EXITED',
    })
    expect(await coordinator.dispatch('x')).toMatchObject({ version: 'good', incarnation: 1 })
    expect(coordinator.status().lastError).toBeDefined()
  })

  test('a worker that ignores stop is killed at the deadline', async ({ store, open, disk }) => {
    const deaf = join(disk, 'deaf')
    await publishWorker(
      store,
      'deaf',
      `if (request === 'deafen') setImmediate(() => { appendFileSync(${JSON.stringify(deaf)}, ''); for (;;); }); return version`,
    )
    const coordinator = open(start, { drainMs: 10 })
    await coordinator.dispatch('deafen')
    await expect.poll(() => existsSync(deaf)).toBe(true)
    const began = performance.now()
    await coordinator[Symbol.asyncDispose]()
    expect(performance.now() - began).toBeLessThan(10_000)
    await expect(coordinator.dispatch('x')).rejects.toMatchObject({ code: 'ERR_CLOSED' })
  })

  test('the worker of a cancelled request is notified; its late answer is not a protocol error', async ({
    store,
    open,
  }) => {
    await publishWorker(
      store,
      'one',
      "if (request === 'facts') return calledOff; await new Promise((resolve) => signal.addEventListener('abort', resolve)); calledOff += 1; return 'late'",
      'let calledOff = 0',
    )
    const coordinator = open(start)
    const warnings: unknown[] = []
    const note = (warning: Error): void => void warnings.push(warning)
    process.on('warning', note)
    expect(await coordinator.dispatch('facts')).toBe(0)
    const caller = new AbortController()
    const [late, aborted] = [
      coordinator.dispatch('x', { timeoutMs: 50 }),
      coordinator.dispatch('x', { signal: caller.signal }),
    ]
    await expect(late).rejects.toMatchObject({ code: 'ERR_TIMEOUT' })
    caller.abort(new Error('called off'))
    await expect(aborted).rejects.toThrow('called off')
    await expect.poll(() => coordinator.dispatch('facts')).toBe(2)
    process.off('warning', note)
    expect(warnings).toEqual([])
  })
})

describe('processes', () => {
  test('bundles/working-directory-stays: the working directory is the generation, kept until the process ends', async ({
    store,
    open,
  }) => {
    await publishWorker(store, 'one', 'return { cwd: process.cwd(), pid: process.pid }')
    const coordinator = open(child)
    const { cwd } = await coordinator.dispatch('where')
    expect(cwd).toBe(store.current()?.path)
    for (let count = 0; count < 3; count += 1) await publishWorker(store, `later ${count}`, echo)
    await store.collect()
    expect(existsSync(join(cwd, 'worker.mjs'))).toBe(true)
    expect((await coordinator.dispatch('where')).cwd).toBe(cwd)
  })

  test('the child processes of a killed process are killed too', async ({ store, open }) => {
    await publishWorker(
      store,
      'one',
      "const { spawn } = await import('node:child_process'); const grandchild = spawn('sleep', ['600'], { stdio: 'ignore' }); return { pid: process.pid, grandchild: grandchild.pid }",
    )
    const coordinator = open(child)
    const { pid, grandchild } = await coordinator.dispatch('spawn')
    process.kill(pid, 'SIGKILL')
    await expect.poll(() => isAlive(grandchild)).toBe(false)
  })
})

/** A process of its own that starts a worker process whose program is `body`. */
const host = (root: string, body: string): string => `
  import { openBundles, openCoordinator, startProcess } from ${JSON.stringify(pathToFileURL(join(repository, 'dist/index.js')).href)}
  const store = await openBundles(${JSON.stringify(root)})
  const stage = await store.stage()
  await stage.write('worker.mjs', ${JSON.stringify(body)})
  await stage.publish()
  const coordinator = openCoordinator(store, { start: (context) => startProcess(context, 'worker.mjs') })
  await coordinator.reboot({ observed: null, reason: 'test' })`

describe('a host that is killed', () => {
  for (const [when, last] of [
    [
      'after its worker is ready',
      `import(${JSON.stringify(pathToFileURL(join(repository, 'dist/worker.js')).href)}).then(({ serveRequests }) => serveRequests(() => 1))`,
    ],
    ['while its worker starts and is not ready', 'setInterval(() => {}, 1000)'],
  ] as const) {
    raceTest(`${when}: neither the worker nor what it started is left`, async ({ race, tempRoot }) => {
      const body = `import { spawn } from 'node:child_process'
        const { pid } = spawn('sleep', ['600'], { stdio: 'ignore' })
        ${last}
        console.log(JSON.stringify({ pids: [process.pid, pid], options: process.env.NODE_OPTIONS }))`
      writeFileSync(join(tempRoot, 'host.mjs'), host(join(tempRoot, 'store'), body))
      const owner = await race.start({
        command: [process.execPath, join(tempRoot, 'host.mjs')],
        ready: { line: /^\{/ },
      })
      const { pids, options } = JSON.parse(owner.output.stdout) as { pids: number[]; options?: string }
      expect(pids.filter(isAlive)).toEqual(pids)
      expect(options, 'the guard is not handed on to what it starts').toBe(process.env.NODE_OPTIONS)
      // The host alone: its worker leads a group of its own.
      process.kill(owner.pid, 'SIGKILL')
      await expect.poll(() => race, { timeout: 10_000 }).toLeakNothing()
      // One that is being taken apart has no environment any more, by which the race knows its own, and is still there.
      await expect.poll(() => pids.filter(isAlive), { timeout: 10_000 }).toEqual([])
    })
  }
})

describe('the queue', () => {
  test('over its limit, late, cancelled: named errors; the others are answered', async ({ store, open }) => {
    await publishWorker(store, 'one', echo)
    let release = (): void => {}
    const gate = new Promise<void>((resolve) => (release = resolve))
    const coordinator = open(
      async (context) => {
        await gate
        return thread(context)
      },
      { queueLimit: 3 },
    )
    const caller = new AbortController()
    const kept = coordinator.dispatch('kept')
    const late = coordinator.dispatch('late', { timeoutMs: 20 })
    const aborted = coordinator.dispatch('aborted', { signal: caller.signal })
    await expect(coordinator.dispatch('too many')).rejects.toMatchObject({ code: 'ERR_QUEUE_FULL', retryable: true })
    expect(coordinator.status()).toMatchObject({ state: 'starting', waiting: 3 })
    caller.abort(new Error('called off'))
    await expect(aborted).rejects.toThrow('called off')
    await expect(late).rejects.toMatchObject({ code: 'ERR_TIMEOUT' })
    release()
    expect(await kept).toMatchObject({ request: 'kept' })
  })

  test('nothing published: dispatch() reports it', async ({ open }) => {
    await expect(open(thread).dispatch('x')).rejects.toMatchObject({ code: 'ERR_NO_GENERATION' })
  })

  test('a start that never settles is bounded, and a worker that becomes ready late is stopped', async ({
    store,
    open,
  }) => {
    await publishWorker(store, 'one', echo)
    let stopped = false
    const turnUp: { late?: (handle: WorkerHandle) => void } = {}
    const coordinator = open(() => new Promise((resolve) => (turnUp.late = resolve)), { startTimeoutMs: 50 })
    await expect(coordinator.dispatch('x')).rejects.toMatchObject({ code: 'ERR_NOT_READY' })
    turnUp.late?.({
      send: () => Promise.resolve(1),
      exited: Promise.resolve(),
      async stop() {
        stopped = true
      },
    })
    await expect.poll(() => stopped).toBe(true)
  })

  test('restarts/own-handles-have-begun, restarts/delivery-is-at-most-once: a request that a handle of your own received is not sent again', async ({
    store,
    open,
  }) => {
    await publishWorker(store, 'one', echo)
    let sends = 0
    let leave = (): void => {}
    const coordinator = open(async () => {
      const exited = new Promise<void>((resolve) => (leave = resolve))
      // It never looks at the request.
      return { exited, send: () => new Promise(() => void sends++), stop: async () => leave() }
    })
    const answer = coordinator.dispatch('once')
    answer.catch(() => {})
    await expect.poll(() => sends).toBe(1)
    leave()
    await expect(answer).rejects.toMatchObject({ code: 'ERR_WORKER_EXITED' })
    expect(sends).toBe(1)
  })

  test('restarts/no-request-lost-or-answered-twice: an answer of an incarnation that lost the request is refused', async ({
    store,
    open,
  }) => {
    await publishWorker(store, 'one', echo)
    const sent: { incarnation: number; answer: (value: string) => void; leave: () => void }[] = []
    const coordinator = open(async ({ incarnation }) => {
      let leave = (): void => {}
      const exited = new Promise<void>((resolve) => (leave = resolve))
      return {
        exited,
        send: () => new Promise((resolve) => sent.push({ incarnation, answer: resolve, leave })),
        stop: async () => leave(),
      }
    })
    const answer = coordinator.dispatch('once', { replay: 'idempotent' })
    await expect.poll(() => sent.length).toBe(1)
    sent[0]?.leave()
    await expect.poll(() => sent.length).toBe(2)
    sent[0]?.answer('of the dead')
    await new Promise(setImmediate)
    sent[1]?.answer('of the living')
    expect(await answer).toBe('of the living')
  })

  test('a worker whose end is never reported: its requests continue after its last deadline, and its generation is released', async ({
    store,
    open,
  }) => {
    await publishWorker(store, 'one', echo)
    let sends = 0
    const coordinator = open(
      async ({ incarnation }) => ({
        exited: incarnation === 1 ? new Promise(() => {}) : Promise.resolve(),
        send: () => (++sends === 1 ? new Promise(() => {}) : Promise.resolve(incarnation)),
        stop: () => (incarnation === 1 ? new Promise(() => {}) : Promise.resolve()),
      }),
      { drainMs: 1 },
    )
    const answer = coordinator.dispatch('x', { replay: 'idempotent', timeoutMs: 50_000 })
    await expect.poll(() => sends).toBe(1)
    await publishWorker(store, 'two', echo)
    await coordinator.reboot({ observed: 1, reason: 'test' })
    expect(await answer).toBeGreaterThan(1)
    expect(coordinator.status().lastError).toMatchObject({
      code: 'ERR_TIMEOUT',
      message: expect.stringContaining('worker 1 was not gone'),
    })
  })
})
