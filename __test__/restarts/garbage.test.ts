/** Workers that violate the protocol: their messages are refused with a warning, and the host continues. */

// guarantee: restarts/worker-cannot-harm-its-host

import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect } from 'vitest'
import { startProcess, startWorkerThread, type WorkerHandle } from 'warmswap'
import { child, publishWorker, test, thread } from '../support/coordinators.js'
import { publish } from '../support/stores.js'
import { type Seen, watched } from '../support/uncaught.js'

// biome-ignore lint/suspicious/noExplicitAny: what a caller without types can pass.
type Anything = any

/** The program of a worker that has `say(message)`, and `garbage(count)`: messages of all shapes, the same in each run. */
const garbler = `
import { parentPort } from 'node:worker_threads'
import { writeSync } from 'node:fs'
const say = (message) => { try { isMainThread ? process.send(message) : parentPort.postMessage(message) } catch {} }
let seed = 20261129
const random = () => { seed = (seed + 0x6d2b79f5) | 0; let t = Math.imul(seed ^ (seed >>> 15), 1 | seed); t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t; return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32 }
const pick = (list) => list[Math.floor(random() * list.length)]
const kinds = ['ready', 'begun', 'reply', 'stream', 'part', 'end', 'request', 'more', 'cancel', 'stop', 'offer', 'ask', 'taken', 'refused', 'toString', '__proto__', 'constructor', '', 1, null, {}, undefined]
const odd = () => pick([undefined, null, 0, -1, 1.5, NaN, Infinity, 2 ** 53, 10n, '', 'text', true, [], [1, [2]], {}, { name: 1 }, { name: 'E', message: 'm' }, { name: 'E', message: 'm', stack: {}, code: 5 }, { message: null }, new Map([[1, 2]]), new Set([1]), new Date(NaN), new Uint8Array(3), new Error('an error'), Object.create(null), /x/])
// Numbers of requests that nobody has sent: an answer to a real one would be right.
const field = (name) => name === 'id' ? pick([odd(), 900_000, 900_001, -900_000]) : name === 'incarnation' ? pick([odd(), 1, 77]) : odd()
const names = ['id', 'incarnation', 'value', 'error', 'count', 'root', 'generation', 'reason', 'cmd']
const shape = () => {
  if (random() < 0.1) return odd()
  const message = random() < 0.95 ? { warmswap: pick(kinds) } : {}
  for (const name of names) if (random() < 0.5) message[name] = field(name)
  return message
}
const garbage = (count) => { for (let index = 0; index < count; index += 1) say(shape()) }
`

const refused = (seen: Seen): string[] =>
  seen.warnings.filter(({ code }) => code === 'WARMSWAP_ANSWER_REFUSED').map(({ message }) => message)

describe.each([
  ['threads', thread],
  ['processes', child],
] as const)('workers that are %s', (_name, start) => {
  test('500 malformed messages between answers: no exception in the host, a bounded number of warnings, and each answer is right', async ({
    store,
    open,
  }) => {
    await publishWorker(store, 'one', 'garbage(100); return request * 2', garbler)
    const coordinator = open(start)
    const seen = await watched(async () => {
      for (let request = 1; request <= 5; request += 1) expect(await coordinator.dispatch(request)).toBe(request * 2)
    })
    expect(seen.uncaught).toEqual([])
    expect(coordinator.status().incarnation).toBe(1)
    expect(refused(seen)).toHaveLength(20)
    expect(refused(seen).at(-1)).toMatch(/Further messages of this worker that are refused are not reported$/)
  })

  test.for([
    ['an answer without its request', { warmswap: 'reply' }, /malformed 'reply' message: its id is not an integer/],
    [
      'an answer without a value',
      { warmswap: 'reply', id: 1, incarnation: 1 },
      /malformed 'reply'.*neither a value nor an error/,
    ],
    [
      'an error that is none',
      { warmswap: 'reply', id: 1, incarnation: 1, error: 'text' },
      /malformed 'reply'.*its error has no name and message/,
    ],
    ['a beginning of nothing', { warmswap: 'begun' }, /malformed 'begun'/],
    ['an end with a wrong error', { warmswap: 'end', id: 1, incarnation: 1, error: { message: 1 } }, /malformed 'end'/],
    ['a kind of another release', { warmswap: 'fancy', id: 1 }, /a message of an unknown kind \(fancy\)/],
  ] as const)(
    '%s is refused by name, and the answer that follows is accepted',
    async ([, message, warning], { store, open }) => {
      await publishWorker(store, 'one', `say(${JSON.stringify(message)}); return 'answer'`, garbler)
      const coordinator = open(start)
      const seen = await watched(async () => expect(await coordinator.dispatch(null)).toBe('answer'))
      expect(seen.uncaught).toEqual([])
      expect(refused(seen)).toEqual([expect.stringMatching(warning)])
    },
  )

  test('more parts than requested end the answer, and do not fill the memory', async ({ store, open }) => {
    await publishWorker(
      store,
      'one',
      `if (request === 'after') return 'fine'
       const id = 1
       say({ warmswap: 'stream', id, incarnation })
       for (let value = 0; value < 1_000; value += 1) say({ warmswap: 'part', id, incarnation, value })
       return 'too late'`,
      garbler,
    )
    const coordinator = open(start)
    const seen = await watched(async () => {
      const stream: ReadableStream<number> = await coordinator.dispatch('flood')
      // Answered after all parts have come, of which nobody has read one.
      expect(await coordinator.dispatch('after')).toBe('fine')
      const read = (async () => {
        for await (const _ of stream);
      })()
      await expect(read).rejects.toMatchObject({ code: 'ERR_TOO_LARGE' })
    })
    expect(seen.uncaught).toEqual([])
    expect(refused(seen)).toEqual([
      expect.stringMatching(/more parts of its answer to request 1 than it was asked for/),
    ])
  })
})

