/** Publishing does not get slower with the number of generations (bundles/cost-does-not-grow). */

import { readFileSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { expect } from 'vitest'
import { openBundles } from 'warmswap'
import { publish } from '../support/stores.js'
import { test } from '../support/temp.js'

const count = process.env.WARMSWAP_LONG === '1' ? 20_000 : 5000
test(`bundles/cost-does-not-grow: ${count} publishes cost the same from the first to the last`, {
  timeout: 240_000,
}, async ({ memory }) => {
  await using store = await openBundles(join(memory, 'store'))
  const descriptors = (): number => readdirSync('/proc/self/fd').length
  const times: number[] = []
  let open = 0
  for (let index = 1; index <= count; index += 1) {
    const started = performance.now()
    await publish(store, { a: String(index) })
    times.push(performance.now() - started)
    if (index === 100) open = descriptors()
    // The collection runs behind: two of it can be at work beside the kept and the current one.
    if (index % 500 === 0) expect(readdirSync(join(store.root, 'gens')).length).toBeLessThan(20)
  }
  const median = (list: number[]): number => list.sort((one, other) => one - other)[list.length >> 1] as number
  expect(median(times.slice(-500)) / median(times.slice(100, 600))).toBeLessThan(3)
  expect(descriptors()).toBeLessThanOrEqual(open + 5)
  await store.collect()
  expect(readdirSync(join(store.root, 'gens'))).toEqual(
    [count - 1, count].map((number) => String(number).padStart(6, '0')),
  )
  expect(readFileSync(join(store.root, 'current.json'), 'utf8').length).toBeLessThan(1000)
})
