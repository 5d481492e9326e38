/** Orphan-aware locks: a killed holder never blocks another process, and a live holder never loses its lock. */

import { abortable } from '../native/abort.js'
import { invalidArgument, isWarmswapError } from '../native/errors.js'
import { native, unwrap } from '../native/native.js'
import * as validate from '../native/validate.js'
import { acquireChecked } from './acquire.js'
import { Call, listener } from './call.js'
import type { AnswerOptions, Lock, LockOptions, SweepLocksOptions } from './contract.js'
import type { Holder, Liveness } from './holder.js'
import { checkAnswerOptions, checkLockOptions, checkSweepOptions } from './options.js'

/**
 * Acquires a lock, waiting up to `timeoutMs`.
 *
 * The lock is a directory at `path`, which exists while the lock is held or after a holder was killed. Its parent is
 * created. If a directory already exists at `path`, it is taken over only if it is empty, or contains nothing but the
 * `owner.json` of a dead holder. To lock an existing folder, lock `${folder}.lock`.
 *
 * @param path Path of the lock: a name that is not used for anything else.
 * @param options Longest wait, signal, mode and the events of the wait.
 * @returns The lock. Release it with `release()` or `using`.
 * @throws {WarmswapError} ERR_LOCK_TIMEOUT (with `holder`) if the lock is not free in time. ERR_INVALID_ARGUMENT if
 * `path` is an ordinary folder, a file or a link. ERR_UNTRUSTED if an entry of another user has a name that the lock
 * needs. ERR_UNSUPPORTED if the filesystem does not support an option. ERR_IO if a system call fails. Aborting rejects
 * with the signal's reason.
 *
 * @example
 * const lock = await acquireLock('.cache/build.lock', { timeoutMs: 10_000 })
 * try { await build() } finally { lock.release() }
 */
export async function acquireLock(path: string, options?: LockOptions): Promise<Lock> {
  return (await acquireChecked(checkLockOptions(path, options))).lock
}

/**
 * Acquires the lock if it is free now. Returns `null` if another holder has it.
 *
 * Rejects with ERR_LOCK_TIMEOUT and a `cause` if the filesystem does not answer within 3 s: then it is not known whether
 * the lock is free. Rejects like {@link acquireLock} otherwise.
 *
 * @param path Path of the lock.
 * @param options Signal and mode.
 * @returns The lock, or `null`.
 */
export async function tryLock(path: string, options?: Omit<LockOptions, 'timeoutMs' | 'onWait'>): Promise<Lock | null> {
  const checked = checkLockOptions(path, options)
  checked.native.timeoutMs = 0
  try {
    return (await acquireChecked(checked)).lock
  } catch (error) {
    // With a cause nothing is known of the lock: the call has not read its files in time.
    if (isWarmswapError(error) && error.code === 'ERR_LOCK_TIMEOUT' && error.cause === undefined) return null
    throw error
  }
}

/**
 * Runs a task while holding the lock, and releases the lock when the task has ended or failed.
 *
 * @param path Path of the lock.
 * @param task Gets the lock. It is not stopped when the lock is lost: use `lock.signal` for that.
 * @param options Longest wait, signal, mode and the events of the wait.
 * @returns What the task returned.
 * @throws What the task threw. Otherwise the same errors as `acquireLock()`.
 */
export async function withLock<T>(
  path: string,
  task: (lock: Lock) => T | Promise<T>,
  options?: LockOptions,
): Promise<T> {
  const checked = checkLockOptions(path, options)
  validate.callback('task', task)
  const { lock } = await acquireChecked(checked)
  try {
    return await task(lock)
  } finally {
    lock.release()
  }
}

/**
 * Inspects a lock without acquiring or deleting anything. `held` means alive or unknown; a dead holder is `held: false`
 * with `holder` set. `warning` is set if `path` is an ordinary folder that cannot be locked, or holds files that are not a
 * lock's.
 *
 * @param path Path of the lock.
 * @param options Time limit and signal.
 * @throws {WarmswapError} ERR_TIMEOUT if the filesystem does not answer within `timeoutMs`. Aborting rejects with the
 * signal's reason.
 */
