/** The public types of pack and unpack, which caches share. */

/** Limits of what a reader accepts. Everything is counted while it happens, never taken from a header. */
export interface Limits {
  /** All files together. @default 64 GiB */
  maxBytes?: number
  /** Entries of the archive. @default 5_000_000 */
  maxFiles?: number
  /** One file. @default 64 GiB */
  maxFileBytes?: number
  /**
   * Decoded bytes for one compressed byte, once 64 MiB are decoded: over the whole where the archive's size is known first
   * (a path, an object of a store), else over the bytes read so far. A file of zeros has up to 33 000. By default a restore
   * does not apply it to the bytes that a pointer declares; if you give it, it does. @default 1000
   */
  maxRatio?: number
  /** What decoder and buffers may take. @default 192 MiB */
  maxMemoryBytes?: number
  /** What must stay free on the disk. @default 64 MiB */
  minFreeBytes?: number
}

/** How far a call has come. */
export interface Progress {
  phase: 'credentials' | 'lookup' | 'download' | 'unpack' | 'pack' | 'upload' | 'commit'
  files: number
  bytes: number
  totalBytes?: number
}

/** How a restore ended. */
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

/** What a restore did. `ok` is true for 'restored' and 'unchanged'; for every other outcome the target is as it was. */
export interface RestoreResult {
  ok: boolean
  outcome: RestoreOutcome
  /** For people, if it is not ok. */
  reason?: string
  key?: string
  generation?: string
  /** Where it stopped, if it is not ok. */
  stage?: 'credentials' | 'lookup' | 'download' | 'decode' | 'write' | 'commit'
  files: number
  bytes: number
  compressedBytes: number
  /** Entries that the target had already (mode 'merge'). */
  skippedFiles: number
  /** Pipes and devices of the archive, which are not made; absent if there are none. */
  skipped?: { path: string; why: string }[]
  retries: number
  /** How the target was changed; 'children' and 'merge' are atomic for each child or file only. */
  commit?: 'rename' | 'exchange' | 'children' | 'merge'
  /** Milliseconds of each phase, and `total`. */
  timings: Record<string, number>
  ticket?: string
}

/** Which tree it is, so that what is no cache is left out. */
export type Preset = 'deno' | 'node_modules' | 'vite' | 'none'

export interface PackOptions {
  /** Globs against the path relative to the directory; one without `/` matches a name at any depth. */
  exclude?: string[]
  /** @default 'none' */
  preset?: Preset
  /** -7 to 19 for tar.zst (@default 3), 0 to 9 for tar.gz (@default 6). */
  level?: number
  /** @default 'tar.zst' */
  format?: 'tar.zst' | 'tar.gz' | 'tar'
  signal?: AbortSignal
}

export interface UnpackOptions {
  /** 'if-empty' refuses a target that holds anything, 'replace' exchanges it as a whole, 'merge' adds what is not there. @default 'if-empty' */
  mode?: 'if-empty' | 'replace' | 'merge'
  /** Which symbolic links are made: those that stay in the tree, all relative ones, all, or none. An archive with another one is refused. @default 'contained' */
  symlinks?: 'contained' | 'relative' | 'verbatim' | 'reject'
  /**
   * What happens to a path that the archive has twice, as `tar -r` and `tar -u` write it. 'replace': the last entry replaces
   * the earlier one, never through a link; a directory is not replaced and replaces nothing. 'reject': the archive is
   * refused. @default 'replace'
   */
  duplicates?: 'replace' | 'reject'
  /**
   * Size of the archive in bytes, as its sender declared it (`Content-Length`). Another size is 'corrupt', and an archive of
   * this size may lack its end marker.
   */
  contentLength?: number
  limits?: Limits
  /** For the whole call, disk and commit included. @default Infinity */
  deadlineMs?: number
  signal?: AbortSignal
  /** Throw instead of resolving with an outcome that is not ok. @default false */
  strict?: boolean
  /** At most ten times a second. */
  onProgress?(progress: Progress): void
}
