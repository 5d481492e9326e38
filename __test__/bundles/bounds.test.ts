/** `maxBytes` and `maxAgeMs`: which generations a collection removes, and in which order. */

import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, describe, expect } from 'vitest'
import { type BundleStore, type BundleStoreOptions, openBundles } from 'warmswap'
import { publish } from '../support/stores.js'
import { test } from '../support/temp.js'

const warnings: (Error & { code?: string })[] = []
const listener = (warning: Error): void => void warnings.push(warning)
process.on('warning', listener)
afterEach(() => void warnings.splice(0))
const excess = (): string[] =>
  warnings.filter(({ code }) => code === 'WARMSWAP_MAX_BYTES').map(({ message }) => message)
/** Warnings are emitted in the next tick. */
const tick = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

const numbers = async (store: BundleStore): Promise<number[]> => (await store.list()).map(({ number }) => number)

/** Generations 1 to `count` of 1000 bytes each. */
async function storeOf(root: string, count: number, options: BundleStoreOptions): Promise<BundleStore> {
  const store = await openBundles(root, options)
  for (let index = 0; index < count; index += 1) await publish(store, { text: `${index}`.padEnd(1000) })
  return store
}

const inAnHour = (): number => Date.now() + 3_600_000

describe('maxBytes', () => {
  test('comes before keep and graceMs: what was current longest ago is removed first', async ({ memory }) => {
    const root = join(memory, 'store')
    await using store = await storeOf(root, 5, { keep: 9, graceMs: 3_600_000 })
    await store.rollback(2)
    expect(await numbers(store)).toEqual([1, 2, 3, 4, 5])
    await using bounded = await openBundles(root, { maxBytes: 3000 })
    expect(await numbers(bounded)).toEqual([2, 4, 5])
    await publish(bounded, { text: 'x'.repeat(1000) })
    expect(await bounded.collect()).toMatchObject({ kept: [2, 5, 6], pinned: [] })
    await tick()
    expect(excess()).toEqual([])
  })

  test('pins and the current generation count, and none of them is removed: a warning, once', async ({ memory }) => {
    await using store = await storeOf(join(memory, 'store'), 2, { keep: 9, maxBytes: 2500 })
    const pins = [await store.pin({ name: 'a', expiresAt: inAnHour(), generation: 1 }), store.pin({ generation: 2 })]
    for (const text of ['3', '4', '5']) await publish(store, { text: text.padEnd(1000) })
    expect(await store.collect()).toMatchObject({ kept: [5], pinned: [1, 2] })
    await store.collect()
    await tick()
    expect(excess()).toEqual([
      expect.stringMatching(/has 3000 bytes .* more than maxBytes \(2500\)\. None of them is removed/),
    ])
    for (const pin of pins) pin.release()
    await store.collect()
    expect(await numbers(store), 'a name still keeps its generation').toEqual([1, 5])
    await store.release('a')
    await publish(store, { text: '6'.padEnd(1000) })
    expect((await store.collect()).kept).toEqual([5, 6])
    await tick()
    expect(excess()).toHaveLength(1)
  })

  test('0 leaves the current generation alone', async ({ memory }) => {
    await using store = await storeOf(join(memory, 'store'), 3, { maxBytes: 0 })
    expect(await store.collect()).toMatchObject({ kept: [3], pinned: [] })
    expect((await store.verify()).ok).toBe(true)
  })
})

test('maxAgeMs comes before keep and graceMs', async ({ memory }) => {
  const root = join(memory, 'store')
  await using store = await storeOf(root, 4, { keep: 9, graceMs: 3_600_000, maxAgeMs: 60_000 })
  const pin = store.pin({ generation: 1 })
  const file = join(root, 'current.json')
  const mirror = JSON.parse(readFileSync(file, 'utf8'))
  for (const former of mirror.history) {
    delete former.since
    if (former.number < 3) former.until -= 120_000
  }
  writeFileSync(file, JSON.stringify(mirror))
  // What `removed` contains is not compared: the collection after the last publish may still be to come, and removes first.
  expect(await store.collect()).toMatchObject({ pinned: [1], kept: [3, 4] })
  expect(await numbers(store)).toEqual([1, 3, 4])
  pin.release()
  expect((await store.collect()).kept).toEqual([3, 4])
  expect(await numbers(store)).toEqual([3, 4])
})

test('bounds are kept in the store, also over a program that writes config.json again, and Infinity removes them', async ({
  memory,
}) => {
  const root = join(memory, 'store')
  const bounds = (): unknown => JSON.parse(readFileSync(join(root, 'bounds.json'), 'utf8'))
  await (await storeOf(root, 1, { keep: 5, maxBytes: 2000, maxAgeMs: 60_000 })).close()
  expect(bounds()).toEqual({ maxBytes: 2000, maxAgeMs: 60_000 })
  writeFileSync(join(root, 'config.json'), '{"keep":7,"graceMs":0}')
  const store = await storeOf(root, 4, {})
  expect((await store.collect()).kept).toEqual([4, 5])
  await store.close()
  await (await openBundles(root, { maxBytes: Infinity })).close()
  expect(bounds()).toEqual({ maxAgeMs: 60_000 })
  await (await openBundles(root, { maxAgeMs: Infinity })).close()
  expect(bounds).toThrow(/ENOENT/)
  expect(JSON.parse(readFileSync(join(root, 'config.json'), 'utf8'))).toEqual({ keep: 7, graceMs: 0 })
})

test('a wrong bound is refused', async ({ memory }) => {
  for (const [name, value] of [
    ['maxBytes', -1],
    ['maxBytes', 1.5],
    ['maxBytes', '1GB'],
    ['maxAgeMs', Number.NaN],
    ['maxAgeMs', null],
  ] as const)
    await expect(openBundles(join(memory, 'store'), { [name]: value } as never)).rejects.toMatchObject({
      code: 'ERR_INVALID_ARGUMENT',
      message: expect.stringContaining(`options.${name}`),
    })
})