export async function inspectLock(
  path: string,
  options?: AnswerOptions,
): Promise<{
  path: string
  held: boolean
  holder: Holder | null
  liveness: Liveness | null
  ageMs: number | null
  warning: string | null
}> {
  const lock = validate.absolutePath('path', path)
  const { signal, timeoutMs } = checkAnswerOptions(options)
  const { held, holder, liveness, ageMs, warning } = await abortable(signal, (token) =>
    native().inspectLock(lock, timeoutMs, token),
  )
  return {
    path,
    held,
    holder: holder == null ? null : (JSON.parse(holder) as Holder),
    liveness: liveness ?? null,
    ageMs: ageMs ?? null,
    warning: warning ?? null,
  }
}

/**
 * Waits until the lock has no holder. Does not acquire it, but removes the files of a holder that is proven dead.
 *
 * @param path Path of the lock.
 * @param options Longest wait, signal and the events of the wait.
 * @returns `waitedMs`: time of the wait in milliseconds. `orphaned`: whether the last holder had died.
 * @throws {WarmswapError} The same errors as `acquireLock()`.
 */
export async function waitForLock(
  path: string,
  options?: LockOptions,
): Promise<{ waitedMs: number; orphaned: boolean }> {
  const checked = checkLockOptions(path, options)
  const started = performance.now()
  const call = new Call(checked)
  try {
    const orphaned = await call.run((options, token) => native().waitForLock(checked.path, options, listener(), token))
    return { waitedMs: performance.now() - started, orphaned }
  } finally {
    call.close()
  }
}

/**
 * Removes the files that killed processes left in a directory of locks, and the files of locks that no process has used
 * for `unusedMs` (`.name.guard`, `.name.lease`, `.name.spare`). Never removes files of a live process: the sweep
 * acquires a lock before it removes the lock's files, and a concurrent `acquireLock()` waits for the sweep.
 *
 * Only entries whose content proves that this library created them are removed. In a directory that all users may write
 * to, only those of this user, of root or of the directory's owner are removed.
 *
 * After the files of a lock were removed, `publishFenced()` refuses the generations of its earlier holders, and later
 * generations are larger.
 *
 * @param directory Directory that contains the locks.
 * @param options Age of unused files, time limit and signal.
 * @returns `removed`: paths that no longer exist. `held`: locks whose holders are alive or unknown.
 * @throws {WarmswapError} ERR_TIMEOUT if the sweep takes longer than `timeoutMs`; it continues in the background.
 * Aborting rejects with the signal's reason.
 */
export async function sweepLocks(
  directory: string,
  options?: SweepLocksOptions,
): Promise<{ removed: string[]; held: string[] }> {
  const path = validate.absolutePath('directory', directory)
  const { signal, timeoutMs, unusedMs } = checkSweepOptions(options)
  return await abortable(signal, (token) => native().sweepLocks(path, unusedMs, timeoutMs, token))
}

/**
 * Does the same as `lock.publish()`, in a child that was started with `childEnv()`: renames a file or directory
 * atomically, unless a later holder has already published.
 *
 * @param lock Path and fencing token of the lock.
 * @param from Path of the file or directory.
 * @param to Path that it gets, on the same filesystem.
 * @throws {WarmswapError} ERR_FENCED if a later holder has already published, ERR_IO if a system call fails.
 */
export async function publishFenced(
  lock: {
    /** Path of the lock: `process.env.WARMSWAP_LOCK` in the child. */
    path: string
    /** Fencing token of the holder. */
    generation: number
  },
  from: string,
  to: string,
): Promise<void> {
  if (typeof lock !== 'object' || lock === null)
    throw invalidArgument('lock', lock, 'an object with path and generation')
  const path = validate.absolutePath('lock.path', lock.path)
  const generation = validate.wholeNumber('lock.generation', lock.generation)
  unwrap(
    await native().publishFenced(
      path,
      generation,
      validate.absolutePath('from', from),
      validate.absolutePath('to', to),
    ),
  )
}
