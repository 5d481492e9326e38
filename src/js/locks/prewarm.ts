/**
 * Single flight with takeover: exactly one of the processes that need a result produces it. If that process dies,
 * exactly one other does.
 */

import type { NativeLock } from '../native/binding.cjs'
import { messageOf } from '../native/callbacks.js'
import { invalidArgument, WarmswapError } from '../native/errors.js'
import { unwrap } from '../native/native.js'
import * as validate from '../native/validate.js'
import { type AcquiredLock, acquireChecked } from './acquire.js'
import type { Lock, LockOptions } from './contract.js'
import type { Holder } from './holder.js'
import { checkLockOptions } from './options.js'

/** The result that several processes need and one produces. */
// biome-ignore lint/complexity/noBannedTypes: every value but undefined, which means 'not ready'.
export interface PrewarmJob<T extends {} | null> {
  /**
   * Returns the result if it exists. `undefined` and `false` mean that it is not ready, so `() => existsSync(path)`
   * works; `null` is a result. After `run()` has resolved, `isReady()` must return a result, otherwise `prewarm()`
   * rejects with ERR_NOT_READY.
   */
  isReady(): Promise<T | undefined | false> | T | undefined | false
  /** Produces the result. Called by one caller at a time, which holds `lock`. */
  run(lock: Lock): Promise<T> | T
}

/** The result, and how this call obtained it. */
export interface Prewarmed<T> {
  /** What `isReady()` or `run()` returned. */
  value: T
  /** Whether this call ran the job, or found its result. */
  role: 'ran' | 'reused'
  /** Time in milliseconds that this call waited for the lock. */
  waitedMs: number
  /** The dead process that ran the job before. Check for incomplete work that it left. */
  tookOverFrom: Holder | null
}

/**
 * Returns the result of `job.isReady()`. If there is none, exactly one of the concurrent callers in all processes runs
 * `job.run()`, and the others wait. If the process that runs it dies, exactly one waiter runs it again; no call fails
 * because of that.
 *
 * @param path Path of the lock that the callers share.
 * @param job How to find and how to produce the result.
 * @param options Options of the lock, and `onFailure`.
 * @returns The result, and how this call obtained it.
 * @throws What `run` threw. Callers that waited for that run reject with its message (with 'share'). ERR_NOT_READY if
 * `run` resolved and `isReady` still returns nothing. Otherwise the same errors as `acquireLock()`.
 */
// biome-ignore lint/complexity/noBannedTypes: every value but undefined, which means 'not ready'.
export async function prewarm<T extends {} | null>(
  path: string,
  job: PrewarmJob<T>,
  options: LockOptions & {
    /** Whether a failed run also fails the callers that waited for it, or one of them runs again. @default 'share' */
    onFailure?: 'share' | 'retry'
  } = {},
): Promise<Prewarmed<T>> {
  const checked = checkLockOptions(path, options, 'options', ['onFailure'])
  const onFailure = validate.oneOf('options.onFailure', options.onFailure ?? 'share', ['share', 'retry'])
  checkJob(job)

  const early = await job.isReady()
  if (isValue(early)) return { value: early, role: 'reused', waitedMs: 0, tookOverFrom: null }

  const started = performance.now()
  const acquired = await acquireChecked(checked)
  const waitedMs = performance.now() - started
  try {
    // The previous holder may have produced the result. Only while the lock is held is it certain that no process is
    // producing it.
    const ready = await job.isReady()
    if (isValue(ready)) return { value: ready, role: 'reused', waitedMs, tookOverFrom: acquired.lock.tookOverFrom }
    if (onFailure === 'share') throwFailureWaitedFor(acquired.native, path)
    const value = await runOnce(job, acquired, path)
    return { value, role: 'ran', waitedMs, tookOverFrom: acquired.lock.tookOverFrom }
  } finally {
    acquired.lock.release()
  }
}

function checkJob(job: unknown): void {
  if (typeof job !== 'object' || job === null) throw invalidArgument('job', job, 'an object with isReady and run')
  const { isReady, run } = job as Record<string, unknown>
  validate.callback('job.isReady', isReady)
  validate.callback('job.run', run)
}

/** Whether `isReady()` returned a result. */
function isValue<T>(answer: T | undefined | false): answer is T {
  return answer !== undefined && answer !== false
}

// biome-ignore lint/complexity/noBannedTypes: every value but undefined, which means 'not ready'.
async function runOnce<T extends {} | null>(
  job: PrewarmJob<T>,
  { lock, native }: AcquiredLock,
  path: string,
): Promise<T> {
  try {
    const value = await job.run(lock)
    const ready = await job.isReady()
    if (!isValue(ready))
      throw new WarmswapError(
        'ERR_NOT_READY',
        `job.run() for '${path}' resolved, and job.isReady() still returns ${ready}: run() must leave the result that isReady() checks for`,
        { path },
      )
    return value
  } catch (error) {
    // The lock's record carries the message to the waiters. Only the first release is recorded.
    unwrap(native.release(messageOf(error)))
    throw error
  }
}

/**
 * A run that began before this call and has failed since is also a failure of this call. One that failed earlier is
 * not.
 */
function throwFailureWaitedFor(native: NativeLock, path: string): void {
  if (native.failure == null || native.waitedSince == null) return
  const { generation, message } = JSON.parse(native.failure) as { generation: number; message: string }
  if (native.waitedSince <= generation)
    throw new Error(message, {
      cause: new Error(`the run of generation ${generation} under the lock '${path}' failed in another caller`),
    })
}
