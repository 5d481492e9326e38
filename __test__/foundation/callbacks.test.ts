/** A callback of the program that throws is reported once, with a code, and does not affect warmswap. */

// guarantee: library/callbacks-never-crash

import { join } from 'node:path'
import { describe, expect } from 'vitest'
import {
  type LockOptions,
  acquireLock,
  defineState,
  onStateChange,
  openBundles,
  openCache,
  pack,
  replaceState,
  sweepLocks,
  unpack,
} from 'warmswap'
import { onReoptimize } from 'warmswap/vite'
import { publish } from '../support/stores.js'
import { test } from '../support/temp.js'
import { type Seen, watched } from '../support/uncaught.js'

// biome-ignore lint/suspicious/noExplicitAny: what a caller without types can pass.
type Anything = any

/** The ways in which a callback fails. */
const failing: [how: string, callback: () => Anything][] = [
  [
    'throws',
    () => {
      throw new Error('a bug of the callback')
    },
  ],
  ['rejects', async () => Promise.reject(new Error('a bug of the callback'))],
  [
    'throws what has no text',
    () => {
      throw Object.create(null)
    },
  ],
]

const codes = (seen: Seen): string[] =>
  seen.warnings
    .filter(({ code }) => code === 'WARMSWAP_CALLBACK_FAILED')
    .map(({ message }) => message.split(' failed:')[0] as string)

/** A callback is reported once for what it is used as, however often it fails. */
function expectReport(seen: Seen, kind: string): void {
  expect(seen.uncaught).toEqual([])
  expect(codes(seen)).toEqual([kind])
}

describe.each(failing)('a callback that %s', (_how, callback) => {
  let calls = 0
  const failingCallback = (): Anything => {
    calls += 1
    return callback()
  }

  test('watch(): the listener is still called for each later publish', async ({ memory }) => {
    await using store = await openBundles(join(memory, 'store'))
    await publish(store, { a: '1' })
    calls = 0
    const seen = await watched(async () => {
      using _ = store.watch(failingCallback)
      for (const round of [1, 2]) {
        await publish(store, { a: `round ${round}` })
        await expect.poll(() => calls, { timeout: 10_000 }).toBe(round)
      }
    })
    expectReport(seen, 'a listener of watch()')
  })

  test('onWait: the lock is acquired', async ({ memory }) => {
    const path = join(memory, 'a.lock')
    const held = await acquireLock(path)
    calls = 0
    const seen = await watched(async () => {
      const waiting = acquireLock(path, { onWait: failingCallback as LockOptions['onWait'] & {} })
      await expect.poll(() => calls).toBeGreaterThan(0)
      held.release()
      const lock = await waiting
      expect(lock.release()).toEqual({ released: true })
    })
    expectReport(seen, 'options.onWait of a lock')
    expect((await sweepLocks(memory)).held).toEqual([])
  })

  test('onEvent and onProgress of a cache, onProgress of unpack: the calls end well', async ({ memory, disk }) => {
    const source = join(disk, 'from')
    await using store = await openBundles(join(memory, 'store'))
    await publish(store, { 'a/b': 'content' })
    using pin = store.pin()
    const cache = openCache(`file://${join(disk, 'cache')}`, { onEvent: failingCallback })
    const cached = await watched(async () => {
      expect(await cache.snapshot({ key: 'k', from: pin.path, onProgress: failingCallback })).toMatchObject({
        outcome: 'uploaded',
      })
      expect(await cache.restore({ key: 'k', into: source, onProgress: failingCallback })).toMatchObject({
        outcome: 'restored',
      })
    })
    expect(cached.uncaught).toEqual([])
    for (const kind of codes(cached))
      expect(['options.onEvent of a cache', 'options.onProgress of a cache']).toContain(kind)
    expect(new Set(codes(cached)).size).toBe(codes(cached).length)
    const unpacked = await watched(async () => {
      expect(await unpack(pack(source), join(disk, 'to'), { onProgress: failingCallback })).toMatchObject({
        outcome: 'restored',
      })
    })
    expectReport(unpacked, 'options.onProgress of unpack()')
  })

  test('onStateChange: the value is stored, and other listeners are called', async () => {
    const heard: string[] = []
    const seen = await watched(async () => {
      using _first = onStateChange(failingCallback)
      using _second = onStateChange(({ type }) => void heard.push(type))
      expect(defineState(`callbacks ${_how}`, () => 1)).toBe(1)
      replaceState(`callbacks ${_how}`, 2)
    })
    expect(heard).toEqual(['define', 'replace'])
    expectReport(seen, 'a listener of onStateChange()')
  })

  test("onReoptimize: Vite's commit continues", async () => {
    const optimizer = {
      metadata: { optimized: { a: { file: '/a.js' } }, discovered: {}, chunks: {}, browserHash: '1' },
    }
    const environment = { name: 'ssr', depsOptimizer: optimizer }
    const seen = await watched(async () => {
      using _ = onReoptimize({ environments: { ssr: environment } } as Anything, failingCallback)
      optimizer.metadata = { ...optimizer.metadata, browserHash: '2' }
      await new Promise((resolve) => setImmediate(resolve))
      await new Promise((resolve) => setImmediate(resolve))
    })
    expectReport(seen, 'a listener of onReoptimize()')
  })
})

test('the source of unpack(): its clean-up may throw, at the end and before the beginning', async ({
  disk,
  memory,
}) => {
  const source = join(disk, 'from')
  await using store = await openBundles(join(memory, 'store'))
  await publish(store, { a: 'b' })
  using pin = store.pin()
  const chunks: Uint8Array[] = []
  for await (const chunk of pack(pin.path)) chunks.push(chunk)
  const broken = (members: object): Anything => ({
    [Symbol.asyncIterator]: () => ({
      next: async () => ({ done: chunks.length === 0, value: chunks.shift() }),
      ...members,
    }),
  })
  const fail = (): never => {
    throw Object.create(null)
  }
  const seen = await watched(async () => {
    expect(await unpack(broken({ return: fail }), source)).toMatchObject({ outcome: 'restored' })
    expect(await unpack(broken({ next: fail }), join(disk, 'other'))).toMatchObject({ ok: false })
    await expect(unpack({ [Symbol.asyncIterator]: fail } as Anything, join(disk, 'third'))).rejects.toBeTypeOf('object')
  })
  expect(seen.uncaught).toEqual([])
})
