/** How long a call waits, and what ends the wait. */

import * as check from '../native/validate.js'
import type { WriteOptions } from './contract.js'

export const DEFAULT_TIMEOUT_MS = 30_000

export interface WaitOptions {
  timeoutMs: number
  signal: AbortSignal | undefined
}

/** Checks the options of a call that waits. Infinity never times out. */
export function waiting(options: WriteOptions): WaitOptions {
  return {
    timeoutMs: check.milliseconds('options.timeoutMs', options.timeoutMs ?? DEFAULT_TIMEOUT_MS, { infinity: true }),
    signal: check.signal('options.signal', options.signal),
  }
}

/** Node runs a longer timer immediately. */
const LONGEST_TIMER_MS = 2 ** 31 - 1

export const timerMs = (milliseconds: number): number => Math.min(milliseconds, LONGEST_TIMER_MS)
