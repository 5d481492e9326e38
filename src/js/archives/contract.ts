/** The public types of `pack()` and `unpack()`. Caches share them. */

/** Limits on what a reader accepts. All of them are counted during decoding; no header is trusted. */
export interface Limits {
  /** Total size of all files in bytes. @default 64 GiB */
  maxBytes?: number
  /** Number of entries in the archive. @default 5_000_000 */
  maxFiles?: number
  /** Size of one file in bytes. @default 64 GiB */
  maxFileBytes?: number
  /**
   * Highest ratio of decoded to compressed bytes. Checked once 64 MiB are decoded. Applies to the whole archive if its
   * size is known in advance (a path, or an object of a store), and otherwise to the bytes read so far. A file of zeros
   * reaches up to 33 000. A restore applies it to bytes that a signed pointer declares only if you set it. @default 1000
   */
  maxRatio?: number
  /** Memory in bytes for the decoder and its buffers. @default 192 MiB */
  maxMemoryBytes?: number
  /** Bytes that must stay free on the disk. @default 64 MiB */
  minFreeBytes?: number
}

/** Progress of a call. */
export interface Progress {
  /** What the call does now. */
  phase: 'credentials' | 'lookup' | 'download' | 'unpack' | 'pack' | 'upload' | 'commit'
  /** Number of files that were handled so far. */
  files: number
  /** Number of bytes that were handled so far. */
  bytes: number
  /** Bytes that the phase will handle in total. Absent while this is not known. */
  totalBytes?: number
}

/** Outcome of a restore. */
export type RestoreOutcome =
  | 'restored'
  | 'unchanged'
  | 'miss'
  | 'disabled'
  | 'timeout'
  | 'aborted'
  | 'corrupt'
  | 'refused'
  | 'incompatible'
  | 'target-not-empty'
  | 'busy'
  | 'no-space'
  | 'denied'
  | 'unavailable'
  | 'superseded'
  | 'error'

/**
 * Result of a restore. `ok` is true for 'restored' and 'unchanged'. After any other outcome the target is as it was
 * before.
 */
export interface RestoreResult {
  /** Whether the target has the complete tree: true for 'restored' and 'unchanged'. */
  ok: boolean
  /** How the call ended. */
  outcome: RestoreOutcome
  /** Human-readable reason, if `ok` is false. */
  reason?: string
  /** Key whose tree was restored: `key`, or one of `fallbackKeys`. Absent for `unpack()`. */
  key?: string
  /** Trust level that the tree was restored from, in a cache with `trust`. */
  level?: string
  /** Generation of the key that was restored. Absent for `unpack()`. */
  generation?: string
  /** Phase in which it failed, if `ok` is false. */
  stage?: 'credentials' | 'lookup' | 'download' | 'decode' | 'write' | 'commit'
  /** Number of files in the tree. */
  files: number
  /** Total size of these files in bytes. */
  bytes: number
  /** Size of the archive in bytes. */
  compressedBytes: number
  /** Number of entries that the target already had (mode 'merge'). */
  skippedFiles: number
  /** Pipes and devices of the archive, each with the reason. They are not created. Absent if there are none. */
  skipped?: { path: string; why: string }[]
  /** Number of requests to the store that were repeated. 0 for `unpack()`. */
  retries: number
  /** How the target was changed. 'children' and 'merge' are atomic only for each child or file. */
  commit?: 'rename' | 'exchange' | 'children' | 'merge'
  /** Duration of each phase in milliseconds, and `total`. */
  timings: Record<string, number>
  /** Pass it to a later `snapshot()` of the key: then that call replaces only the tree that this restore read. */
  ticket?: string
}

/** Kind of tree. Excludes files that are not part of the cache for this kind. */
export type Preset = 'deno' | 'node_modules' | 'vite' | 'none'

/** Options of `pack()`. */
export interface PackOptions {
  /**
   * Glob patterns to exclude, matched against the path relative to the directory. A pattern without `/` matches a name
   * at any depth.
   */
  exclude?: string[]
  /** Kind of tree, which excludes further files. @default 'none' */
  preset?: Preset
  /** Compression level: -7 to 19 for tar.zst (@default 3), 0 to 9 for tar.gz (@default 6). */
  level?: number
  /** Format of the archive. @default 'tar.zst' */
  format?: 'tar.zst' | 'tar.gz' | 'tar'
  /** Stops packing. The stream fails with the signal's reason. */
  signal?: AbortSignal
}

/** Options of `unpack()`. */
export interface UnpackOptions {
  /**
   * What to do with the target directory: 'if-empty' refuses a target that has entries, 'replace' replaces it as a
   * whole, 'merge' adds missing files and overwrites nothing. @default 'if-empty'
   */
  mode?: 'if-empty' | 'replace' | 'merge'
  /**
   * Which symbolic links are created: those that stay inside the tree, all relative ones, all, or none. An archive with
   * any other link is refused. @default 'contained'
   */
  symlinks?: 'contained' | 'relative' | 'verbatim' | 'reject'
  /**
   * What to do with a path that occurs twice in the archive, as `tar -r` and `tar -u` write it. 'replace': the last
   * entry replaces the earlier one, never through a link; directories are not replaced and replace nothing. 'reject':
   * the archive is refused. @default 'replace'
   */
  duplicates?: 'replace' | 'reject'
  /**
   * Size of the archive in bytes, as its sender declared it (`Content-Length`). If the size differs, the outcome is
   * 'corrupt'. An archive of exactly this size may lack the end marker.
   */
  contentLength?: number
  /** Limits on what the archive may contain. An archive that exceeds one ends as 'refused'. */
  limits?: Limits
  /** Time limit in milliseconds for the whole call, disk writes and commit included. @default Infinity */
  deadlineMs?: number
  /** Cancels the call, which then ends as 'aborted'. Ignored once the commit has begun. */
  signal?: AbortSignal
  /** Whether to throw instead of resolving with an outcome that is not ok. @default false */
  strict?: boolean
  /** Called with the progress, at most ten times a second. */
  onProgress?(progress: Progress): void
}
