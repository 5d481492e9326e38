/** Answers in parts: streams over real threads and processes, through restarts, cuts and kills. */

// guarantee: restarts/streams-are-bounded, restarts/old-worker-drains

import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect } from 'vitest'
import { child, publishWorker, test, thread } from '../support/coordinators.js'

type Numbers = ReadableStream<number>

/** What the host asks for ahead of the consumer (src/js/restarts/incoming.ts). */
const WINDOW = 16

/** Endless numbers; `produced` counts them and `ended` says how the source was stopped. */
const source = `
  if (request === 'facts') return { version, incarnation, produced, ended, pid: process.pid }
  return (async function* () {
    signal.addEventListener('abort', () => ended.push('signal'))
    try {
      for (produced = 0; produced < (request.count ?? Infinity); ) {
        produced += 1
        yield produced
        if (produced === request.silentAfter) await new Promise(() => {})
        if (produced === request.dieAfter) { if (isMainThread) process.kill(process.pid, 'SIGKILL'); else process.exit(7) }
        if (produced === request.failAfter) throw Object.assign(new RangeError('on purpose'), { code: 'ERR_MINE' })
      }
    } finally {
      ended.push('return')
    }
  })()`
const counters = 'let produced = 0; const ended = []'

async function collect<T>(stream: ReadableStream<T>): Promise<{ parts: T[]; error?: unknown }> {
  const parts: T[] = []
  try {
    for await (const part of stream) parts.push(part)
    return { parts }
  } catch (error) {
    return { parts, error }
  }
}

const upTo = (count: number): number[] => Array.from({ length: count }, (_, index) => index + 1)

