/** The public types of `cache.ensure()`. */

import type { Limits, RestoreResult } from '../archives/contract.js'

/** What to ensure, where, and how to build it. */
export interface EnsureOptions {
  /** Identifies the inputs of the build: a hash of the lock file, the platform, the version of the runtime. At most 512 bytes. Callers with another fingerprint build for themselves. */
  fingerprint: string
  /** Absolute path of the tree. Unchanged after every outcome that is not a success. */
  into: string
  /**
   * Builds the tree into `dir`, never into `into`. It can be called a second time: a build whose lease was lost does not
   * count, and the call waits for the caller that took over.
   */
  build(context: EnsureBuild): unknown
  /** How long the call coordinates with other callers; Infinity allowed. Then it builds alone. A build that has begun is not interrupted. @default Infinity */
  deadlineMs?: number
  /** Limit of the restore. @default 120_000 */
  restoreDeadlineMs?: number
  /** Limit of packing and uploading what was built. @default 120_000 */
  uploadDeadlineMs?: number
  /** How long the record of a builder may stay unchanged; it is renewed every third of it. At least 1_000, at most 600_000. @default 30_000 */
  ttlMs?: number
  /** Whether a failed build also fails the callers that waited for it ('share'), or one of them builds again ('retry'). @default 'share' */
  onFailure?: 'share' | 'retry'
  /**
   * What to do with the target directory: 'if-empty' refuses a target with other entries, 'replace' replaces it as a
   * whole. @default 'if-empty'
   */
  mode?: 'if-empty' | 'replace'
  /** Compression level, -7 to 19. @default 3 */
  level?: number
  /**
   * Which symbolic links are created: those that stay inside the tree, all relative ones, all, or none. A tree with any
   * other link is refused. @default 'contained'
   */
  symlinks?: 'contained' | 'relative' | 'verbatim' | 'reject'
  /** Limits on what the tree may contain. */
  limits?: Limits
  /** Connections at the same time. @default 8 */
  concurrency?: number
  /** How long a connection that is waited for may be silent. @default 3_000 */
  idleMs?: number
  /** Least throughput of a transfer over a window of `idleMs`; 0 is off. @default 0 */
  minBytesPerSecond?: number
  /** How often one request of a transfer may be tried. @default 3 */
  attempts?: number
  /** Stops the wait and the build. The call rejects when the build has ended. */
  signal?: AbortSignal
  /** Called when the call begins to wait or to build, while it waits, and when it loses its lease. */
  onEvent?(event: EnsureEvent): void
}

/** What a build gets. */
export interface EnsureBuild {
  /** An empty directory on the filesystem of `into`. */
  readonly dir: string
  /** The lease of this build. */
  readonly lock: EnsureLock
  /** Aborts when the lease is lost, before another caller can have taken over, and when the caller aborts. The call waits until the build has ended. */
  readonly signal: AbortSignal
  /** Why the tree will not be published, for a build without coordination. */
  readonly alone?: string
}

/** The lease of a build. */
export interface EnsureLock {
  /** Shows `phase` to the callers that wait. The next renewal writes it. Throws ERR_LOCK_LOST if the lease is lost or the build has ended. */
  progress(phase: string): void
  /** Throws ERR_LOCK_LOST if the lease is lost or the build has ended. */
  assertHeld(): void
}

/** What happens during a call: another caller builds, this caller builds, or the lease of its build was lost. */
export type EnsureEvent =
  | {
      kind: 'waiting'
      holder: { host: string; pid: number }
      /** What the builder passed to `lock.progress()`, or 'upload'; empty before. */
      phase: string
      waitedMs: number
      /** Time until this caller takes over if the builder stays silent. */
      leaseLeftMs: number
    }
  | { kind: 'building'; dir: string; alone?: string }
  | { kind: 'lost' }

/** How a caller got its tree. */
export interface EnsureResult {
  /**
   * - 'restored': another caller built it, now or earlier.
   * - 'built': this caller built and published it.
   * - 'alone': this caller built it, and it was not published. `reason` says why.
   */
  role: 'restored' | 'built' | 'alone'
  /** Human-readable. */
  reason?: string
  /** Absent for 'alone'. */
  generation?: string
  /** The restore, for 'restored'. */
  restore?: RestoreResult
  /** Milliseconds of the call. */
  ms: number
}
