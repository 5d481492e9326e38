/** The public types of caches. */

import type { EnsureOptions, EnsureResult } from './ensure-contract.js'
import type { Limits, Preset, Progress, RestoreOutcome, RestoreResult } from '../archives/contract.js'

/** Time limits and retries of a call. */
export interface Budget {
  /**
   * Time limit in milliseconds for the whole call: credentials, retries, decoding, disk and commit included. @default 15_000 for restore, 120_000 for snapshot, 30_000 for the others
   */
  deadlineMs?: number
  /** How long, in milliseconds, a connection may be silent while data is awaited. @default 3_000 */
  idleMs?: number
  /**
   * Minimum throughput in bytes per second, measured over `idleMs` while the network is awaited. 0 is off. @default 0
   */
  minBytesPerSecond?: number
  /** Number of attempts for each request, within the deadline. @default 3 */
  attempts?: number
  /** Cancels the work, not only the promise. Ignored once the commit has begun. */
  signal?: AbortSignal
}

/** Outcome of a snapshot. */
export type SnapshotOutcome =
  | 'uploaded'
  | 'unchanged'
  | 'empty'
  | 'shrunk'
  | 'unguarded'
  | 'unstable'
  | 'superseded'
  | 'busy'
  | 'too-large'
  | 'disabled'
  | 'corrupt'
  | 'incompatible'
  | 'timeout'
  | 'aborted'
  | 'denied'
  | 'unavailable'
  | 'no-space'
  | 'error'

/** Result of a snapshot. */
export interface SnapshotResult {
  /** Whether the store has the tree: true for 'uploaded' and 'unchanged'. */
  ok: boolean
  /** How the call ended. */
  outcome: SnapshotOutcome
  /**
   * Human-readable. If `ok` is false, the reason. Otherwise which options a restore of this snapshot needs because the
   * defaults refuse it, such as `symlinks: 'relative'` or `limits.maxRatio of 26000`.
   */
  reason?: string
  /** The key's generation after the call, if `ok` is true. */
  generation?: string
  /** Number of files in the tree. */
  files: number
  /** Total size of these files in bytes. */
  bytes: number
  /** Size of the archive in bytes. */
  compressedBytes: number
  /** Bytes that were sent, retries included. 0 for 'unchanged'. */
  uploadedBytes: number
  /** Entries that are not in the snapshot, each with the reason. */
  skipped: { path: string; why: string }[]
  /** 'none' if writes were not conditional: the later one of two concurrent writers wins. */
  guard: 'etag' | 'none'
  /** Duration of each phase in milliseconds, and `total`. */
  timings: Record<string, number>
}

/** Target and conditions of a restore. */
export interface RestoreOptions extends Budget {
  /** Key whose tree is restored. */
  key: string
  /** Keys to try in order if `key` has no usable tree. */
  fallbackKeys?: string[]
  /** Absolute path of the target. It is created if it does not exist. A symbolic link is followed. */
  into: string
  /**
   * What to do with the target directory: 'if-empty' refuses a target that has entries, 'replace' replaces it, 'merge'
   * adds missing files and overwrites nothing. @default 'if-empty'
   */
  mode?: 'if-empty' | 'replace' | 'merge'
  /**
   * Which symbolic links are created: those that stay inside the tree, all relative ones, all, or none. A tree with any
   * other link is refused. @default 'contained'
   */
  symlinks?: 'contained' | 'relative' | 'verbatim' | 'reject'
  /**
   * What to do with a path that occurs twice in the archive: the last entry replaces the earlier one, or the archive is
   * refused. @default 'replace'
   */
  duplicates?: 'replace' | 'reject'
  /** Properties that the snapshot must have been recorded with. If one differs, the outcome is 'incompatible'. */
  expect?: {
    /** Value of `process.platform`. */
    platform?: string
    /** Value of `process.arch`. */
    arch?: string
    /** C library: 'glibc' or 'musl'. */
    libc?: string
    /** The `fingerprint` of the snapshot. */
    fingerprint?: string
  }
  /** Limits on what the tree may contain. A tree that exceeds one ends as 'refused'. */
  limits?: Limits
  /** Number of connections at the same time. @default 8 */
  concurrency?: number
  /** Whether to throw if `ok` would be false. @default false */
  strict?: boolean
  /** Called with the progress, at most ten times a second. */
  onProgress?(progress: Progress): void
}

