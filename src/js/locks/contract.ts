/** The public types of locks. */

import type { Holder, Liveness } from './holder.js'

/** Options of the calls that acquire a lock. */
export interface LockOptions {
  /** How the lock is kept. 'auto' decides by filesystem type before any lock call. @default 'auto' */
  mode?: 'auto' | 'kernel' | 'lease'
  /** Longest wait in milliseconds. 0 tries once; Infinity never times out. @default Infinity */
  timeoutMs?: number
  /**
   * How long, in milliseconds, a lease's record may stay unchanged before the lease counts as expired. It is renewed
   * every third of this time. @default 30_000
   */
  leaseTtlMs?: number
  /**
   * How long, in milliseconds, the record of an unverifiable holder on another machine must stay unchanged, as observed
   * here, before the lock is taken over. @default 600_000
   */
  foreignStaleMs?: number
  /** JSON value that other processes see in {@link Holder}. At most 32 KiB. */
  metadata?: Record<string, unknown>
  /**
   * Keeps the lock beyond the end of this process, as long as a child lives that was started with `lock.childEnv()` and
   * `lock.childFd()`. @default false
   */
  coverChildren?: boolean
  /** Stops waiting. The call rejects with the signal's reason. An acquired lock is not affected. */
  signal?: AbortSignal
  /**
   * Called while the caller waits: first within 100 ms, then on each change of holder or progress, and every 10 s.
   * Without it, one process warning names the holder after 10 s, even if it is this thread.
   */
  onWait?(info: {
    /** Path of the lock. */
    path: string
    /** Time since the call began, in milliseconds. */
    waitedMs: number
    /** The current holder. `null` if it left no record. */
    holder: Holder | null
    /** Whether the holder is alive. 'unknown' if it cannot be checked from here. */
    liveness: Liveness
  }): void
}

/** A lock that is held. */
export interface Lock extends Disposable {
  /** Absolute path of the lock. */
  readonly path: string
  /** Random text that identifies this acquisition. */
  readonly token: string
  /** Fencing token. It grows with each acquisition of this path, even after the lock's files were deleted. */
  readonly generation: number
  /** How the lock is kept: by the kernel, or by a lease that is renewed. */
  readonly mode: 'kernel' | 'lease'
  /** The dead holder that this lock was taken over from. Check for incomplete work that it left. */
  readonly tookOverFrom: Holder | null
  /** Aborts when the lock is lost. */
  readonly signal: AbortSignal
  /** Throws ERR_LOCK_LOST unless the lock is held. */
  assertHeld(): void
  /**
   * Publishes `phase` as `holder.progress`, for waiters and `inspectLock()`. Throws ERR_LOCK_LOST unless the lock is
   * held.
   */
  progress(phase: string): void
  /** Renames a file or directory atomically. Fails with ERR_FENCED if a later holder has already published. */
  publish(from: string, to: string): Promise<void>
  /** Environment with WARMSWAP_LOCK and the lock's generation, for {@link publishFenced} in a child. */
  childEnv(): Record<string, string>
  /** Descriptor to pass in `stdio` of a child, with `coverChildren`. */
  childFd(): number
  /** Releases the lock. Synchronous; calling it again does nothing. Dispose calls it. */
  release(): { released: boolean; reason?: 'lost' }
}

/** The lease of a run whose callers coordinate over a store. It ends with the run. */
export interface StoreLock {
  /** The store and the key, as a URL without options. */
  readonly path: string
  /** Names this call in the record. */
  readonly token: string
  /**
   * Fencing token. It grows with each acquisition of this key, as long as its record is not deleted. Pass it to what the
   * run writes to, if that can refuse a lower number.
   */
  readonly generation: number
  /** Always 'lease': the record is renewed while the run lasts. */
  readonly mode: 'lease'
  /** The holder that did not renew its lease, and that this run was taken over from. Check for incomplete work that it left. */
  readonly tookOverFrom: Holder | null
  /** Aborts when the lease is lost, before another caller can have taken over. Its run then does not count. */
  readonly signal: AbortSignal
  /** Throws ERR_LOCK_LOST if the lease is lost. */
  assertHeld(): void
  /** Shows `phase` to the callers that wait, and in `warmswap lock why`. The next renewal writes it. Throws ERR_LOCK_LOST if the lease is lost. */
  progress(phase: string): void
}

/** Options of `sweepLocks()`. */
export interface SweepLocksOptions extends AnswerOptions {
  /**
   * Removes the files of locks (guard, records, spare) that no process has used for this many milliseconds. Infinity
   * keeps them. Files of locks in lease mode are always kept. @default 86_400_000 (one day)
   */
  unusedMs?: number
}

/** Time limit for a filesystem that does not respond, and a signal that ends the wait. */
export interface AnswerOptions {
  /** Stops waiting. The call rejects with the signal's reason. */
  signal?: AbortSignal
  /**
   * Longest wait in milliseconds; then the call rejects with ERR_TIMEOUT. Infinity is allowed. The operation itself
   * continues in the background until the filesystem responds. @default 30_000
   */
  timeoutMs?: number
}
