/** Single flight with takeover: of all processes that need a thing one makes it; if that one dies, one other does. */

import type { NativeLock } from '../native/binding.cjs'
import { messageOf } from '../native/callbacks.js'
import { invalidArgument, WarmswapError } from '../native/errors.js'
import { unwrap } from '../native/native.js'
import * as validate from '../native/validate.js'
import { type AcquiredLock, acquireChecked } from './acquire.js'
import type { Lock, LockOptions } from './contract.js'
import type { Holder } from './holder.js'
import { checkLockOptions } from './options.js'

/** The thing that many want and one makes. */
// biome-ignore lint/complexity/noBannedTypes: every value but undefined, which means 'not ready'.
export interface PrewarmJob<T extends {} | null> {
  /**
   * The value, if it is there. `undefined` and `false` mean that it is not ready, so `() => existsSync(path)` works; `null`
   * is a value. Once run() has resolved, isReady() must return a value, else prewarm() rejects with ERR_NOT_READY.
   */
  isReady(): Promise<T | undefined | false> | T | undefined | false
  run(lock: Lock): Promise<T> | T
}

/** The value, and how this call got it. */
export interface Prewarmed<T> {
  value: T
  role: 'ran' | 'reused'
  waitedMs: number
  /** The dead runner whose leftovers may need cleaning. */
  tookOverFrom: Holder | null
}

/**
 * `run` happens once; if its process dies exactly one waiter runs it again; nobody throws for that.
 *
 * Rejects with what `run` threw; for those who waited through that run ('share') with its message; with
 * ERR_NOT_READY where `run` resolved and `isReady` still says no; else like acquireLock.
 */
// biome-ignore lint/complexity/noBannedTypes: every value but undefined, which means 'not ready'.
export async function prewarm<T extends {} | null>(
  path: string,
  job: PrewarmJob<T>,
  options: LockOptions & { onFailure?: 'share' | 'retry' } = {},
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
    // Whoever had the lock before may have made it; only one who holds the lock can know that nobody is at it.
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

/** Whether isReady() answered with a value. */
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
        `job.run() for '${path}' resolved, and job.isReady() still answers ${ready}: run() must leave what isReady() looks for`,
        { path },
      )
    return value
  } catch (error) {
    // The record of the lock carries the message to those who wait; the first release counts.
    unwrap(native.release(messageOf(error)))
    throw error
  }
}

/** A run that began before we asked and failed since is our failure too; one that failed earlier is not. */
function throwFailureWaitedFor(native: NativeLock, path: string): void {
  if (native.failure == null || native.waitedSince == null) return
  const { generation, message } = JSON.parse(native.failure) as { generation: number; message: string }
  if (native.waitedSince <= generation)
    throw new Error(message, {
      cause: new Error(`the run of generation ${generation} under the lock '${path}' failed in another caller`),
    })
}
