/**
 * Requests and answers that would lose data when copied to another thread or process: they are refused, with a message
 * that says what to send instead.
 */

// guarantee: restarts/lossy-values-are-refused

import { setFlagsFromString } from 'node:v8'
import { describe, expect } from 'vitest'
import { isWarmswapError, sharedCell } from 'warmswap'
import { child, publishWorker, test, thread } from '../support/coordinators.js'

class Hidden {
  #secret = 1
  get secret(): number {
    return this.#secret
  }
}
class Point {
  x = 1
  length(): number {
    return this.x
  }
}

const form = (): FormData => {
  const data = new FormData()
  data.append('a', 'b')
  return data
}

/** What is lost or cannot be sent, and what the message says. */
const lost: [name: string, make: () => unknown, says: RegExp][] = [
  [
    'Request',
    () => new Request('http://localhost/a'),
    /^the request is an object of the class Request.*Send \{ url: request\.url/,
  ],
  ['Response', () => new Response('x'), /class Response.*headers: \[\.\.\.response\.headers\]/],
  ['Headers', () => new Headers({ a: 'b' }), /class Headers.*Send \[\.\.\.headers\]/],
  ['URL', () => new URL('http://a/b'), /class URL.*Send url\.href/],
  ['URLSearchParams', () => new URLSearchParams('a=b'), /class URLSearchParams/],
  ['FormData', form, /class FormData/],
  ['File', () => new File(['x'], 'name'), /class File/],
  ['ReadableStream', () => new ReadableStream(), /class ReadableStream/],
  ['AbortSignal', () => new AbortController().signal, /class AbortSignal.*context\.signal/],
  ['a promise', () => Promise.resolve(1), /class Promise.*await it/],
  ['WeakMap', () => new WeakMap(), /class WeakMap.*a Map/],
  ['a class with private state', () => new Hidden(), /class Hidden.*an object literal/],
  [
    'in an object',
    () => ({ body: { url: new URL('http://a') } }),
    /^the request\.body\.url is an object of the class URL/,
  ],
  ['in an array', () => [1, [2, new Headers()]], /^the request\[1\]\[1\] is an object of the class Headers/],
  ['in a Map', () => new Map([['key', new Headers()]]), /class Headers/],
  ['in a Set', () => new Set([new Headers()]), /class Headers/],
  [
    'in an instance',
    () => Object.assign(new Point(), { at: new URL('http://a') }),
    /^the request\.at is an object of the class URL/,
  ],
  [
    'after 9 000 others',
    () => [...Array.from({ length: 9_000 }, (_, index) => ({ index })), new URL('http://a')],
    /^the request\[9000\]/,
  ],
  ['a function', () => () => 1, /^the request cannot be copied.*could not be cloned/],
  ['a function in an object', () => ({ first: 1, call: () => 1 }), /cannot be copied/],
  ['a symbol', () => Symbol('s'), /cannot be copied/],
  [
    'a circle with a loss',
    () => {
      const circle: Record<string, unknown> = {}
      circle.self = circle
      circle.url = new URL('http://a')
      return circle
    },
    /class URL/,
  ],
]

/** What arrives as it was sent, as far as structured clone goes. */
const whole: [name: string, make: () => unknown, arrives?: unknown][] = [
  ['nothing', () => undefined],
  ['plain data', () => ({ a: [1, { b: null }], c: 'text', d: 10n, e: undefined })],
  ['collections', () => [new Map([[1, new Set(['a'])]]), new Date(0), /x/g]],
  ['bytes', () => new Uint8Array([1, 2])],
  ['an instance with fields', () => new Point(), { x: 1 }],
  ['an instance without anything', () => new (class Marker {})(), {}],
  ['an object without a prototype', () => Object.assign(Object.create(null), { a: 1 }), { a: 1 }],
  [
    'a circle',
    () => {
      const circle: Record<string, unknown> = {}
      circle.self = circle
      return circle
    },
  ],
]

describe.each([
  ['threads', thread],
  ['processes', child],
] as const)('workers that are %s', (kind, start) => {
  test('a request that would be lost is refused by its place and class; the worker keeps running', async ({
    store,
    open,
  }) => {
    await publishWorker(store, 'one', 'return request')
    const coordinator = open(start)
    for (const [name, make, says] of lost) {
      const error: unknown = await coordinator.dispatch(make()).catch((reason: unknown) => reason)
      expect(error, name).toMatchObject({ code: 'ERR_INVALID_ARGUMENT', message: expect.stringMatching(says) })
      expect(isWarmswapError(error), name).toBe(true)
    }
    for (const [name, make, arrives = make()] of whole)
      expect(await coordinator.dispatch(make()), name).toEqual(arrives)
    expect(coordinator.status().incarnation).toBe(1)
  })

  test('an answer that would be lost is refused likewise, whole or as a part', async ({ store, open }) => {
    await publishWorker(
      store,
      'one',
      `const make = { Response: () => new Response('x'), URL: () => [new URL('http://a')], Hidden: () => new (class Hidden { #a = 1; get a() { return this.#a } })(), function: () => () => 1, promise: () => ({ later: Promise.resolve() }), fine: () => 'fine' }[request.make]
       return request.part ? (async function* () { yield 1; yield make() })() : make()`,
    )
    const coordinator = open(start)
    for (const make of ['Response', 'URL', 'Hidden', 'function', 'promise']) {
      const error: unknown = await coordinator.dispatch({ make }).catch((reason: unknown) => reason)
      expect(error, make).toMatchObject({ code: 'ERR_INVALID_ARGUMENT', message: expect.stringMatching(/^the answer/) })
      expect(isWarmswapError(error), make).toBe(true)
      const read = async (): Promise<void> => {
        for await (const part of await coordinator.dispatch({ make, part: true })) expect(part).toBe(1)
      }
      await expect(read(), make).rejects.toMatchObject({ code: 'ERR_INVALID_ARGUMENT' })
    }
    expect(await coordinator.dispatch({ make: 'fine' })).toBe('fine')
    expect(coordinator.status().incarnation).toBe(1)
  })

  test('the error of structured clone is the cause', async ({ store, open }) => {
    await publishWorker(store, 'one', 'return () => 1')
    const coordinator = open(start)
    await expect(coordinator.dispatch(() => 1)).rejects.toMatchObject({
      cause: { message: expect.stringMatching(/could not be cloned/) },
    })
    await expect(coordinator.dispatch(1)).rejects.toMatchObject({
      cause: { message: expect.stringMatching(/could not be cloned/) },
    })
  })

  test(`a Blob ${kind === 'threads' ? 'arrives' : 'is refused'}`, async ({ store, open }) => {
    await publishWorker(store, 'one', 'return request.size')
    const sent = open(start).dispatch(new Blob(['four']))
    if (kind === 'threads') expect(await sent).toBe(4)
    else
      await expect(sent).rejects.toMatchObject({
        code: 'ERR_INVALID_ARGUMENT',
        message: expect.stringMatching(/class Blob.*arrayBuffer/),
      })
  })
})

test('an error of a handler is passed on unchanged, even one without text', async ({ store, open }) => {
  await publishWorker(
    store,
    'one',
    `if (request === 'null') throw null
     if (request === 'bare') throw Object.create(null)
     if (request === 'message') throw Object.assign(new Error(), { message: () => 1, name: {}, stack: {} })
     throw Object.assign(new RangeError('mine'), { code: 'ERR_MINE' })`,
  )
  const coordinator = open(thread)
  await expect(coordinator.dispatch('null')).rejects.toMatchObject({ message: 'null' })
  await expect(coordinator.dispatch('bare')).rejects.toMatchObject({ message: '[Object: null prototype] {}' })
  await expect(coordinator.dispatch('message')).rejects.toMatchObject({ name: 'Error' })
  await expect(coordinator.dispatch('mine')).rejects.toMatchObject({
    name: 'RangeError',
    code: 'ERR_MINE',
    message: 'mine',
  })
  expect(coordinator.status().incarnation).toBe(1)
})

test('a worker of your own gets requests as they are: only a copy loses', async ({ store, open }) => {
  await publishWorker(store, 'one', 'return 1')
  const { promise: exited, resolve } = (() => {
    let resolve!: () => void
    return { promise: new Promise<void>((done) => (resolve = done)), resolve }
  })()
  const coordinator = open(async () => ({ exited, send: async (request) => request, stop: async () => resolve() }))
  const request = new Request('http://localhost/a')
  expect(await coordinator.dispatch(request)).toBe(request)
})

test('contexts of requests share a hidden class, which V8 would otherwise keep until a full collection', async ({
  store,
  open,
}) => {
  await publishWorker(store, 'one', 'return 1')
  let end = (): void => {}
  const exited = new Promise<void>((resolve) => (end = resolve))
  const contexts: { signal: AbortSignal }[] = []
  const send = async (_: unknown, context: { signal: AbortSignal }): Promise<void> => void contexts.push(context)
  const coordinator = open(async () => ({ exited, send, stop: async () => end() }))
  await coordinator.dispatch(1)
  await coordinator.dispatch(2)
  setFlagsFromString('--allow-natives-syntax')
  const haveSameMap = new Function('one', 'other', 'return %HaveSameMap(one, other)')
  expect(haveSameMap(...contexts)).toBe(true)
  const [one, other] = contexts.map((context) => ({ ...context }).signal)
  expect(one).toBeInstanceOf(AbortSignal)
  expect(other).not.toBe(one)
})

test('a cell refuses a value that its copy would lose', () => {
  using cell = sharedCell<unknown>('payloads')
  expect(() => cell.write({ url: new URL('http://a') })).toThrow(
    /the value for cell 'payloads'\.url is an object of the class URL/,
  )
  expect(cell.write({ url: 'http://a' })).toBe(1n)
})
