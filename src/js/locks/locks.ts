/** Orphan-aware locks: a killed holder never blocks anybody, a living one is never robbed. */

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
 * Acquires a lock, waiting for it up to `timeoutMs`. `path` is the lock directory itself: any name that is not in use.
 * Its parent is made. The directory exists while the lock is held, or was left by a dead holder.
 *
 * A directory that is already at `path` is only taken over if it is empty, or holds nothing but the `owner.json` of a
 * dead holder. To lock an existing folder, lock `${folder}.lock`.
 *
 * Rejects with ERR_LOCK_TIMEOUT (with `holder`), with the signal's reason, with ERR_INVALID_ARGUMENT if `path` is an
 * ordinary folder, a file or a link, with ERR_UNTRUSTED if another user's entry holds a name that the lock needs, with
 * ERR_UNSUPPORTED if the filesystem cannot give what was asked for, with ERR_IO.
 */
export async function acquireLock(path: string, options?: LockOptions): Promise<Lock> {
  return (await acquireChecked(checkLockOptions(path, options))).lock
}

/**
 * Acquires the lock if it is free now. Returns `null` if another holder has it.
 *
 * Rejects with ERR_LOCK_TIMEOUT and a `cause` if the filesystem does not answer within 3 s: then it is not known whether
 * the lock is free. Rejects like {@link acquireLock} otherwise.
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

/** Runs a task under the lock, and gives it back however the task ends. */
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
 * Rejects with ERR_TIMEOUT if the filesystem does not answer within `timeoutMs`, and with the signal's reason.
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

/** Waits until nobody holds the lock. Acquires nothing, but removes what a provably dead holder left. */
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
 * Removes what killed processes left in a directory of locks, and the files of locks that nobody has used for `unusedMs`
 * (`.name.guard`, `.name.lease`, `.name.spare`). Never removes what a live process has: the sweep acquires a lock before it
 * removes its files, and a concurrent `acquireLock()` waits for it. Only entries whose content proves that this library made
 * them are removed, and in a directory that everybody may write to only those of this user, of root or of the directory's
 * owner.
 *
 * `removed` has the paths that no longer exist, `held` the locks whose holders are alive or unknown. After the files of a lock
 * were removed, `publishFenced()` refuses the generations of its earlier holders, and later generations are larger.
 *
 * Rejects with ERR_TIMEOUT if the sweep takes longer than `timeoutMs`, and with the signal's reason. The sweep itself
 * continues in the background.
 */
export async function sweepLocks(
  directory: string,
  options?: SweepLocksOptions,
): Promise<{ removed: string[]; held: string[] }> {
  const path = validate.absolutePath('directory', directory)
  const { signal, timeoutMs, unusedMs } = checkSweepOptions(options)
  return await abortable(signal, (token) => native().sweepLocks(path, unusedMs, timeoutMs, token))
}

/** What `lock.publish` does, for a child that was given `childEnv()`. */
export async function publishFenced(
  lock: { path: string; generation: number },
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
