/** Processes that are killed at a swept moment, with the race kit. */

import { expect } from 'vitest'
import type { Interval, Race } from 'warmswap/vitest'

/** Milliseconds after ready: from 0 on. */
const DELAYS = [0, 3, 10, 30]
/** At each delay: a confidence of 0.9 takes 22 samples without a failure. */
const REPEATS = process.env.WARMSWAP_LONG === '1' ? 30 : 6
/** Distinguishes a check that hangs from one that is slow on a busy machine. */
const CHECK_MS = 10_000

/** The test's limit, 60 % of which the sweep may take: ten times what it needs. */
export const SWEEP_MS = process.env.WARMSWAP_LONG === '1' ? 1_500_000 : 300_000

/**
 * Starts a process again and again. At each delay after it was ready, calls `check`, which kills it and rejects if
 * something is wrong then. Prints p(fail | delay) with n and interval, and expects that none failed.
 */
export async function sweepKills(
  race: Race,
  name: string,
  restart: () => Promise<Interval>,
  check: (signal: AbortSignal) => Promise<void>,
): Promise<void> {
  const report = await race.sweep({
    delays: DELAYS,
    repeats: REPEATS,
    target: async () => undefined,
    restart,
    probes: [
      { name, sideEffects: 'write', timeoutMs: CHECK_MS, run: async (_, signal) => ({ value: await check(signal) }) },
    ],
  })
  console.log(String(report))
  expect(report).toSettleWithin(0, { confidence: 0.9 })
}