/** Source and checks of a snapshot. */
export interface SnapshotOptions extends Budget {
  /** Key under which the tree is saved. */
  key: string
  /** Absolute path of the directory to save. A symbolic link is followed. */
  from: string
  /**
   * Ticket of the restore that this snapshot is based on. The snapshot replaces the key's tree only if it is still the
   * one that the restore read.
   */
  ticket?: string
  /** Glob patterns to exclude. */
  exclude?: string[]
  /** Kind of tree, which excludes further files. @default 'none' */
  preset?: Preset
  /**
   * Text recorded with the generation, for `expect.fingerprint` of a restore, such as a hash of the lock file. At most
   * 512 bytes.
   */
  fingerprint?: string
  /** Checks against saving an incomplete tree. */
  guard?: {
    /** Minimum number of files. Fewer end as 'empty'. @default 1 */
    minFiles?: number
    /** Minimum total size in bytes. Less ends as 'empty'. @default 1 */
    minBytes?: number
    /**
     * Largest allowed decrease of files or bytes compared with the current generation, from 0 to 1. A larger one ends
     * as 'shrunk'. @default 0.5
     */
    maxShrink?: number
    /** Whether to accept a tree that is much smaller than the current generation. @default false */
    allowShrink?: boolean
  }
  /**
   * Waits until the tree has been unchanged for this many milliseconds, as a sign that dependencies are complete. 0 is
   * off. @default 0
   */
  quietMs?: number
  /**
   * Whether the call keeps the process alive. Set it to false in a daemon that must be able to exit during a snapshot.
   * @default true
   */
  keepProcessAlive?: boolean
  /** Compression level, -7 to 19. @default 3 */
  level?: number
  /** Limits on what the tree may contain. A tree that exceeds one ends as 'too-large'. */
  limits?: Limits
  /** Whether to throw if `ok` would be false. @default false */
  strict?: boolean
  /** Called with the progress, at most ten times a second. */
  onProgress?(progress: Progress): void
}

/**
 * A cache: a store and the calls on it. Calls resolve with an outcome whatever happens on the network, on the disk or
 * in other processes.
 */
export interface Cache extends AsyncDisposable {
  /**
   * Restores the tree of a key into a directory. Never rejects because of the network, the disk or other processes:
   * resolves with an outcome. With `strict: true` it throws instead.
   */
  restore(options: RestoreOptions): Promise<RestoreResult>
  /**
   * Saves a directory under a key. A key that ends in .tar, .tgz, .tar.gz or .tar.zst is stored as one object, written
   * conditionally. Any other key is a pointer with immutable blobs.
   */
  snapshot(options: SnapshotOptions): Promise<SnapshotResult>
  /**
   * Restores the tree of this fingerprint. If there is none, exactly one of all callers builds and publishes it, while the
   * others wait and then restore it. Needs a store with conditional writes. With another store, and after `deadlineMs`, it
   * builds alone.
   *
   * Rejects with what `build` threw. A caller that waited for that build gets its message. An aborted signal rejects with
   * its reason. If the tree cannot be written to `into`, the error has an `outcome`.
   */
  ensure(key: string, options: EnsureOptions): Promise<EnsureResult>
  /** Returns what is stored under a key, or null if there is nothing. Rejects if the store cannot be read. */
  inspect(key: string, budget?: Budget): Promise<CacheInfo | null>
  /**
   * Removes generations of a key that are no longer needed. Keeps the current one, the `keep - 1` newest others, and
   * everything younger than `olderThanMs`. Resolves with the paths of the removed objects.
   */
  prune(
    options: Budget & {
      /** Key to prune. */
      key: string
      /** Number of generations to keep, the current one included. @default 2 */
      keep?: number
      /**
       * Generations younger than this many milliseconds are kept: a running snapshot may be about to refer to them.
       * @default 3_600_000
       */
      olderThanMs?: number
    },
  ): Promise<{ removed: string[]; outcome: 'pruned' | RestoreOutcome; reason?: string }>
  /** Removes a key and all its objects, for example when its site was deleted. */
  remove(key: string, budget?: Budget): Promise<{ outcome: 'removed' | RestoreOutcome; reason?: string }>
  /**
   * Probes what the store permits, with small objects that are removed again. All fields are false for a cache without
   * a store or with `readOnly`. `writable` is false if a policy denies the write. Rejects with `outcome` 'denied' if
   * the store refuses the credentials, and with another outcome if the probe fails.
   */
  probe(budget?: Budget): Promise<StoreAbilities>
  /**
   * Waits for the calls that run, and up to 5 s for their work in the background. That work removes a tree that was
   * replaced, and writes the tree manifest, a file next to the target that makes the next call faster. Later calls reject
   * with ERR_CLOSED.
   */
  close(): Promise<void>
}

/** What a store permits, as found by `probe()`. */
export interface StoreAbilities {
  /** Whether the store honours the conditions of a write: only if nothing exists, only if a version is unchanged. */
  conditionalPut: boolean
  /**
   * Whether at most one of eight simultaneous conditional writes of one object succeeded, in six races. `ensure()` and
   * `prewarm()` need it: with false, two callers can build at the same time. The races are not run for a folder, for
   * memory, and for Google and Azure at their own addresses, which guarantee it.
   */
  exclusiveWrites: boolean
  /** Whether the store honours the conditions of an object that is written in parts. */
  conditionalMultipart: boolean
  /** Whether a range request returns exactly the requested range. */
  ranged: boolean
  /** Whether these credentials may write. */
  writable: boolean
}

/** What is stored under a key. */
export interface CacheInfo {
  /** Name of the generation. */
  generation: string
  /** Number of files in the tree. */
  files: number
  /** Total size of these files in bytes. */
  bytes: number
  /** Size of the archive in the store, in bytes. */
  compressedBytes: number
  /** Time of the snapshot, in ISO 8601. */
  createdAt: string
  /** What is known about the process that made it: `tool`, `version`, `platform`, `arch`, `libc` and `fingerprint`. */
  producer: Record<string, string>
  /** Trust level that holds it, in a cache with `trust`. */
  level?: string
}
