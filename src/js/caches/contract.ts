/** The public types of caches. */

import type { EnsureOptions, EnsureResult } from './ensure-contract.js'
import type { Limits, Preset, Progress, RestoreOutcome, RestoreResult } from '../archives/contract.js'

/** How much time and patience a call has. */
export interface Budget {
  /** The whole call, hard: credentials, retries, decoding, disk and commit included. @default 15_000 for restore, 120_000 for snapshot, 30_000 for the others */
  deadlineMs?: number
  /** How long a connection that is waited for may be silent. @default 3_000 */
  idleMs?: number
  /** Least throughput over a window of `idleMs` while the network is waited for; 0 is off. @default 0 */
  minBytesPerSecond?: number
  /** How often one request may be tried, inside the deadline. @default 3 */
  attempts?: number
  /** Stops the work, not only the promise. After the commit has begun it is ignored. */
  signal?: AbortSignal
}

/** How a snapshot ended. */
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

/** What a snapshot did. */
export interface SnapshotResult {
  ok: boolean
  outcome: SnapshotOutcome
  /**
   * Human-readable: why it is not ok; or what a restore of it needs because the defaults refuse it, such as
   * `symlinks: 'relative'` or `limits.maxRatio of 26000`.
   */
  reason?: string
  generation?: string
  files: number
  bytes: number
  compressedBytes: number
  /** Bytes that were sent, repetitions included; 0 for 'unchanged'. */
  uploadedBytes: number
  /** What was left out, and why. */
  skipped: { path: string; why: string }[]
  /** 'none' if writes were not conditional, so that the later one of two concurrent writers wins. */
  guard: 'etag' | 'none'
  timings: Record<string, number>
}

/** Where a tree goes and what is accepted. */
export interface RestoreOptions extends Budget {
  key: string
  /** Tried in turn where nothing is under `key`, or nothing that can be used. */
  fallbackKeys?: string[]
  /** Absolute; made if it is absent. A symbolic link is followed to the directory that it leads to. */
  into: string
  /** 'if-empty' refuses a target with entries, 'replace' exchanges it, 'merge' adds and never overwrites. @default 'if-empty' */
  mode?: 'if-empty' | 'replace' | 'merge'
  symlinks?: 'contained' | 'relative' | 'verbatim' | 'reject'
  /** What happens to a path that the archive has twice: the last entry replaces the earlier one, or the archive is refused. @default 'replace' */
  duplicates?: 'replace' | 'reject'
  /** What the snapshot's machine must have been; anything else is 'incompatible'. */
  expect?: { platform?: string; arch?: string; libc?: string; fingerprint?: string }
  limits?: Limits
  /** Connections at once. @default 8 */
  concurrency?: number
  /** Throw where `ok` would be false. @default false */
  strict?: boolean
  onProgress?(progress: Progress): void
}

/** What becomes a generation, and what must not. */
export interface SnapshotOptions extends Budget {
  key: string
  /** Absolute. A symbolic link is followed to the directory that it leads to. */
  from: string
  /** Of the restore that this snapshot builds on: it may only replace what that restore saw. */
  ticket?: string
  /** Globs of what stays out. */
  exclude?: string[]
  preset?: Preset
  /** Recorded with the generation, for `expect.fingerprint` of a restore; such as a hash of the lock file. At most 512 bytes. */
  fingerprint?: string
  guard?: {
    /** @default 1 */
    minFiles?: number
    /** @default 1 */
    minBytes?: number
    /** Largest share of files or bytes that may be missing against the current generation. @default 0.5 */
    maxShrink?: number
    /** @default false */
    allowShrink?: boolean
  }
  /** Wait until the tree has been unchanged this long (the 'dependencies are ready' signal). 0 is off. @default 0 */
  quietMs?: number
  /** false for a daemon that must be able to exit while the snapshot runs detached. @default true */
  keepProcessAlive?: boolean
  /** Of the compression. @default 3 */
  level?: number
  limits?: Limits
  strict?: boolean
  onProgress?(progress: Progress): void
}

/** A store and the calls on it. All of them resolve with an outcome whatever the world does. */
export interface Cache extends AsyncDisposable {
  /** Never rejects for anything the world does: resolves with an outcome. `strict: true` throws instead. */
  restore(options: RestoreOptions): Promise<RestoreResult>
  /** A key that ends in .tar, .tgz, .tar.gz or .tar.zst is one object, read and written as such (conditionally); any other key is a pointer and immutable blobs. */
  snapshot(options: SnapshotOptions): Promise<SnapshotResult>
  /**
   * Restores the tree of this fingerprint; or exactly one of all callers builds and publishes it while the others wait,
   * then restore. Needs a store with conditional writes; with another store, and after `deadlineMs`, it builds alone.
   *
   * Rejects with what `build` threw, or with its message for a caller that waited for that build; with the reason of an
   * aborted signal; with ERR_UNSUPPORTED or ERR_IO and an `outcome` if the tree cannot be written to `into`.
   */
  ensure(key: string, options: EnsureOptions): Promise<EnsureResult>
  /** What a key holds; null where there is nothing. Rejects where the store cannot say. */
  inspect(key: string, budget?: Budget): Promise<CacheInfo | null>
  /** Removes generations that nobody needs: keeps the current one and the `keep - 1` newest others, and everything younger than `olderThanMs` (@default 3_600_000, because a snapshot may be about to point to it). */
  prune(
    options: Budget & { key: string; keep?: number; olderThanMs?: number },
  ): Promise<{ removed: string[]; outcome: 'pruned' | RestoreOutcome; reason?: string }>
  /** Removes the key and all its objects (a site was deleted). */
  remove(key: string, budget?: Budget): Promise<{ outcome: 'removed' | RestoreOutcome; reason?: string }>
  /** Finds out what the store can do, with small objects that it removes again. All are false for a cache without a store or with `readOnly`; `writable` is false if a policy denies the write. Rejects with `outcome` 'denied' if the store does not accept the credentials, and with another outcome if it cannot say. */
  probe(
    budget?: Budget,
  ): Promise<{ conditionalPut: boolean; conditionalMultipart: boolean; ranged: boolean; writable: boolean }>
  /** Waits for the calls that run; later ones reject with ERR_CLOSED. */
  close(): Promise<void>
}

/** What a key holds. */
export interface CacheInfo {
  generation: string
  files: number
  bytes: number
  compressedBytes: number
  createdAt: string
  producer: Record<string, string>
}