describe.each([
  ['threads', thread],
  ['processes', child],
] as const)('workers that are %s', (_name, start) => {
  test('an async generator, a ReadableStream and a stream of Node arrive as a ReadableStream, in order', async ({
    store,
    open,
    disk,
  }) => {
    const file = join(disk, 'file')
    writeFileSync(file, 'x'.repeat(200_000))
    await publishWorker(
      store,
      'one',
      `if (request === 'web') return new ReadableStream({ start(c) { for (const each of [new Map([[1, 2]]), new Uint8Array([3])]) c.enqueue(each); c.close() } })
       if (request === 'node') return (await import('node:fs')).createReadStream(${JSON.stringify(file)})
       return (async function* () { for (let each = 1; each <= 100; each += 1) yield each })()`,
    )
    const coordinator = open(start)
    const answer = await coordinator.dispatch('generator')
    expect(answer).toBeInstanceOf(ReadableStream)
    expect(await collect(answer)).toEqual({ parts: upTo(100) })
    const [map, bytes] = (await collect<unknown>(await coordinator.dispatch('web'))).parts as [
      Map<number, number>,
      Uint8Array,
    ]
    expect([map.get(1), bytes]).toEqual([2, new Uint8Array([3])])
    expect(await new Response(await coordinator.dispatch('node')).text()).toBe('x'.repeat(200_000))
  })

  test('back-pressure: the source is never more than the window ahead of the consumer', async ({ store, open }) => {
    await publishWorker(store, 'one', source, counters)
    const coordinator = open(start)
    const reader = ((await coordinator.dispatch({})) as Numbers).getReader()
    for (let read = 1; read <= 100; read += 1) {
      expect((await reader.read()).value).toBe(read)
      const { produced } = await coordinator.dispatch('facts')
      expect(produced, `after ${read} were read`).toBeLessThanOrEqual(read + WINDOW)
    }
    await reader.cancel()
  })

  for (const how of ['cancel', 'abort'] as const) {
    for (const silentAfter of [undefined, 3]) {
      test(`${how} in the middle${silentAfter ? ' of silence' : ''} stops the source, and the worker is free`, async ({
        store,
        open,
      }) => {
        await publishWorker(store, 'one', source, counters)
        const coordinator = open(start, { drainMs: 60_000 })
        const caller = new AbortController()
        const reader = ((await coordinator.dispatch({ silentAfter }, { signal: caller.signal })) as Numbers).getReader()
        for (const part of upTo(3)) expect((await reader.read()).value).toBe(part)
        const rest = silentAfter ? reader.read() : undefined
        if (how === 'cancel') await reader.cancel('enough')
        else caller.abort(new Error('called off'))
        if (how === 'cancel') expect(await (rest ?? reader.read())).toEqual({ done: true, value: undefined })
        else await expect(rest ?? reader.read()).rejects.toThrow('called off')
        // A generator that is silent cannot be returned from; its signal notifies it.
        await expect
          .poll(async () => (await coordinator.dispatch('facts')).ended)
          .toEqual(silentAfter ? ['signal'] : expect.arrayContaining(['signal', 'return']))
        await coordinator.reboot({ observed: 1, reason: 'test' })
        await expect.poll(() => coordinator.status().state, { timeout: 10_000 }).toBe('ready')
      })
    }
  }

  test('build, swap, start, then drain: a stream continues from the old worker while the new one serves', async ({
    store,
    open,
  }) => {
    await publishWorker(store, 'one', source, counters)
    const coordinator = open(start, { drainMs: 60_000 })
    const reader = ((await coordinator.dispatch({ count: 50 })) as Numbers).getReader()
    expect((await reader.read()).value).toBe(1)
    await publishWorker(store, 'two', source, counters)
    await coordinator.reboot({ observed: 1, reason: 'changed' })
    expect(await coordinator.dispatch('facts')).toMatchObject({ version: 'two', incarnation: 2 })
    expect(coordinator.status().state).toBe('draining')
    for (let read = 2; read <= 50; read += 1) expect((await reader.read()).value).toBe(read)
    expect((await reader.read()).done).toBe(true)
    await expect.poll(() => coordinator.status().state).toBe('ready')
  })

  test('at the drain deadline a stream ends with a named error, its worker has ended, and others are unaffected', async ({
    store,
    open,
  }) => {
    await publishWorker(store, 'one', source, counters)
    const coordinator = open(start, { drainMs: 100 })
    const reader = ((await coordinator.dispatch({})) as Numbers).getReader()
    await reader.read()
    await coordinator.reboot({ observed: 1, reason: 'test' })
    const other = collect<number>(await coordinator.dispatch({ count: 30 }))
    const cut = (async () => {
      for (;;) await reader.read()
    })()
    await expect(cut).rejects.toMatchObject({
      code: 'ERR_WORKER_EXITED',
      retryable: true,
      message: expect.stringContaining('100 ms (drainMs)'),
    })
    expect(await other).toEqual({ parts: upTo(30) })
    await expect.poll(() => coordinator.status()).toMatchObject({ state: 'ready', incarnation: 2 })
  })

  test('a worker that dies in the middle: what it had sent arrives, then a named error; nothing is sent again', async ({
    store,
    open,
  }) => {
    await publishWorker(store, 'one', source, counters)
    const coordinator = open(start)
    const { parts, error } = await collect<number>(
      await coordinator.dispatch({ dieAfter: 40 }, { replay: 'idempotent' }),
    )
    expect(error).toMatchObject({
      code: 'ERR_WORKER_EXITED',
      message: expect.stringContaining('in the middle of its answer'),
    })
    expect(parts).toEqual(upTo(parts.length))
    expect(parts.length).toBeGreaterThan(40 - WINDOW)
    expect(await coordinator.dispatch('facts')).toMatchObject({ incarnation: 2, produced: 0 })
  })

  test('an error in the middle reaches the consumer after the parts before it, and so does a part that cannot cross', async ({
    store,
    open,
  }) => {
    await publishWorker(
      store,
      'one',
      `if (request === 'odd') return (async function* () { yield 1; yield () => {} })(); ${source}`,
      counters,
    )
    const coordinator = open(start)
    expect(await collect(await coordinator.dispatch({ failAfter: 2 }))).toMatchObject({
      parts: [1, 2],
      error: { name: 'RangeError', code: 'ERR_MINE' },
    })
    expect(await collect(await coordinator.dispatch('odd'))).toMatchObject({
      parts: [1],
      error: { message: expect.stringContaining('could not be cloned') },
    })
    expect((await collect(await coordinator.dispatch({ count: 3 }))).parts).toEqual([1, 2, 3])
  })

  test('close() drains streams too', async ({ store, open }) => {
    await publishWorker(store, 'one', source, counters)
    const coordinator = open(start, { drainMs: 60_000 })
    const stream = (await coordinator.dispatch({ count: 20 })) as Numbers
    const closed = coordinator[Symbol.asyncDispose]()
    expect(await collect(stream)).toEqual({ parts: upTo(20) })
    await closed
  })

  test('a worker that answers twice, or in parts that were not requested, is refused with a warning, and other requests are unaffected', async ({
    store,
    open,
  }) => {
    await publishWorker(
      store,
      'one',
      `const say = (message) => isMainThread ? process.send(message) : (parentPort.postMessage(message))
       const id = Number(request.id)
       say({ warmswap: 'reply', id, incarnation, value: 'first' })
       say({ warmswap: 'reply', id, incarnation, value: 'second' })
       say({ warmswap: 'part', id, incarnation, value: 'uncalled' })
       say({ warmswap: 'reply', id: 77, incarnation: 0, value: 'of nobody' })
       return 'third'`,
      "import { parentPort } from 'node:worker_threads'",
    )
    const coordinator = open(start)
    const warnings: string[] = []
    const note = (warning: Error & { code?: string }): void =>
      void (warning.code === 'WARMSWAP_ANSWER_REFUSED' && warnings.push(warning.message))
    process.on('warning', note)
    expect(await coordinator.dispatch({ id: 1 })).toBe('first')
    await expect.poll(() => warnings.length).toBe(4)
    process.off('warning', note)
    expect(await coordinator.dispatch({ id: 2 })).toBe('first')
  })
})