describe('processes', () => {
  test("bytes that are not a message, and messages in Node's own namespace, are refused, and the channel keeps working", async ({
    store,
    open,
  }) => {
    await publishWorker(
      store,
      'one',
      `if (request === 'bytes') { const frame = Buffer.alloc(20, 'garbage '); frame.writeUInt32BE(16, 0); writeSync(3, frame) }
       if (request === 'wasm') process.send({ warmswap: 'part', value: new WebAssembly.Module(new Uint8Array([0, 97, 115, 109, 1, 0, 0, 0])) })
       if (request === 'acknowledge') process.send({ cmd: 'NODE_HANDLE_ACK' })
       await new Promise((resolve) => setTimeout(resolve, 50))
       return request`,
      garbler,
    )
    const coordinator = open(child)
    const seen = await watched(async () => {
      for (const request of ['bytes', 'wasm', 'acknowledge', 'nothing'])
        expect(await coordinator.dispatch(request)).toBe(request)
    })
    expect(seen.uncaught).toEqual([])
    expect(refused(seen)).toHaveLength(3)
    for (const warning of refused(seen)) expect(warning).toMatch(/a worker sent a message that cannot be read/)
  })
})

describe('what start() resolves with', () => {
  const good = { send: async () => 1, stop: async () => {}, exited: new Promise(() => {}) }
  test.for([
    ['nothing', undefined, /Invalid result of options\.start\(\): undefined/],
    ['no object', 'handle', /Invalid result of options\.start\(\): 'handle'/],
    ['no send', { ...good, send: undefined }, /has no send\(request, context\)/],
    ['no stop', { ...good, stop: null }, /has no stop\(deadlineMs\)/],
    ['no exited', { ...good, exited: undefined }, /has no promise exited/],
    ['an exited that is no promise', { ...good, exited: 1 }, /promise exited/],
  ] as const)(
    '%s: reboot() and dispatch() reject with ERR_INVALID_ARGUMENT',
    async ([, handle, message], { store, open }) => {
      await publish(store, { file: 'x' })
      let stopped = 0
      const given = typeof handle === 'object' && handle.stop ? { ...handle, stop: async () => void ++stopped } : handle
      const coordinator = open(async () => given as Anything)
      const seen = await watched(async () => {
        await expect(coordinator.reboot({ observed: null, reason: 'test' })).rejects.toMatchObject({
          code: 'ERR_INVALID_ARGUMENT',
          message: expect.stringMatching(message),
        })
        await expect(coordinator.dispatch('x')).rejects.toMatchObject({ code: 'ERR_INVALID_ARGUMENT' })
        expect(coordinator.status()).toMatchObject({ state: 'failed', lastError: { code: 'ERR_INVALID_ARGUMENT' } })
      })
      expect(seen.uncaught).toEqual([])
      expect(stopped).toBe(typeof given === 'object' && given.stop ? 2 : 0)
      expect((await store.collect()).pinned).toEqual([])
    },
  )

  test('members that throw, return no promise or reject without an error do no harm', async ({ store, open }) => {
    await publish(store, { file: 'x' })
    let leave = (): void => {}
    const left = new Promise<void>((resolve) => (leave = resolve))
    const handle = {
      send: () => {
        throw Object.create(null)
      },
      stop: () => leave(),
      // A promise of another library.
      // biome-ignore lint/suspicious/noThenProperty: the test is about an object that only looks like a promise.
      exited: { then: (resolve: () => void) => void left.then(resolve) },
    }
    const coordinator = open(async () => handle as Anything)
    const seen = await watched(async () => {
      await coordinator.reboot({ observed: null, reason: 'test' })
      await expect(coordinator.dispatch('x')).rejects.toBeTypeOf('object')
      await coordinator[Symbol.asyncDispose]()
    })
    expect(seen.uncaught).toEqual([])
  })

  test('a start() that rejects without an error fails its callers immediately', async ({ store, open }) => {
    await publish(store, { file: 'x' })
    const coordinator = open(() => Promise.reject(Object.create(null)))
    const seen = await watched(async () => {
      await expect(coordinator.dispatch('x')).rejects.toBeTypeOf('object')
      expect(coordinator.status()).toMatchObject({ state: 'failed', waiting: 0 })
    })
    expect(seen.uncaught).toEqual([])
  })
})

