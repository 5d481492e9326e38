/** One clock for all processes of a machine: process.hrtime is CLOCK_MONOTONIC (mach_absolute_time on macOS), which they share; performance.now() starts at 0 in each. */

/** Milliseconds of the monotonic clock. */
export function now(): number {
  return Number(process.hrtime.bigint()) / 1e6
}

/** Resolves after `ms`; rejects with the signal's reason when it is aborted before. */
export function sleep(ms: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal?.aborted) return reject(signal.reason)
    const timer = setTimeout(() => {
      signal?.removeEventListener('abort', stop)
      resolve()
    }, ms)
    const stop = (): void => {
      clearTimeout(timer)
      reject(signal?.reason)
    }
    signal?.addEventListener('abort', stop, { once: true })
  })
}

/** Timers fire late, by a millisecond or more: the rest of the time is spent in turns of the event loop. */
const TIMER_SLACK_MS = 2

export async function sleepUntil(at: number, signal?: AbortSignal): Promise<void> {
  const rest = at - now() - TIMER_SLACK_MS
  if (rest > 0) await sleep(rest, signal)
  while (now() < at) await new Promise((resolve) => setImmediate(resolve))
}
