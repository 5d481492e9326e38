/** Seeded randomness, so that the order of a sweep can be repeated. */

import { invalidArgument } from '../native/errors.js'

export type Random = () => number

/** mulberry32 (Tommy Ettinger, public domain): 32 bits of state are plenty for orders and jitter. */
export function seeded(seed: number): Random {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}

/** Fisher–Yates. */
export function shuffled<T>(values: readonly T[], random: Random): T[] {
  const order = [...values]
  for (let last = order.length - 1; last > 0; last -= 1) {
    const other = Math.floor(random() * (last + 1))
    ;[order[last], order[other]] = [order[other] as T, order[last] as T]
  }
  return order
}

/** WARMSWAP_RACE_SEED, or a new seed. */
export function chooseSeed(given: string | undefined = process.env.WARMSWAP_RACE_SEED): number {
  if (given === undefined || given === '') return Math.floor(Math.random() * 2 ** 32)
  const seed = Number(given)
  if (!Number.isInteger(seed) || seed < 0 || seed >= 2 ** 32)
    throw invalidArgument('WARMSWAP_RACE_SEED', given, 'a whole number below 4294967296')
  return seed
}
