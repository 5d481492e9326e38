/** The public types of locks. */

import type { Holder, Liveness } from './holder.js'

export interface LockOptions {
  /** 'auto' decides by filesystem type before any lock call. @default 'auto' */
  mode?: 'auto' | 'kernel' | 'lease'
  /** Infinity allowed; 0 is one try. @default Infinity */
  timeoutMs?: number
  /** How long the record may stay unchanged; it is renewed every third of it. @default 30_000 */
  leaseTtlMs?: number
  /** Unverifiable foreign holder, measured as locally observed non-change. @default 600_000 */
  foreignStaleMs?: number
  /** JSON that others see in {@link Holder}; at most 32 KiB of it. */
  metadata?: Record<string, unknown>
  /** The lock outlives this process as long as a child started with `lock.childEnv()` and `lock.childFd()` lives. @default false */
  coverChildren?: boolean
  signal?: AbortSignal
  /** Without it, one process warning after 10 s says who is waited for, also when it is this very thread. First call within 100 ms of blocking, then on each change of holder or progress and every 10 s. */
  onWait?(info: { path: string; waitedMs: number; holder: Holder | null; liveness: Liveness }): void
}

/** A lock that is held. */
export interface Lock extends Disposable {
  readonly path: string
  readonly token: string
  /** Fencing token: grows with each acquisition of this path, also after the lock's files were deleted. */
  readonly generation: number
  readonly mode: 'kernel' | 'lease'
  /** The dead holder whose lock this was: an orphan's leftovers may need cleaning. */
  readonly tookOverFrom: Holder | null
  /** Aborts when the lock is lost. */
  readonly signal: AbortSignal
  /** Throws ERR_LOCK_LOST unless the lock is held. */
  assertHeld(): void
  /** Publishes `phase` as `holder.progress`, for waiters and `inspectLock()`. Throws ERR_LOCK_LOST unless the lock is held. */
  progress(phase: string): void
  /** Fenced atomic rename: refused with ERR_FENCED once a later generation exists. */
  publish(from: string, to: string): Promise<void>
  /** WARMSWAP_LOCK and its generation, for {@link publishFenced} in a child. */
  childEnv(): Record<string, string>
  /** With coverChildren: pass it in `stdio`. */
  childFd(): number
  /** Idempotent, synchronous; dispose calls it. */
  release(): { released: boolean; reason?: 'lost' }
}

export interface SweepLocksOptions extends AnswerOptions {
  /**
   * Guard, records and spare of a lock are removed if nobody has used the lock for this time. In milliseconds; Infinity keeps
   * them. Locks in lease mode keep theirs. @default 86_400_000, one day
   */
  unusedMs?: number
}

/** How long a call waits for a filesystem that does not answer, and what ends the wait. */
export interface AnswerOptions {
  signal?: AbortSignal
  /** Rejects with ERR_TIMEOUT after so long; Infinity allowed. The work itself stays behind until the filesystem answers. @default 30_000 */
  timeoutMs?: number
}