describe('workers of your own', () => {
  test('a stream that an old incarnation begins after it lost the request is refused, and its source is stopped', async ({
    store,
    open,
  }) => {
    await publishWorker(store, 'one', 'return 1')
    const sent: { answer: (value: unknown) => void; leave: () => void }[] = []
    const coordinator = open(async () => {
      let leave = (): void => {}
      const exited = new Promise<void>((resolve) => (leave = resolve))
      return {
        exited,
        send: () => new Promise((resolve) => sent.push({ answer: resolve, leave })),
        stop: async () => leave(),
      }
    })
    const answer = coordinator.dispatch('once', { replay: 'idempotent' })
    await expect.poll(() => sent.length).toBe(1)
    sent[0]?.leave()
    await expect.poll(() => sent.length).toBe(2)
    const stopped = new Promise<unknown>((resolve) => sent[0]?.answer(new ReadableStream({ cancel: resolve })))
    expect(await stopped).toMatchObject({ code: 'ERR_WORKER_EXITED' })
    sent[1]?.answer(
      (async function* () {
        yield 'of the living'
      })(),
    )
    expect(await collect(await answer)).toEqual({ parts: ['of the living'] })
  })

  test('a request that was cancelled before its stream began: the source is stopped', async ({ store, open }) => {
    await publishWorker(store, 'one', 'return 1')
    let began = (_: unknown): void => {}
    let leave = (): void => {}
    const exited = new Promise<void>((resolve) => (leave = resolve))
    const coordinator = open(
      async () => ({ exited, send: () => new Promise((resolve) => (began = resolve)), stop: async () => leave() }),
      { drainMs: 1 },
    )
    await expect(coordinator.dispatch('x', { timeoutMs: 20 })).rejects.toMatchObject({ code: 'ERR_TIMEOUT' })
    const stopped = new Promise((resolve) => began(new ReadableStream({ cancel: resolve })))
    expect(await stopped).toMatchObject({ code: 'ERR_WORKER_EXITED' })
  })
})
