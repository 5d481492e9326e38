/**
 * Single flight with takeover: exactly one of the processes that need a result produces it. If that process dies,
 * exactly one other does.
 */

import type {
  AzureLocation,
  FileLocation,
  GcsLocation,
  MemoryLocation,
  S3Location,
  StoreUrl,
} from '../caches/location-types.js'
import type { NativeLock } from '../native/binding.cjs'
import { messageOf } from '../native/callbacks.js'
import { unwrap } from '../native/native.js'
import * as validate from '../native/validate.js'
import { type AcquiredLock, acquireChecked } from './acquire.js'
import type { LockOptions, StoreLock } from './contract.js'
import { checkJob, isValue, type Prewarmed, type PrewarmJob, runJob, untilAborted } from './job.js'
import { checkLockOptions } from './options.js'
import { isStore, prewarmInStore } from './prewarm-store.js'

/** Options of `prewarm()`: those of a lock, and what a failed run means for the callers that waited for it. */
export type PrewarmOptions = LockOptions & {
  /**
   * Whether a failed run also fails the callers that waited for it ('share'), or one of them runs the job again
   * ('retry'). @default 'share'
   */
  onFailure?: 'share' | 'retry'
}

/** Options of `prewarm()` over a store. `leaseTtlMs` is at least 1000 and at most 600_000 there, `metadata` at most 4 KiB. */
export type StorePrewarmOptions = Omit<PrewarmOptions, 'mode' | 'foreignStaleMs' | 'coverChildren'>

/**
 * Returns the result of `job.isReady()`. If there is none, exactly one of the concurrent callers on any machine runs
 * `job.run()`, and the others wait. They coordinate with one object per key, below `<key>/.warmswap-ensure/`. The store
 * has to honour conditional writes. If the machine that runs it dies, exactly one waiter runs it again; no call fails
 * because of that.
 *
 * @param store A store and a key in it, such as 's3://bucket/prefix/key?region=…', or an object with the fields of a
 * store's location, whose `prefix` (`path` of a folder, `name` of a memory) ends with the key.
 * @param job How to find and how to produce the result.
 * @param options Longest wait, signal, lease time and `onFailure`.
 * @returns The result, and how this call obtained it.
 * @throws What `run` threw. Callers that waited for that run reject with its message (with 'share'). ERR_NOT_READY if
 * `run` resolved and `isReady` still returns nothing. ERR_UNSUPPORTED if the store does not honour conditional writes,
 * ERR_LOCK_TIMEOUT (with `holder`) if `timeoutMs` passed, and ERR_IO or ERR_TIMEOUT with `outcome` if it cannot be used.
 *
 * @example
 * const { value, role } = await prewarm('s3://bucket/templates/base?region=eu-central-1', {
 *   isReady: () => findTemplate(),
 *   run: ({ signal }) => buildTemplate({ signal }),
 * })
 */
// biome-ignore lint/complexity/noBannedTypes: every value but undefined, which means 'not ready'.
export function prewarm<T extends {} | null>(
  store: StoreUrl | S3Location | GcsLocation | AzureLocation | FileLocation | MemoryLocation,
  job: PrewarmJob<T, StoreLock>,
  options?: StorePrewarmOptions,
): Promise<Prewarmed<T>>
/**
 * Returns the result of `job.isReady()`. If there is none, exactly one of the concurrent callers in all processes runs
 * `job.run()`, and the others wait. If the process that runs it dies, exactly one waiter runs it again; no call fails
 * because of that.
 *
 * @param path Absolute path of the lock that the callers share.
 * @param job How to find and how to produce the result.
 * @param options Options of the lock, and `onFailure`.
 * @returns The result, and how this call obtained it.
 * @throws What `run` threw. Callers that waited for that run reject with its message (with 'share'). ERR_NOT_READY if
 * `run` resolved and `isReady` still returns nothing. Otherwise the same errors as `acquireLock()`.
 */
// biome-ignore lint/complexity/noBannedTypes: every value but undefined, which means 'not ready'.
export function prewarm<T extends {} | null>(
  path: string,
  job: PrewarmJob<T>,
  options?: PrewarmOptions,
): Promise<Prewarmed<T>>
// biome-ignore lint/complexity/noBannedTypes: every value but undefined, which means 'not ready'.
export async function prewarm<T extends {} | null>(
  place: unknown,
  job: PrewarmJob<T> | PrewarmJob<T, StoreLock>,
  options: PrewarmOptions = {},
): Promise<Prewarmed<T>> {
  if (isStore(place)) return await prewarmInStore(place, job as PrewarmJob<T, StoreLock>, options)
  return await prewarmUnderLock(place as string, job as PrewarmJob<T>, options)
}

// biome-ignore lint/complexity/noBannedTypes: every value but undefined, which means 'not ready'.
async function prewarmUnderLock<T extends {} | null>(
  path: string,
  job: PrewarmJob<T>,
  options: PrewarmOptions,
): Promise<Prewarmed<T>> {
  const checked = checkLockOptions(path, options, 'options', ['onFailure'])
  const onFailure = validate.oneOf('options.onFailure', options.onFailure ?? 'share', ['share', 'retry'])
  checkJob(job)

  const early = await untilAborted(job.isReady(), checked.signal)
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

// biome-ignore lint/complexity/noBannedTypes: every value but undefined, which means 'not ready'.
async function runOnce<T extends {} | null>(
  job: PrewarmJob<T>,
  { lock, native }: AcquiredLock,
  path: string,
): Promise<T> {
  try {
    return await runJob(job, lock, path)
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