describe('startProcess() and startWorkerThread() that are called wrongly', () => {
  const starts: [string, (...args: Anything[]) => Promise<unknown>][] = [
    ['startProcess', startProcess],
    ['startWorkerThread', startWorkerThread],
  ]
  test.for(starts)('%s: the argument is named, and nothing is started', async ([, call], { store }) => {
    await publish(store, { 'worker.mjs': '' })
    using pin = store.pin()
    const { signal } = new AbortController()
    const cases: [unknown, RegExp, unknown?][] = [
      [undefined, /^Invalid context: undefined/],
      [null, /^Invalid context: null/],
      [{}, /^Invalid context\.pin: undefined/],
      [{ pin, signal: undefined }, /^Invalid context\.signal: undefined/],
      [{ pin, signal: { throwIfAborted() {} } }, /^Invalid context\.signal: an object/],
      [{ pin: { path: '/' }, signal }, /^Invalid context\.pin: an object/],
    ]
    if (call === startProcess)
      cases.push(
        [{ pin, signal }, /^Invalid options\.args\[0\]: 5/, { args: [5] }],
        [{ pin, signal }, /^Invalid options\.env\.A: 5/, { env: { A: 5 } }],
      )
    else
      cases.push(
        [{ pin, signal }, /options\.workerData cannot be copied/, { workerData: () => 1 }],
        [
          { pin, signal },
          /options\.workerData\.url is an object of the class URL/,
          { workerData: { url: new URL('http://a') } },
        ],
      )
    const seen = await watched(async () => {
      for (const [context, message, options] of cases)
        await expect(call(context, 'worker.mjs', options), String(message)).rejects.toMatchObject({
          code: 'ERR_INVALID_ARGUMENT',
          message: expect.stringMatching(message),
        })
    })
    expect(seen.uncaught).toEqual([])
  })

  test('a signal that outlives its requests keeps none of their listeners', async ({ store }) => {
    await publishWorker(store, 'one', "return request === 'parts' ? (async function* () { yield 1 })() : request")
    using pin = store.pin()
    const { signal } = new AbortController()
    const handle: WorkerHandle<string, Anything> = await startWorkerThread({ pin, signal }, 'worker.mjs')
    const many = new AbortController()
    let listening = 0
    const { addEventListener, removeEventListener } = EventTarget.prototype
    many.signal.addEventListener = (...args: Parameters<EventTarget['addEventListener']>) => {
      listening += 1
      addEventListener.apply(many.signal, args)
    }
    many.signal.removeEventListener = (...args: Parameters<EventTarget['removeEventListener']>) => {
      listening -= 1
      removeEventListener.apply(many.signal, args)
    }
    for (let request = 0; request < 50; request += 1) await handle.send('x', { incarnation: 1, signal: many.signal })
    for await (const part of await handle.send('parts', { incarnation: 1, signal: many.signal })) expect(part).toBe(1)
    expect(listening).toBe(0)
    const open = handle.send('x', { incarnation: 1, signal: many.signal })
    await handle.stop(1_000)
    await open.catch(() => {})
    expect(listening).toBe(0)
    await expect(handle.send('x', undefined as Anything)).rejects.toMatchObject({ code: 'ERR_WORKER_EXITED' })
  })

  test('a wrong context of send() is refused', async ({ store }) => {
    await publishWorker(store, 'one', 'return 1')
    using pin = store.pin()
    const { signal } = new AbortController()
    const handle: WorkerHandle<unknown, unknown> = await startWorkerThread({ pin, signal }, 'worker.mjs')
    for (const context of [undefined, {}, { incarnation: 'x', signal }, { incarnation: 1, signal: {} }])
      await expect(handle.send(1, context as Anything)).rejects.toMatchObject({ code: 'ERR_INVALID_ARGUMENT' })
    await expect(handle.send(1, { incarnation: 1, signal: AbortSignal.abort(new Error('before')) })).rejects.toThrow(
      'before',
    )
    await handle.stop(1_000)
  })
})

describe('builds', () => {
  test('a run that throws immediately fails its build, and its timer does not keep the process alive', async ({
    open,
  }) => {
    const coordinator = open(thread)
    const before = process.getActiveResourcesInfo().filter((each) => each === 'Timeout').length
    const run = (): never => {
      throw new Error('at once')
    }
    await expect(coordinator.build({ atLeast: coordinator.change() }, run)).rejects.toThrow('at once')
    expect(process.getActiveResourcesInfo().filter((each) => each === 'Timeout').length).toBeLessThanOrEqual(before)
  })

  test.for([
    ['an array', '[]'],
    ['a record without its error', '{"id":"1","startedAt":9e15,"pid":1}'],
    ['a record with a wrong error', '{"id":"1","startedAt":9e15,"pid":1,"error":{"name":5}}'],
    ['null', 'null'],
  ] as const)('a build.failed that is %s means no failure', async ([, text], { store, open }) => {
    const coordinator = open(thread)
    writeFileSync(join(store.root, 'build.failed'), text)
    const { pin } = await coordinator.build({ atLeast: coordinator.change() }, ({ stage }) => stage.write('file', 'x'))
    pin.release()
  })
})
