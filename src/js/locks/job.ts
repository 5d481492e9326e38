/** The job of `prewarm()`: what it is, and one run of it. */

import { invalidArgument, WarmswapError } from '../native/errors.js'
import * as validate from '../native/validate.js'
import type { Lock } from './contract.js'
import type { Holder } from './holder.js'

/** The result that several processes need and one produces. `run` gets a {@link Lock}, or a {@link StoreLock} if the callers coordinate over a store. */
// biome-ignore lint/complexity/noBannedTypes: every value but undefined, which means 'not ready'.
export interface PrewarmJob<T extends {} | null, Held = Lock> {
  /**
   * Returns the result if it exists. `undefined` and `false` mean that it is not ready, so `() => existsSync(path)`
   * works; `null` is a result. After `run()` has resolved, `isReady()` must return a result, otherwise `prewarm()`
   * rejects with ERR_NOT_READY.
   */
  isReady(): Promise<T | undefined | false> | T | undefined | false
  /** Produces the result, and leaves it where `isReady()` finds it. */
  run(lock: Held): Promise<T> | T
}

/** The result, and how this call obtained it. */
export interface Prewarmed<T> {
  /** What `isReady()` or `run()` returned. */
  value: T
  /** 'ran' if this call ran the job, 'reused' if the result was there or another caller produced it. */
  role: 'ran' | 'reused'
  /** Milliseconds that the call waited for other callers. */
  waitedMs: number
  /** The dead process that ran the job before. Check for incomplete work that it left. */
  tookOverFrom: Holder | null
}

export function checkJob(job: unknown): void {
  if (typeof job !== 'object' || job === null) throw invalidArgument('job', job, 'an object with isReady and run')
  const { isReady, run } = job as Record<string, unknown>
  validate.callback('job.isReady', isReady)
  validate.callback('job.run', run)
}

/** Whether `isReady()` returned a result. */
export function isValue<T>(answer: T | undefined | false): answer is T {
  return answer !== undefined && answer !== false
}

/** The answer of `isReady()` of a caller that holds nothing. A check that hangs does not outlive the caller's signal. */
export async function untilAborted<T>(answer: Promise<T> | T, signal: AbortSignal | undefined): Promise<T> {
  if (signal === undefined) return await answer
  let stop = (): void => {}
  const aborted = new Promise<never>((_, reject) => {
    stop = () => reject(signal.reason)
    signal.addEventListener('abort', stop, { once: true })
    if (signal.aborted) stop()
  })
  try {
    return await Promise.race([answer, aborted])
  } finally {
    signal.removeEventListener('abort', stop)
  }
}

/** Runs the job and requires that it left its result. */
// biome-ignore lint/complexity/noBannedTypes: every value but undefined, which means 'not ready'.
export async function runJob<T extends {} | null, Held>(
  job: PrewarmJob<T, Held>,
  lock: Held,
  path: string,
): Promise<T> {
  const value = await job.run(lock)
  const ready = await job.isReady()
  if (!isValue(ready))
    throw new WarmswapError(
      'ERR_NOT_READY',
      `job.run() for '${path}' resolved, and job.isReady() still returns ${ready}: run() must leave the result that isReady() checks for`,
      { path },
    )
  return value
}
