// Measures in one run: warmswap and its peers take turns on the same input. Medians and ratios are reported.
import { performance } from 'node:perf_hooks'

export const median = (values) => quantile(values, 0.5)

export function quantile(values, q) {
  const sorted = [...values].sort((a, b) => a - b)
  return sorted[Math.min(sorted.length - 1, Math.floor(q * sorted.length))]
}

/** Runs the contestants in turn, A B C A B C …, and returns the milliseconds of each, by name. `prepare` is not timed. */
export async function inTurn(contestants, { rounds = 5, warmup = 1 } = {}) {
  const times = Object.fromEntries(Object.keys(contestants).map((name) => [name, []]))
  for (let round = -warmup; round < rounds; round += 1) {
    for (const [name, contestant] of Object.entries(contestants)) {
      const { prepare, run } = typeof contestant === 'function' ? { run: contestant } : contestant
      const prepared = await prepare?.()
      const started = performance.now()
      await run(prepared)
      const took = performance.now() - started
      if (round >= 0) times[name].push(took)
    }
  }
  return times
}

/** Microseconds per call: the median of batches, with the contestants in turn. */
export async function perCall(contestants, { batches = 15, calls = 2000 } = {}) {
  const timed = Object.fromEntries(
    Object.entries(contestants).map(([name, call]) => [
      name,
      () => {
        for (let index = 0; index < calls; index += 1) call()
      },
    ]),
  )
  const times = await inTurn(timed, { rounds: batches, warmup: 2 })
  return Object.fromEntries(Object.entries(times).map(([name, list]) => [name, (median(list) * 1000) / calls]))
}
