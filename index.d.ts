import { ChildProcess } from "node:child_process";
import { ResourceLimits, Worker } from "node:worker_threads";
import { Socket } from "node:net";
import { Server } from "node:http";
import { Server as Server$1 } from "node:https";

//#region src/js/archives/contract.d.ts
/** The public types of `pack()` and `unpack()`. Caches share them. */
/** Limits on what a reader accepts. All of them are counted during decoding; no header is trusted. */
interface Limits {
  /** Total size of all files in bytes. @default 64 GiB */
  maxBytes?: number;
  /** Number of entries in the archive. @default 5_000_000 */
  maxFiles?: number;
  /** Size of one file in bytes. @default 64 GiB */
  maxFileBytes?: number;
  /**
   * Highest ratio of decoded to compressed bytes. Checked once 64 MiB are decoded. Applies to the whole archive if its
   * size is known in advance (a path, or an object of a store), and otherwise to the bytes read so far. A file of zeros
   * reaches up to 33 000. A restore applies it to bytes that a signed pointer declares only if you set it. @default 1000
   */
  maxRatio?: number;
  /** Memory in bytes for the decoder and its buffers. @default 192 MiB */
  maxMemoryBytes?: number;
  /** Bytes that must stay free on the disk. @default 64 MiB */
  minFreeBytes?: number;
}
/** Progress of a call. */
interface Progress {
  /** What the call does now. */
  phase: 'credentials' | 'lookup' | 'download' | 'unpack' | 'pack' | 'upload' | 'commit';
  /** Number of files that were handled so far. */
  files: number;
  /** Number of bytes that were handled so far. */
  bytes: number;
  /** Bytes that the phase will handle in total. Absent while this is not known. */
  totalBytes?: number;
}
/** Outcome of a restore. */
type RestoreOutcome = 'restored' | 'unchanged' | 'miss' | 'disabled' | 'timeout' | 'aborted' | 'corrupt' | 'refused' | 'incompatible' | 'target-not-empty' | 'busy' | 'no-space' | 'denied' | 'unavailable' | 'superseded' | 'error';
/**
 * Result of a restore. `ok` is true for 'restored' and 'unchanged'. After any other outcome the target is as it was
 * before.
 */
interface RestoreResult {
  /** Whether the target has the complete tree: true for 'restored' and 'unchanged'. */
  ok: boolean;
  /** How the call ended. */
  outcome: RestoreOutcome;
  /** Human-readable reason, if `ok` is false. */
  reason?: string;
  /** Key whose tree was restored: `key`, or one of `fallbackKeys`. Absent for `unpack()`. */
  key?: string;
  /** Trust level that the tree was restored from, in a cache with `trust`. */
  level?: string;
  /** Generation of the key that was restored. Absent for `unpack()`. */
  generation?: string;
  /** Phase in which it failed, if `ok` is false. */
  stage?: 'credentials' | 'lookup' | 'download' | 'decode' | 'write' | 'commit';
  /** Number of files in the tree. */
  files: number;
  /** Total size of these files in bytes. */
  bytes: number;
  /** Size of the archive in bytes. */
  compressedBytes: number;
  /** Number of entries that the target already had (mode 'merge'). */
  skippedFiles: number;
  /** Pipes and devices of the archive, each with the reason. They are not created. Absent if there are none. */
  skipped?: {
    path: string;
    why: string;
  }[];
  /** Number of requests to the store that were repeated. 0 for `unpack()`. */
  retries: number;
  /** How the target was changed. 'children' and 'merge' are atomic only for each child or file. */
  commit?: 'rename' | 'exchange' | 'children' | 'merge';
  /** Duration of each phase in milliseconds, and `total`. */
  timings: Record<string, number>;
  /** Pass it to a later `snapshot()` of the key: then that call replaces only the tree that this restore read. */
  ticket?: string;
}
/** Kind of tree. Excludes files that are not part of the cache for this kind. */
type Preset = 'deno' | 'node_modules' | 'vite' | 'none';
/** Options of `pack()`. */
interface PackOptions {
  /**
   * Glob patterns to exclude, matched against the path relative to the directory. A pattern without `/` matches a name
   * at any depth.
   */
  exclude?: string[];
  /** Kind of tree, which excludes further files. @default 'none' */
  preset?: Preset;
  /** Compression level: -7 to 19 for tar.zst (@default 3), 0 to 9 for tar.gz (@default 6). */
  level?: number;
  /** Format of the archive. @default 'tar.zst' */
  format?: 'tar.zst' | 'tar.gz' | 'tar';
  /** Stops packing. The stream fails with the signal's reason. */
  signal?: AbortSignal;
}
/** Options of `unpack()`. */
interface UnpackOptions {
  /**
   * What to do with the target directory: 'if-empty' refuses a target that has entries, 'replace' replaces it as a
   * whole, 'merge' adds missing files and overwrites nothing. @default 'if-empty'
   */
  mode?: 'if-empty' | 'replace' | 'merge';
  /**
   * Which symbolic links are created: those that stay inside the tree, all relative ones, all, or none. An archive with
   * any other link is refused. @default 'contained'
   */
  symlinks?: 'contained' | 'relative' | 'verbatim' | 'reject';
  /**
   * What to do with a path that occurs twice in the archive, as `tar -r` and `tar -u` write it. 'replace': the last
   * entry replaces the earlier one, never through a link; directories are not replaced and replace nothing. 'reject':
   * the archive is refused. @default 'replace'
   */
  duplicates?: 'replace' | 'reject';
  /**
   * Size of the archive in bytes, as its sender declared it (`Content-Length`). If the size differs, the outcome is
   * 'corrupt'. An archive of exactly this size may lack the end marker.
   */
  contentLength?: number;
  /** Limits on what the archive may contain. An archive that exceeds one ends as 'refused'. */
  limits?: Limits;
  /** Time limit in milliseconds for the whole call, disk writes and commit included. @default Infinity */
  deadlineMs?: number;
  /** Cancels the call, which then ends as 'aborted'. Ignored once the commit has begun. */
  signal?: AbortSignal;
  /** Whether to throw instead of resolving with an outcome that is not ok. @default false */
  strict?: boolean;
  /** Called with the progress, at most ten times a second. */
  onProgress?(progress: Progress): void;
}
//#endregion
//#region src/js/archives/pack.d.ts
/**
 * Packs a directory into an archive stream. The stream is pull-driven and uses bounded memory. If a file changes while
 * it is read, the file is read again; if it changes twice in a row, the stream ends with an error. Discard what was
 * read before an error: it is not a complete archive.
 *
 * @param directory Absolute path of the directory.
 * @param options Format, compression level, and what to exclude.
 * @returns A stream of the archive's bytes; tar.zst by default.
 * @throws {WarmswapError} ERR_INVALID_ARGUMENT for wrong arguments. The stream fails with ERR_IO, ERR_UNSTABLE or
 * ERR_NOT_FOUND.
 */
declare function pack(directory: string, options?: PackOptions): ReadableStream<Uint8Array>;
//#endregion
//#region src/js/archives/unpack.d.ts
/**
 * Unpacks a tar, tar.gz or tar.zst archive into a directory. The format is detected by magic bytes. The tree is staged
 * next to the target, verified, and then committed atomically.
 *
 * @param source Absolute path of an archive, or a stream or iterable of its bytes.
 * @param into Absolute path of the target. It is created if it does not exist.
 * @param options Mode, limits, time limit and signal.
 * @returns The outcome. `ok` is true for 'restored' and 'unchanged'.
 * @throws {WarmswapError} ERR_INVALID_ARGUMENT for wrong arguments; with `strict`, also for an outcome that is not ok.
 */
declare function unpack(source: string | ReadableStream<Uint8Array> | AsyncIterable<Uint8Array>, into: string, options?: UnpackOptions): Promise<RestoreResult>;
//#endregion
//#region src/js/bundles/contract.d.ts
/** The public types of bundle stores. */
/** Options of `openBundles()`. */
interface BundleStoreOptions {
  /**
   * What a published generation survives. 'process': kill -9. 'power': also power loss (fsync in the right order).
   * @default 'process'
   */
  durability?: 'process' | 'power';
  /**
   * Number of previous generations to keep: the most recently current ones. Stored in the store; opening it with
   * another value changes the value. @default 1
   */
  keep?: number;
  /**
   * How long, in milliseconds, an unpinned generation is kept after it stopped being current, for readers that cannot
   * pin (browsers). Stored in the store. @default 0
   */
  graceMs?: number;
  /**
   * Bound on the bytes of all generations. A collection removes generations that `keep` and `graceMs` keep, the one that
   * was current longest ago first, until the rest fits. It never removes the current generation or a pinned one: where
   * these alone are larger, a process warning with the code WARMSWAP_MAX_BYTES says so. Copies for `link` do not count.
   * Kept in the store; an opener that passes it changes it, and Infinity removes it. Default: no bound.
   */
  maxBytes?: number;
  /**
   * Bound on the time in milliseconds since an unpinned generation stopped being current. A collection removes older ones,
   * also those that `keep` and `graceMs` keep. Kept in the store; an opener that passes it changes it, and Infinity removes
   * it. Default: no bound.
   */
  maxAgeMs?: number;
  /**
   * A path, such as `dist`, that becomes a symbolic link to a copy of the current generation, also after `rollback()`.
   * Tools may delete, add and change files there: pinned generations do not change, and the next publish replaces the
   * copy. An empty directory at the path is replaced. A directory with files is refused with ERR_INVALID_ARGUMENT
   * unless `adopt` is true.
   */
  link?: string;
  /**
   * Allows `link` to replace a directory with files. `openBundles()` publishes the directory's content as a generation,
   * puts the link in its place, and moves the directory to `<root>/set-aside/`. A warning with the code
   * WARMSWAP_SET_ASIDE names the new path, and `warmswap doctor` lists it. warmswap never deletes it. @default false
   */
  adopt?: boolean;
  /** Aborts the opening. The call rejects with the signal's reason. */
  signal?: AbortSignal;
  /**
   * How long to wait, in milliseconds, for the writer lock and for a filesystem that does not respond. Then the call
   * fails with ERR_TIMEOUT. Infinity is allowed. @default 30_000
   */
  timeoutMs?: number;
}
/** How long to wait for the writer lock, and how to stop waiting. ERR_TIMEOUT names the holder. */
interface WriteOptions {
  /** Stops waiting. The call rejects with the signal's reason. */
  signal?: AbortSignal;
  /** Longest wait in milliseconds. Infinity is allowed. @default 30_000 */
  timeoutMs?: number;
}
/**
 * A store of generations of one bundle. A dev server with forty functions opens forty stores. Filesystems whose flock
 * cannot be trusted are refused with ERR_UNSUPPORTED: put `root` on a local filesystem and use `link`.
 */
interface BundleStore extends AsyncDisposable {
  /** Absolute path of the store, with all symbolic links resolved. */
  readonly root: string;
  /** What the filesystem of the store supports. */
  readonly capabilities: {
    /** Name of the filesystem, such as 'ext4' or 'apfs'. */filesystem: string; /** Whether copies share their blocks with the original (reflinks). */
    clone: boolean;
  };
  /**
   * Returns the current generation, or null before the first publish. `number` and `path` take one readlink. The other
   * fields are read on first use, and throw ERR_GENERATION_GONE if the generation was collected in between.
   */
  current(): Generation | null;
  /**
   * Pins a generation: it is kept until `release()`, or until this thread or process ends. The result is one complete
   * generation that was current at some point during the call. Synchronous: a few system calls, none of which waits.
   *
   * @throws {WarmswapError} ERR_NO_GENERATION if nothing is published, ERR_GENERATION_GONE if the wanted generation no
   * longer exists, ERR_CLOSED if the store is closed.
   */
  pin(options?: {
    /** Number of the generation. Default: the current one. */generation?: number;
  }): Pin;
  /**
   * Keeps a generation under a name until `expiresAt`. The name outlives this process and a reboot, whatever the
   * `durability` of the store is. A second call with the same name returns the same generation, also if others are current
   * by then, and replaces `expiresAt`. With `generation`, the name moves to that generation.
   *
   * The result also is a pin of this process: `release()` ends that pin and not the name. `store.release(name)` ends the
   * name.
   *
   * Errors: ERR_INVALID_ARGUMENT for an `expiresAt` that is missing or past, ERR_NO_GENERATION if nothing is published,
   * ERR_GENERATION_GONE if the generation no longer exists.
   */
  pin(options: NamedPinOptions): Promise<NamedPin>;
  /** Lists the names that have not ended, sorted by name. Pins of processes are not listed: they have no record on disk. */
  pins(): Promise<PinRecord[]>;
  /** Ends a name. Resolves with `false` if there is none. Processes that have pinned the generation keep it. */
  release(name: string, options?: WriteOptions): Promise<boolean>;
  /**
   * Creates a stage: a private directory for the next generation. Resolves when it can be written to. Concurrent stages
   * do not disturb each other.
   *
   * @throws {WarmswapError} ERR_TIMEOUT if the filesystem or, for a fenced stage, the writer lock does not answer in
   * time; ERR_CLOSED if the store is closed.
   */
  stage(options?: WriteOptions & {
    /** Content of the new stage: nothing, or a copy of the current generation if there is one. @default 'empty' */from?: 'empty' | 'current';
    /**
     * Gives the stage a place in the order of all fenced stages. Its `publish()` fails with ERR_FENCED if a stage with a
     * later place has already been published. @default false
     */
    fenced?: boolean;
  }): Promise<Stage>;
  /**
   * Pins a generation that was built from `fingerprint`. If there is none, or its files do not verify, builds it first.
   * Exactly one of the concurrent callers in all threads and processes builds; the others wait. If the builder is
   * killed, one waiter replaces it.
   */
  ensure(build: (stage: Stage, context: {
    signal: AbortSignal;
  }) => Promise<void>, options: {
    /** Identifies the inputs of the build, such as a hash of the sources. */fingerprint: string; /** Stops the wait. `build` gets it as `context.signal`. The call rejects with the signal's reason. */
    signal?: AbortSignal; /** Longest wait for another builder in milliseconds. Infinity is allowed. @default 30_000 */
    timeoutMs?: number;
  }): Promise<Pin>;
  /**
   * Makes an earlier generation the current one, atomically. Resolves with that generation. Its number does not change,
   * and the next publish gets a number above all existing ones. Its files are not verified: call `verify()` for that.
   *
   * @throws {WarmswapError} ERR_GENERATION_GONE if it no longer exists or was never current, ERR_TIMEOUT if the writer
   * lock is not free in time.
   */
  rollback(generation: number, options?: WriteOptions): Promise<Generation>;
  /**
   * Removes generations that are neither pinned nor kept. `publish()` and `rollback()` start this in the background;
   * this call waits for it.
   */
  collect(options?: WriteOptions): Promise<{
    removed: number[];
    kept: number[];
    pinned: number[];
    sweptStages: number;
  }>;
  /** Lists the generations that still exist, sorted by number. */
  list(): Promise<Generation[]>;
  /**
   * Compares every byte of a generation with its manifest. Checks the current generation if none is given. Resolves with
   * `ok: false` and one entry for each difference: `missing`, `size`, `hash` and `mode` are about a published path, and
   * `extra` is a path that was not published.
   *
   * @throws {WarmswapError} ERR_NO_GENERATION if nothing is published, ERR_GENERATION_GONE if the generation no longer
   * exists.
   */
  verify(generation?: number): Promise<{
    ok: boolean;
    problems: {
      path: string;
      problem: 'missing' | 'size' | 'hash' | 'mode' | 'extra';
    }[];
  }>;
  /**
   * Calls the listener after the current generation changed. Several changes may be reported as one; the last one is
   * never missed. Does not keep the process alive.
   */
  watch(listener: (generation: Generation) => void): Disposable;
  /**
   * Closes the store for this handle and waits for a running collection. Pins remain valid. Later calls fail with
   * ERR_CLOSED. Dispose calls it.
   */
  close(): Promise<void>;
}
/** A published generation. It never changes. */
interface Generation {
  /** Number of the generation. Later generations have larger numbers. */
  readonly number: number;
  /** Absolute path of the generation's directory. It does not go through `current`. */
  readonly path: string;
  /** Digest over paths, types, modes, link targets and file contents. */
  readonly digest: string;
  /** Time of publication, in ISO 8601. */
  readonly publishedAt: string;
  /** Number of files. */
  readonly files: number;
  /** Total size of the files in bytes. */
  readonly bytes: number;
  /** The `fingerprint` given to `publish()` or `ensure()`. */
  readonly fingerprint?: string;
  /** JSON value given to `publish()`. */
  readonly meta?: unknown;
}
/** A private directory whose content becomes the next generation. */
interface Stage extends AsyncDisposable {
  /** Directory to write to, with any tool. It has the same depth and filesystem as generations. */
  readonly path: string;
  /**
   * Writes a file and creates its parent directories. An existing file is replaced.
   *
   * @throws {WarmswapError} ERR_INVALID_ARGUMENT for a path that leaves the stage, ERR_STAGE_CLOSED after `publish()`
   * or `discard()`.
   */
  write(relative: string, data: string | Uint8Array, options?: {
    /** Permission bits of the file, 0 to 0o777. Publishing removes the write bits. @default 0o644 */mode?: number;
  }): Promise<void>;
  /** Writes esbuild's `outputFiles` (build with `write: false`). */
  writeAll(files: Iterable<{
    path: string;
    contents: Uint8Array;
  }>, base: string): Promise<void>;
  /** Creates a symbolic link. It may lead anywhere: it is stored and hashed as text, and warmswap never follows it. */
  symlink(relative: string, target: string): Promise<void>;
  /**
   * Copies the contents of a directory, as they were at one moment, or nothing. Rejects with ERR_UNSTABLE if they
   * change during the call. A directory that was changed within the last 50 ms is not copied until it is stable.
   * 'clone' shares blocks where the filesystem supports it and copies elsewhere.
   * @default 'clone'
   */
  adopt(directory: string, how?: 'clone' | 'copy' | 'move'): Promise<void>;
  /**
   * Makes the stage the current generation, atomically. If it rejects, readers have seen nothing and the stage can be
   * published again. The message names the one exception: with `durability: 'power'`, the pointer can have moved although
   * its durability is unknown. Resolves with the generation; `changed` is false if `ifChanged` kept the current one.
   *
   * @throws {WarmswapError} ERR_EMPTY_STAGE, ERR_MISSING_ENTRY if a path of `require` is missing, ERR_FENCED if `expect`
   * or `fenced` forbids it. ERR_TIMEOUT if the writer lock is not free in time. ERR_STAGE_CLOSED after an earlier
   * `publish()` or `discard()`.
   */
  publish(options?: WriteOptions & {
    /** Relative paths that the stage must contain. @default [] */require?: string[]; /** Whether to keep the current generation if the stage has the same content. @default false */
    ifChanged?: boolean; /** Number of the generation that must be current, or 0 for none. Otherwise the publish fails with ERR_FENCED. */
    expect?: number; /** Identifies the inputs of the build. `ensure()` finds the generation by it. */
    fingerprint?: string; /** JSON value of your own, which readers get as `generation.meta`. */
    meta?: unknown;
  }): Promise<Generation & {
    readonly changed: boolean;
  }>;
  /** Removes the stage. It does nothing after `publish()`. Dispose calls it. */
  discard(): Promise<void>;
}
/** The name that a generation gets, and when the name ends. */
interface NamedPinOptions extends WriteOptions {
  /** 1 to 1024 bytes of UTF-8, such as `session:42`. Programs with the same name share one generation. */
  name: string;
  /** When the name ends by itself: a Date, milliseconds since 1970, or ISO 8601. Call `pin()` again to extend it. */
  expiresAt: Date | number | string;
  /** Generation that gets the name. Default: the one that has it, else the current one. */
  generation?: number;
}
/** A name of a generation. */
interface PinRecord {
  /** The name. */
  readonly name: string;
  /** Number of the generation. */
  readonly generation: number;
  /** When the generation got the name, ISO 8601. */
  readonly pinnedAt: string;
  /** When the name ends by itself, ISO 8601. */
  readonly expiresAt: string;
}
/** A pin of this process on a generation that has a name. */
interface NamedPin extends Pin {
  /** The name that the generation has. */
  readonly name: string;
  /** When the name ends by itself, ISO 8601. */
  readonly expiresAt: string;
  /** Whether the generation had the name before the call. */
  readonly resumed: boolean;
}
/** A pin keeps one generation on disk until it is released, or until its thread or process ends. */
interface Pin extends Disposable {
  /** The pinned generation. */
  readonly generation: Generation;
  /** Absolute path of the generation's directory. */
  readonly path: string;
  /**
   * Returns a `file:` URL inside the generation. It has a query with the store's id if this process has opened another
   * store at the same path. Throws ERR_CLOSED after `release()`.
   */
  url(relative: string): string;
  /**
   * Returns an absolute path inside the generation. Throws ERR_INVALID_ARGUMENT for a path that leaves it, and
   * ERR_CLOSED after `release()`.
   */
  resolve(relative: string): string;
  /**
   * Whether the pin still protects the generation. `false` after `release()`, and if the store was removed, moved or
   * replaced.
   */
  isCurrent(): boolean;
  /** Releases the pin. Calling it again does nothing. Dispose calls it. */
  release(): void;
}
//#endregion
//#region src/js/bundles/hand-over.d.ts
/**
 * Hands the generation of a pin over to a child. Resolves once the child has its own pin; then the parent may release
 * its pin.
 *
 * @param child A worker thread, or a child process with an IPC channel.
 * @param pin The pin on the generation.
 * @param options Time limit.
 * @throws {WarmswapError} ERR_CLOSED if the pin was released, ERR_WORKER_EXITED if the child ends, ERR_TIMEOUT if the
 * child does not call `takeOver()` in time, ERR_GENERATION_GONE if the child cannot pin the generation.
 */
declare function handOver(child: ChildProcess | Worker, pin: Pin, options?: {
  /** How long to wait for the child, in milliseconds. @default 10_000 */timeoutMs?: number;
}): Promise<void>;
/**
 * Takes over a generation from the parent; call it in the child.
 *
 * @param options Time limit.
 * @returns A pin of this thread or process on the generation.
 * @throws {WarmswapError} ERR_TIMEOUT if the parent offers no generation in time, ERR_CLOSED if the parent ends before,
 * ERR_UNSUPPORTED if there is no parent to ask, ERR_GENERATION_GONE if the generation can no longer be pinned.
 */
declare function takeOver(options?: {
  /** How long to wait for the parent, in milliseconds. Infinity is allowed. @default 30_000 */timeoutMs?: number;
}): Promise<Pin>;
//#endregion
//#region src/js/bundles/ignores.d.ts
/** Ignore patterns for file watchers. */
/**
 * Returns glob patterns that exclude a store from file watchers and test runners: Vite (`server.watch.ignored`), Vitest
 * (`test.exclude`), Parcel's watcher (`ignore`), and chokidar (as `ignored` functions that use picomatch). With them,
 * writes to a store cause no rebuild loop, and tests inside kept generations do not run. `current.json` is not excluded:
 * watch this file to notice publishes.
 *
 * @param root Directory of the store.
 * @returns The patterns, as absolute paths with `/`.
 * @throws {WarmswapError} ERR_INVALID_ARGUMENT if `root` is not a path.
 */
declare function bundleIgnores(root: string): string[];
//#endregion
//#region src/js/bundles/store.d.ts
/**
 * Opens the bundle store at `root`. Creates it if it does not exist, and repairs what killed processes left behind.
 *
 * @param root Directory of the store.
 * @param options Durability, generations to keep, `link`, time limit and signal.
 * @returns The open store.
 * @throws {WarmswapError} ERR_INVALID_ARGUMENT for wrong arguments, ERR_UNSUPPORTED for a filesystem whose flock cannot
 * be trusted, ERR_TIMEOUT if another process holds the writer lock.
 *
 * @example
 * const store = await openBundles('.cache/bundles')
 * const stage = await store.stage()
 * await stage.write('index.js', code)
 * await stage.publish()
 */
declare function openBundles(root: string, options?: BundleStoreOptions): Promise<BundleStore>;
//#endregion
//#region src/js/caches/ensure-contract.d.ts
/** What to ensure, where, and how to build it. */
interface EnsureOptions {
  /** Identifies the inputs of the build: a hash of the lock file, the platform, the version of the runtime. At most 512 bytes. Callers with another fingerprint build for themselves. */
  fingerprint: string;
  /** Absolute path of the tree. Unchanged after every outcome that is not a success. */
  into: string;
  /**
   * Builds the tree into `dir`, never into `into`. It can be called a second time: a build whose lease was lost does not
   * count, and the call waits for the caller that took over.
   */
  build(context: EnsureBuild): unknown;
  /** How long the call coordinates with other callers; Infinity allowed. Then it builds alone. A build that has begun is not interrupted. @default Infinity */
  deadlineMs?: number;
  /** Limit of the restore. @default 120_000 */
  restoreDeadlineMs?: number;
  /** Limit of packing and uploading what was built. @default 120_000 */
  uploadDeadlineMs?: number;
  /** How long the record of a builder may stay unchanged; it is renewed every third of it. At least 1_000, at most 600_000. @default 30_000 */
  ttlMs?: number;
  /** Whether a failed build also fails the callers that waited for it ('share'), or one of them builds again ('retry'). @default 'share' */
  onFailure?: 'share' | 'retry';
  /**
   * What to do with the target directory: 'if-empty' refuses a target with other entries, 'replace' replaces it as a
   * whole. @default 'if-empty'
   */
  mode?: 'if-empty' | 'replace';
  /** Compression level, -7 to 19. @default 3 */
  level?: number;
  /**
   * Which symbolic links are created: those that stay inside the tree, all relative ones, all, or none. A tree with any
   * other link is refused. @default 'contained'
   */
  symlinks?: 'contained' | 'relative' | 'verbatim' | 'reject';
  /** Limits on what the tree may contain. */
  limits?: Limits;
  /** Connections at the same time. @default 8 */
  concurrency?: number;
  /** How long a connection that is waited for may be silent. @default 3_000 */
  idleMs?: number;
  /** Least throughput of a transfer over a window of `idleMs`; 0 is off. @default 0 */
  minBytesPerSecond?: number;
  /** How often one request of a transfer may be tried. @default 3 */
  attempts?: number;
  /** Stops the wait and the build. The call rejects when the build has ended. */
  signal?: AbortSignal;
  /** Called when the call begins to wait or to build, while it waits, and when it loses its lease. */
  onEvent?(event: EnsureEvent): void;
}
/** What a build gets. */
interface EnsureBuild {
  /** An empty directory on the filesystem of `into`. */
  readonly dir: string;
  /** The lease of this build. */
  readonly lock: EnsureLock;
  /** Aborts when the lease is lost, before another caller can have taken over, and when the caller aborts. The call waits until the build has ended. */
  readonly signal: AbortSignal;
  /** Why the tree will not be published, for a build without coordination. */
  readonly alone?: string;
}
/** The lease of a build. */
interface EnsureLock {
  /** Shows `phase` to the callers that wait. The next renewal writes it. Throws ERR_LOCK_LOST if the lease is lost or the build has ended. */
  progress(phase: string): void;
  /** Throws ERR_LOCK_LOST if the lease is lost or the build has ended. */
  assertHeld(): void;
}
/** What happens during a call: another caller builds, this caller builds, or the lease of its build was lost. */
type EnsureEvent = {
  kind: 'waiting';
  holder: {
    host: string;
    pid: number;
  }; /** What the builder passed to `lock.progress()`, or 'upload'; empty before. */
  phase: string;
  waitedMs: number; /** Time until this caller takes over if the builder stays silent. */
  leaseLeftMs: number;
} | {
  kind: 'building';
  dir: string;
  alone?: string;
} | {
  kind: 'lost';
};
/** How a caller got its tree. */
interface EnsureResult {
  /**
   * - 'restored': another caller built it, now or earlier.
   * - 'built': this caller built and published it.
   * - 'alone': this caller built it, and it was not published. `reason` says why.
   */
  role: 'restored' | 'built' | 'alone';
  /** Human-readable. */
  reason?: string;
  /** Absent for 'alone'. */
  generation?: string;
  /** The restore, for 'restored'. */
  restore?: RestoreResult;
  /** Milliseconds of the call. */
  ms: number;
}
//#endregion
//#region src/js/caches/contract.d.ts
/** Time limits and retries of a call. */
interface Budget {
  /**
   * Time limit in milliseconds for the whole call: credentials, retries, decoding, disk and commit included. @default 15_000 for restore, 120_000 for snapshot, 30_000 for the others
   */
  deadlineMs?: number;
  /** How long, in milliseconds, a connection may be silent while data is awaited. @default 3_000 */
  idleMs?: number;
  /**
   * Minimum throughput in bytes per second, measured over `idleMs` while the network is awaited. 0 is off. @default 0
   */
  minBytesPerSecond?: number;
  /** Number of attempts for each request, within the deadline. @default 3 */
  attempts?: number;
  /** Cancels the work, not only the promise. Ignored once the commit has begun. */
  signal?: AbortSignal;
}
/** Outcome of a snapshot. */
type SnapshotOutcome = 'uploaded' | 'unchanged' | 'empty' | 'shrunk' | 'unguarded' | 'unstable' | 'superseded' | 'busy' | 'too-large' | 'disabled' | 'corrupt' | 'incompatible' | 'timeout' | 'aborted' | 'denied' | 'unavailable' | 'no-space' | 'error';
/** Result of a snapshot. */
interface SnapshotResult {
  /** Whether the store has the tree: true for 'uploaded' and 'unchanged'. */
  ok: boolean;
  /** How the call ended. */
  outcome: SnapshotOutcome;
  /**
   * Human-readable. If `ok` is false, the reason. Otherwise which options a restore of this snapshot needs because the
   * defaults refuse it, such as `symlinks: 'relative'` or `limits.maxRatio of 26000`.
   */
  reason?: string;
  /** The key's generation after the call, if `ok` is true. */
  generation?: string;
  /** Number of files in the tree. */
  files: number;
  /** Total size of these files in bytes. */
  bytes: number;
  /** Size of the archive in bytes. */
  compressedBytes: number;
  /** Bytes that were sent, retries included. 0 for 'unchanged'. */
  uploadedBytes: number;
  /** Entries that are not in the snapshot, each with the reason. */
  skipped: {
    path: string;
    why: string;
  }[];
  /** 'none' if writes were not conditional: the later one of two concurrent writers wins. */
  guard: 'etag' | 'none';
  /** Duration of each phase in milliseconds, and `total`. */
  timings: Record<string, number>;
}
/** Target and conditions of a restore. */
interface RestoreOptions extends Budget {
  /** Key whose tree is restored. */
  key: string;
  /** Keys to try in order if `key` has no usable tree. */
  fallbackKeys?: string[];
  /** Absolute path of the target. It is created if it does not exist. A symbolic link is followed. */
  into: string;
  /**
   * What to do with the target directory: 'if-empty' refuses a target that has entries, 'replace' replaces it, 'merge'
   * adds missing files and overwrites nothing. @default 'if-empty'
   */
  mode?: 'if-empty' | 'replace' | 'merge';
  /**
   * Which symbolic links are created: those that stay inside the tree, all relative ones, all, or none. A tree with any
   * other link is refused. @default 'contained'
   */
  symlinks?: 'contained' | 'relative' | 'verbatim' | 'reject';
  /**
   * What to do with a path that occurs twice in the archive: the last entry replaces the earlier one, or the archive is
   * refused. @default 'replace'
   */
  duplicates?: 'replace' | 'reject';
  /** Properties that the snapshot must have been recorded with. If one differs, the outcome is 'incompatible'. */
  expect?: {
    /** Value of `process.platform`. */platform?: string; /** Value of `process.arch`. */
    arch?: string; /** C library: 'glibc' or 'musl'. */
    libc?: string; /** The `fingerprint` of the snapshot. */
    fingerprint?: string;
  };
  /** Limits on what the tree may contain. A tree that exceeds one ends as 'refused'. */
  limits?: Limits;
  /** Number of connections at the same time. @default 8 */
  concurrency?: number;
  /** Whether to throw if `ok` would be false. @default false */
  strict?: boolean;
  /** Called with the progress, at most ten times a second. */
  onProgress?(progress: Progress): void;
}
/** Source and checks of a snapshot. */
interface SnapshotOptions extends Budget {
  /** Key under which the tree is saved. */
  key: string;
  /** Absolute path of the directory to save. A symbolic link is followed. */
  from: string;
  /**
   * Ticket of the restore that this snapshot is based on. The snapshot replaces the key's tree only if it is still the
   * one that the restore read.
   */
  ticket?: string;
  /** Glob patterns to exclude. */
  exclude?: string[];
  /** Kind of tree, which excludes further files. @default 'none' */
  preset?: Preset;
  /**
   * Text recorded with the generation, for `expect.fingerprint` of a restore, such as a hash of the lock file. At most
   * 512 bytes.
   */
  fingerprint?: string;
  /** Checks against saving an incomplete tree. */
  guard?: {
    /** Minimum number of files. Fewer end as 'empty'. @default 1 */minFiles?: number; /** Minimum total size in bytes. Less ends as 'empty'. @default 1 */
    minBytes?: number;
    /**
     * Largest allowed decrease of files or bytes compared with the current generation, from 0 to 1. A larger one ends
     * as 'shrunk'. @default 0.5
     */
    maxShrink?: number; /** Whether to accept a tree that is much smaller than the current generation. @default false */
    allowShrink?: boolean;
  };
  /**
   * Waits until the tree has been unchanged for this many milliseconds, as a sign that dependencies are complete. 0 is
   * off. @default 0
   */
  quietMs?: number;
  /**
   * Whether the call keeps the process alive. Set it to false in a daemon that must be able to exit during a snapshot.
   * @default true
   */
  keepProcessAlive?: boolean;
  /** Compression level, -7 to 19. @default 3 */
  level?: number;
  /** Limits on what the tree may contain. A tree that exceeds one ends as 'too-large'. */
  limits?: Limits;
  /** Whether to throw if `ok` would be false. @default false */
  strict?: boolean;
  /** Called with the progress, at most ten times a second. */
  onProgress?(progress: Progress): void;
}
/**
 * A cache: a store and the calls on it. Calls resolve with an outcome whatever happens on the network, on the disk or
 * in other processes.
 */
interface Cache extends AsyncDisposable {
  /**
   * Restores the tree of a key into a directory. Never rejects because of the network, the disk or other processes:
   * resolves with an outcome. With `strict: true` it throws instead.
   */
  restore(options: RestoreOptions): Promise<RestoreResult>;
  /**
   * Saves a directory under a key. A key that ends in .tar, .tgz, .tar.gz or .tar.zst is stored as one object, written
   * conditionally. Any other key is a pointer with immutable blobs.
   */
  snapshot(options: SnapshotOptions): Promise<SnapshotResult>;
  /**
   * Restores the tree of this fingerprint. If there is none, exactly one of all callers builds and publishes it, while the
   * others wait and then restore it. Needs a store with conditional writes. With another store, and after `deadlineMs`, it
   * builds alone.
   *
   * Rejects with what `build` threw. A caller that waited for that build gets its message. An aborted signal rejects with
   * its reason. If the tree cannot be written to `into`, the error has an `outcome`.
   */
  ensure(key: string, options: EnsureOptions): Promise<EnsureResult>;
  /** Returns what is stored under a key, or null if there is nothing. Rejects if the store cannot be read. */
  inspect(key: string, budget?: Budget): Promise<CacheInfo | null>;
  /**
   * Removes generations of a key that are no longer needed. Keeps the current one, the `keep - 1` newest others, and
   * everything younger than `olderThanMs`. Resolves with the paths of the removed objects.
   */
  prune(options: Budget & {
    /** Key to prune. */key: string; /** Number of generations to keep, the current one included. @default 2 */
    keep?: number;
    /**
     * Generations younger than this many milliseconds are kept: a running snapshot may be about to refer to them.
     * @default 3_600_000
     */
    olderThanMs?: number;
  }): Promise<{
    removed: string[];
    outcome: 'pruned' | RestoreOutcome;
    reason?: string;
  }>;
  /** Removes a key and all its objects, for example when its site was deleted. */
  remove(key: string, budget?: Budget): Promise<{
    outcome: 'removed' | RestoreOutcome;
    reason?: string;
  }>;
  /**
   * Probes what the store permits, with small objects that are removed again. All fields are false for a cache without
   * a store or with `readOnly`. `writable` is false if a policy denies the write. Rejects with `outcome` 'denied' if
   * the store refuses the credentials, and with another outcome if the probe fails.
   */
  probe(budget?: Budget): Promise<StoreAbilities>;
  /**
   * Waits for the calls that run, and up to 5 s for their work in the background. That work removes a tree that was
   * replaced, and writes the tree manifest, a file next to the target that makes the next call faster. Later calls reject
   * with ERR_CLOSED.
   */
  close(): Promise<void>;
}
/** What a store permits, as found by `probe()`. */
interface StoreAbilities {
  /** Whether the store honours the conditions of a write: only if nothing exists, only if a version is unchanged. */
  conditionalPut: boolean;
  /**
   * Whether at most one of eight simultaneous conditional writes of one object succeeded, in six races. `ensure()` and
   * `prewarm()` need it: with false, two callers can build at the same time. The races are not run for a folder, for
   * memory, and for Google and Azure at their own addresses, which guarantee it.
   */
  exclusiveWrites: boolean;
  /** Whether the store honours the conditions of an object that is written in parts. */
  conditionalMultipart: boolean;
  /** Whether a range request returns exactly the requested range. */
  ranged: boolean;
  /** Whether these credentials may write. */
  writable: boolean;
}
/** What is stored under a key. */
interface CacheInfo {
  /** Name of the generation. */
  generation: string;
  /** Number of files in the tree. */
  files: number;
  /** Total size of these files in bytes. */
  bytes: number;
  /** Size of the archive in the store, in bytes. */
  compressedBytes: number;
  /** Time of the snapshot, in ISO 8601. */
  createdAt: string;
  /** What is known about the process that made it: `tool`, `version`, `platform`, `arch`, `libc` and `fingerprint`. */
  producer: Record<string, string>;
  /** Trust level that holds it, in a cache with `trust`. */
  level?: string;
}
//#endregion
//#region src/js/caches/events.d.ts
/** Outcome and figures of one call. */
interface CacheEvent {
  /** The method that was called. */
  verb: 'restore' | 'snapshot' | 'prune' | 'remove' | 'ensure';
  /** The key. For a restore, the one that was restored. */
  key: string;
  /** How the call ended; for `ensure()`, its `role`. */
  outcome: RestoreOutcome | SnapshotOutcome | 'pruned' | 'removed' | 'built' | 'alone';
  /** Human-readable reason, if there is one. */
  reason?: string;
  /** Duration of the call in milliseconds. */
  ms: number;
  /** Bytes of the files of the tree. For `prune()` and `remove()`, bytes of the removed objects. */
  bytes: number;
  /** Number of files of the tree. For `prune()` and `remove()`, number of removed objects. */
  files: number;
}
//#endregion
//#region src/js/caches/location-types.d.ts
/** The types of store locations. Editors complete the fields of objects, and TypeScript reports typos in URLs. */
/**
 * An S3 bucket. Without credentials here, the AWS credential chain is used: environment, profile, SSO, web identity,
 * container, IMDS.
 */
interface S3Location {
  /** Kind of store. */
  scheme: 's3';
  /** Name of the bucket. */
  bucket: string;
  /** Path in the bucket under which all objects are stored. */
  prefix?: string | undefined;
  /** Region that requests are signed for. Default `AWS_REGION`; with an `endpoint`, `us-east-1`. */
  region?: string | undefined;
  /** Address of an S3-compatible server, with http or https. */
  endpoint?: string | undefined;
  /** Name of the profile in the shared AWS configuration. */
  profile?: string | undefined;
  /** Access key of static credentials. Pass it with `secretAccessKey`. */
  accessKeyId?: string | undefined;
  /** Secret of `accessKeyId`. */
  secretAccessKey?: string | undefined;
  /** Session token of temporary credentials. */
  sessionToken?: string | undefined;
  /** ARN of a role to assume with the credentials. */
  roleArn?: string | undefined;
  /** Whether the bucket name is part of the path. Default true with an `endpoint`. */
  pathStyle?: boolean | 'true' | 'false' | undefined;
  /** Encryption that uploads request from the server. Default: none, and the bucket's own setting applies. */
  serverSideEncryption?: 'AES256' | 'aws:kms' | undefined;
  /** Key for `aws:kms`. */
  kmsKeyId?: string | undefined;
  /** Whether requests are sent without a signature. Default false. */
  anonymous?: boolean | 'true' | 'false' | undefined;
}
/**
 * A bucket of Google Cloud Storage. Without credentials here, the application default credentials are used: the file in
 * GOOGLE_APPLICATION_CREDENTIALS, that of gcloud, the metadata server of the machine or the pod.
 */
interface GcsLocation {
  /** Kind of store. */
  scheme: 'gs';
  /** Name of the bucket. */
  bucket: string;
  /** Path in the bucket under which all objects are stored. */
  prefix?: string | undefined;
  /** Address of another server, with http or https. Default `STORAGE_EMULATOR_HOST`, or Google's. */
  endpoint?: string | undefined;
  /** Path of a file with credentials: a service account, a workload identity federation, or a user. */
  credentialsFile?: string | undefined;
  /** Access token. It is not renewed. */
  token?: string | undefined;
  /** Whether requests are sent without credentials. Default true if `STORAGE_EMULATOR_HOST` is the endpoint. */
  anonymous?: boolean | 'true' | 'false' | undefined;
}
/**
 * A container of Azure Blob Storage. Without credentials here, those of the environment are used: connection string, key,
 * shared access signature, service principal, workload identity, managed identity.
 */
interface AzureLocation {
  /** Kind of store. */
  scheme: 'az';
  /** Name of the container. */
  container: string;
  /** Path in the container under which all objects are stored. */
  prefix?: string | undefined;
  /** Name of the storage account. Default: that of the connection string, or `AZURE_STORAGE_ACCOUNT`. */
  account?: string | undefined;
  /** Address of the account at another server, with http or https. Default: that of the connection string, or Azure's. */
  endpoint?: string | undefined;
  /** Key of the account. */
  accountKey?: string | undefined;
  /** Shared access signature. */
  sasToken?: string | undefined;
  /** Connection string of the account. Default `AZURE_STORAGE_CONNECTION_STRING`, unless an account is named. */
  connectionString?: string | undefined;
  /** Whether requests are sent without credentials. Default false. */
  anonymous?: boolean | 'true' | 'false' | undefined;
}
/** Absolute path of a folder. */
interface FileLocation {
  /** Kind of store. */
  scheme: 'file';
  /** Absolute path of the folder. It is created if it does not exist. */
  path: string;
}
/**
 * Memory of this process. Stores with the same name share their objects. A store without a name shares with no other.
 */
interface MemoryLocation {
  /** Kind of store. */
  scheme: 'memory';
  /** Name of the store. Default: none, and the store belongs to this cache alone. */
  name?: string | undefined;
}
/** Location of a store as a URL. */
type StoreUrl = `s3://${string}` | `gs://${string}` | `az://${string}` | `file:///${string}` | `memory:${string}`;
/**
 * Location of a store: 'file:///var/cache', 's3://bucket/prefix?region=…&endpoint=…', 'gs://bucket/prefix',
 * 'az://container/prefix?account=…', 'memory:' or an object with the same fields.
 */
type StoreLocation = string | S3Location | GcsLocation | AzureLocation | FileLocation | MemoryLocation;
/** Options of a URL. Credentials do not belong in a URL, because logs and process lists show it. */
type S3Parameter = Exclude<keyof S3Location, 'scheme' | 'bucket' | 'prefix' | 'accessKeyId' | 'secretAccessKey' | 'sessionToken'>;
type GcsParameter = Exclude<keyof GcsLocation, 'scheme' | 'bucket' | 'prefix' | 'token'>;
type AzureParameter = Exclude<keyof AzureLocation, 'scheme' | 'container' | 'prefix' | 'accountKey' | 'sasToken' | 'connectionString'>;
/** Schemes of the URLs that name a bucket. */
type Scheme = 's3' | 'gs' | 'az';
type Parameter<Of extends Scheme> = Of extends 's3' ? S3Parameter : Of extends 'gs' ? GcsParameter : AzureParameter;
/** What a URL with this scheme looks like. */
type Example<Of extends Scheme> = Of extends 's3' ? 's3://bucket/prefix?region=…' : Of extends 'gs' ? 'gs://bucket/prefix' : 'az://container/prefix?account=…';
type NameOf<Pair extends string> = Pair extends `${infer Name}=${string}` ? Name : Pair;
type NamesOf<Query extends string> = Query extends `${infer Pair}&${infer Rest}` ? NameOf<Pair> | NamesOf<Rest> : NameOf<Query>;
/** Unknown option names of a URL. Names that are known only at run time are not checked. */
type Unknown<Name extends string, Known extends string> = Name extends Known | '' ? never : IsWhole<Name> extends true ? Name : never;
/** Whether a string is known completely at compile time: `Record` keeps only such names as properties. */
type IsWhole<Text extends string> = {} extends Record<Text, 1> ? false : true;
/**
 * The URL itself if it is valid, otherwise the accepted URLs. A string that is known only at run time, such as
 * `process.env.CACHE`, is accepted: `openCache()` checks it.
 */
type CheckedUrl<Url extends string> = string extends Url ? Url : Url extends `${infer Of extends Scheme}://${infer Rest}` ? Rest extends '' | `/${string}` | `?${string}` ? Example<Of> : Rest extends `${string}?${infer Query}` ? [Unknown<NamesOf<Query>, Parameter<Of>>] extends [never] ? Url : `${Of}://…?${Parameter<Of>}=…` : Url : Url extends StoreUrl | `file://${string}` ? Url : StoreUrl;
//#endregion
//#region src/js/caches/trust-options.d.ts
/**
 * Trust levels: a cache restores only what its own level and the levels in `readsFrom` have signed, and writes to its own
 * level only. The credentials of the store are the boundary: each level has a prefix of its own, and a policy must allow
 * its writers no other one.
 */
interface TrustOptions {
  /** Level of this process: 1 to 40 characters of a-z, 0-9 and '-', such as 'main' or 'pr-12'. Without a level, the cache is read-only. */
  level?: string | undefined;
  /**
   * Private key of the level: an Ed25519 key in PKCS#8, as PEM text. `warmswap cache trust keygen` makes one. Without it,
   * the cache is read-only.
   */
  signWith?: string | undefined;
  /**
   * Public keys of each level: 'ed25519:…' or PEM text. An array accepts each of several keys, while keys are exchanged.
   * The public key of `signWith` is trusted for `level` without being named.
   */
  trustedKeys?: Record<string, string | readonly string[]> | undefined;
  /**
   * Levels to read, in this order. The own level is read first unless it is named here. Each key is looked up in all
   * levels before the next of `fallbackKeys`. @default all levels of trustedKeys
   */
  readsFrom?: readonly string[] | undefined;
}
//#endregion
//#region src/js/caches/caches.d.ts
/** Options of `openCache()`. */
interface CacheOptions {
  /** Secret of at least 16 bytes that signs and verifies pointers. Not together with `trust`. */
  hmacKey?: string | Uint8Array;
  /** Trust levels with a key pair each: which levels the cache reads, and the one it writes to. */
  trust?: TrustOptions;
  /** Whether the cache is read-only. Calls that write then end as 'disabled'. @default false */
  readOnly?: boolean;
  /**
   * Whether writes are conditional (If-Match, If-None-Match), so that one of two concurrent writers of a key ends as
   * 'superseded'.
   * - 'auto': conditional if the store honours conditions, which is probed once with a small object. Results carry
   *   `guard: 'none'` if it does not.
   * - 'required': if the store does not honour conditions, a snapshot ends as 'unguarded' and writes nothing under the
   *   key. If a policy denies the probe, conditions are sent and trusted.
   * - 'off': no conditions are sent, and `guard` is 'none'.
   * @default 'auto'
   */
  conditions?: 'auto' | 'required' | 'off';
  /** Called once per call, when it has ended. */
  onEvent?(event: CacheEvent): void;
}
/**
 * Opens a cache. Does no I/O.
 *
 * @param store A URL ('file:///var/cache', 's3://bucket/prefix?region=…&endpoint=…', 'gs://bucket/prefix',
 * 'az://container/prefix?account=…', 'memory:') or an object with the same fields. TypeScript checks URL literals: the
 * scheme, and the option names of a bucket's URL. With `undefined`, every call ends as 'disabled'.
 * @param options Signing secret, trust levels, read-only mode, conditional writes and the event listener.
 * @returns The cache. Close it with `close()` or `await using`.
 * @throws {WarmswapError} ERR_INVALID_ARGUMENT if the location or an option is wrong.
 *
 * @example
 * const cache = openCache('s3://bucket/prefix?region=eu-central-1')
 * const { outcome, ticket } = await cache.restore({ key: 'site-1', into: resolve('node_modules') })
 */
declare function openCache<const Url extends string>(store: CheckedUrl<Url> | S3Location | GcsLocation | AzureLocation | FileLocation | MemoryLocation | undefined, options?: CacheOptions): Cache;
//#endregion
//#region src/js/caches/location.d.ts
/**
 * Reads `<PREFIX>_S3_BUCKET`, `_S3_REGION`, `_S3_KEY`, `_S3_ENDPOINT`, `_S3_PREFIX`, `_S3_PROFILE`,
 * `_S3_ACCESS_KEY_ID`, `_S3_SECRET_ACCESS_KEY` and `_S3_SESSION_TOKEN` from a record such as `process.env`. Without a
 * bucket, `store` is undefined, and every call on the cache ends as 'disabled'.
 *
 * @param env The record.
 * @param prefix Start of the variable names.
 * @param defaults Values for variables that are not set.
 * @returns `store` for `openCache()`, and `key` if `<PREFIX>_S3_KEY` is set.
 * @throws {WarmswapError} ERR_INVALID_ARGUMENT if a value is not a string.
 */
declare function cacheLocationFromEnv(env: Record<string, string | undefined>, prefix: string, defaults?: {
  /** Region for `<PREFIX>_S3_REGION`. */region?: string;
}): {
  store: S3Location | undefined;
  key?: string;
};
//#endregion
//#region src/js/caches/trust-env.d.ts
/**
 * Reads `<PREFIX>_TRUST_LEVEL`, `_TRUST_SIGN_WITH` (the private key as PEM text), `_TRUST_KEYS` (public keys, such as
 * 'main=ed25519:…', separated by commas or white space) and `_TRUST_READS_FROM` from a record such as `process.env`.
 *
 * Without `_TRUST_LEVEL`, the level is 'pr-<number>' in a job of a pull request on GitHub Actions, or of a merge request in
 * GitLab CI, whose branch is in the same repository. In all other jobs there is no level, and the cache is read-only.
 * This is a convenience: the boundary is the credentials of the store.
 *
 * @param env The record.
 * @param prefix Start of the variable names.
 * @returns `trust` for `openCache()`, or undefined if none of the variables exists; and why the level is what it is.
 * @throws {WarmswapError} ERR_INVALID_ARGUMENT if a value does not have its form.
 */
declare function cacheTrustFromEnv(env: Record<string, string | undefined>, prefix: string): {
  trust: TrustOptions | undefined;
  reason: string;
};
//#endregion
//#region src/js/locks/holder.d.ts
/** The holder of a lock, and its description in messages. */
/** The holder of a lock. */
interface Holder {
  /** Process id. Absent if the holder left no record. */
  readonly pid?: number;
  /** Name of its machine. In a pid namespace, such as a container, `+pidns-` and a number follow. */
  readonly hostname?: string;
  /** Its command line. */
  readonly command?: string;
  /** When it acquired the lock, in ISO 8601. */
  readonly since?: string;
  /** Its fencing token. */
  readonly generation?: number;
  /** What it last passed to `lock.progress()`. */
  readonly progress?: {
    /** The phase. */phase: string; /** When it was passed, in ISO 8601. */
    at: string;
  };
  /** The `metadata` of its `acquireLock()`. */
  readonly metadata?: Record<string, unknown>;
  /**
   * The process that acquired the lock, if a child that inherited it holds it now (`coverChildren`). `pid` and
   * `command` are then the child's, and are missing if the child cannot be seen from here.
   */
  readonly inheritedFrom?: number;
  /** Why the directory is never taken over: it contains files that do not belong to a lock. */
  readonly note?: string;
  /**
   * Where this comes from: a record of warmswap, the `owner.json` of another tool, or nowhere, because the directory has
   * no record.
   */
  readonly format: 'warmswap' | 'owner-json' | 'ownerless';
}
/** Whether a holder is alive. 'unknown' if it cannot be checked from here, for example on another machine. */
type Liveness = 'alive' | 'dead' | 'unknown';
//#endregion
//#region src/js/locks/contract.d.ts
/** Options of the calls that acquire a lock. */
interface LockOptions {
  /** How the lock is kept. 'auto' decides by filesystem type before any lock call. @default 'auto' */
  mode?: 'auto' | 'kernel' | 'lease';
  /** Longest wait in milliseconds. 0 tries once; Infinity never times out. @default Infinity */
  timeoutMs?: number;
  /**
   * How long, in milliseconds, a lease's record may stay unchanged before the lease counts as expired. It is renewed
   * every third of this time. @default 30_000
   */
  leaseTtlMs?: number;
  /**
   * How long, in milliseconds, the record of an unverifiable holder on another machine must stay unchanged, as observed
   * here, before the lock is taken over. @default 600_000
   */
  foreignStaleMs?: number;
  /** JSON value that other processes see in {@link Holder}. At most 32 KiB. */
  metadata?: Record<string, unknown>;
  /**
   * Keeps the lock beyond the end of this process, as long as a child lives that was started with `lock.childEnv()` and
   * `lock.childFd()`. @default false
   */
  coverChildren?: boolean;
  /** Stops waiting. The call rejects with the signal's reason. An acquired lock is not affected. */
  signal?: AbortSignal;
  /**
   * Called while the caller waits: first within 100 ms, then on each change of holder or progress, and every 10 s.
   * Without it, one process warning names the holder after 10 s, even if it is this thread.
   */
  onWait?(info: {
    /** Path of the lock. */path: string; /** Time since the call began, in milliseconds. */
    waitedMs: number; /** The current holder. `null` if it left no record. */
    holder: Holder | null; /** Whether the holder is alive. 'unknown' if it cannot be checked from here. */
    liveness: Liveness;
  }): void;
}
/** A lock that is held. */
interface Lock extends Disposable {
  /** Absolute path of the lock. */
  readonly path: string;
  /** Random text that identifies this acquisition. */
  readonly token: string;
  /** Fencing token. It grows with each acquisition of this path, even after the lock's files were deleted. */
  readonly generation: number;
  /** How the lock is kept: by the kernel, or by a lease that is renewed. */
  readonly mode: 'kernel' | 'lease';
  /** The dead holder that this lock was taken over from. Check for incomplete work that it left. */
  readonly tookOverFrom: Holder | null;
  /** Aborts when the lock is lost. */
  readonly signal: AbortSignal;
  /** Throws ERR_LOCK_LOST unless the lock is held. */
  assertHeld(): void;
  /**
   * Publishes `phase` as `holder.progress`, for waiters and `inspectLock()`. Throws ERR_LOCK_LOST unless the lock is
   * held.
   */
  progress(phase: string): void;
  /** Renames a file or directory atomically. Fails with ERR_FENCED if a later holder has already published. */
  publish(from: string, to: string): Promise<void>;
  /** Environment with WARMSWAP_LOCK and the lock's generation, for {@link publishFenced} in a child. */
  childEnv(): Record<string, string>;
  /** Descriptor to pass in `stdio` of a child, with `coverChildren`. */
  childFd(): number;
  /** Releases the lock. Synchronous; calling it again does nothing. Dispose calls it. */
  release(): {
    released: boolean;
    reason?: 'lost';
  };
}
/** The lease of a run whose callers coordinate over a store. It ends with the run. */
interface StoreLock {
  /** The store and the key, as a URL without options. */
  readonly path: string;
  /** Names this call in the record. */
  readonly token: string;
  /**
   * Fencing token. It grows with each acquisition of this key, as long as its record is not deleted. Pass it to what the
   * run writes to, if that can refuse a lower number.
   */
  readonly generation: number;
  /** Always 'lease': the record is renewed while the run lasts. */
  readonly mode: 'lease';
  /** The holder that did not renew its lease, and that this run was taken over from. Check for incomplete work that it left. */
  readonly tookOverFrom: Holder | null;
  /** Aborts when the lease is lost, before another caller can have taken over. Its run then does not count. */
  readonly signal: AbortSignal;
  /** Throws ERR_LOCK_LOST if the lease is lost. */
  assertHeld(): void;
  /** Shows `phase` to the callers that wait, and in `warmswap lock why`. The next renewal writes it. Throws ERR_LOCK_LOST if the lease is lost. */
  progress(phase: string): void;
}
/** Options of `sweepLocks()`. */
interface SweepLocksOptions extends AnswerOptions {
  /**
   * Removes the files of locks (guard, records, spare) that no process has used for this many milliseconds. Infinity
   * keeps them. Files of locks in lease mode are always kept. @default 86_400_000 (one day)
   */
  unusedMs?: number;
}
/** Time limit for a filesystem that does not respond, and a signal that ends the wait. */
interface AnswerOptions {
  /** Stops waiting. The call rejects with the signal's reason. */
  signal?: AbortSignal;
  /**
   * Longest wait in milliseconds; then the call rejects with ERR_TIMEOUT. Infinity is allowed. The operation itself
   * continues in the background until the filesystem responds. @default 30_000
   */
  timeoutMs?: number;
}
//#endregion
//#region src/js/locks/locks.d.ts
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
declare function acquireLock(path: string, options?: LockOptions): Promise<Lock>;
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
declare function tryLock(path: string, options?: Omit<LockOptions, 'timeoutMs' | 'onWait'>): Promise<Lock | null>;
/**
 * Runs a task while holding the lock, and releases the lock when the task has ended or failed.
 *
 * @param path Path of the lock.
 * @param task Gets the lock. It is not stopped when the lock is lost: use `lock.signal` for that.
 * @param options Longest wait, signal, mode and the events of the wait.
 * @returns What the task returned.
 * @throws What the task threw. Otherwise the same errors as `acquireLock()`.
 */
declare function withLock<T>(path: string, task: (lock: Lock) => T | Promise<T>, options?: LockOptions): Promise<T>;
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
declare function inspectLock(path: string, options?: AnswerOptions): Promise<{
  path: string;
  held: boolean;
  holder: Holder | null;
  liveness: Liveness | null;
  ageMs: number | null;
  warning: string | null;
}>;
/**
 * Waits until the lock has no holder. Does not acquire it, but removes the files of a holder that is proven dead.
 *
 * @param path Path of the lock.
 * @param options Longest wait, signal and the events of the wait.
 * @returns `waitedMs`: time of the wait in milliseconds. `orphaned`: whether the last holder had died.
 * @throws {WarmswapError} The same errors as `acquireLock()`.
 */
declare function waitForLock(path: string, options?: LockOptions): Promise<{
  waitedMs: number;
  orphaned: boolean;
}>;
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
declare function sweepLocks(directory: string, options?: SweepLocksOptions): Promise<{
  removed: string[];
  held: string[];
}>;
/**
 * Does the same as `lock.publish()`, in a child that was started with `childEnv()`: renames a file or directory
 * atomically, unless a later holder has already published.
 *
 * @param lock Path and fencing token of the lock.
 * @param from Path of the file or directory.
 * @param to Path that it gets, on the same filesystem.
 * @throws {WarmswapError} ERR_FENCED if a later holder has already published, ERR_IO if a system call fails.
 */
declare function publishFenced(lock: {
  /** Path of the lock: `process.env.WARMSWAP_LOCK` in the child. */path: string; /** Fencing token of the holder. */
  generation: number;
}, from: string, to: string): Promise<void>;
//#endregion
//#region src/js/locks/job.d.ts
/** The result that several processes need and one produces. `run` gets a {@link Lock}, or a {@link StoreLock} if the callers coordinate over a store. */
interface PrewarmJob<T extends {} | null, Held = Lock> {
  /**
   * Returns the result if it exists. `undefined` and `false` mean that it is not ready, so `() => existsSync(path)`
   * works; `null` is a result. After `run()` has resolved, `isReady()` must return a result, otherwise `prewarm()`
   * rejects with ERR_NOT_READY.
   */
  isReady(): Promise<T | undefined | false> | T | undefined | false;
  /** Produces the result, and leaves it where `isReady()` finds it. */
  run(lock: Held): Promise<T> | T;
}
/** The result, and how this call obtained it. */
interface Prewarmed<T> {
  /** What `isReady()` or `run()` returned. */
  value: T;
  /** 'ran' if this call ran the job, 'reused' if the result was there or another caller produced it. */
  role: 'ran' | 'reused';
  /** Milliseconds that the call waited for other callers. */
  waitedMs: number;
  /** The dead process that ran the job before. Check for incomplete work that it left. */
  tookOverFrom: Holder | null;
}
//#endregion
//#region src/js/locks/prewarm.d.ts
/** Options of `prewarm()`: those of a lock, and what a failed run means for the callers that waited for it. */
type PrewarmOptions = LockOptions & {
  /**
   * Whether a failed run also fails the callers that waited for it ('share'), or one of them runs the job again
   * ('retry'). @default 'share'
   */
  onFailure?: 'share' | 'retry';
};
/** Options of `prewarm()` over a store. `leaseTtlMs` is at least 1000 and at most 600_000 there, `metadata` at most 4 KiB. */
type StorePrewarmOptions = Omit<PrewarmOptions, 'mode' | 'foreignStaleMs' | 'coverChildren'>;
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
declare function prewarm<T extends {} | null>(store: StoreUrl | S3Location | GcsLocation | AzureLocation | FileLocation | MemoryLocation, job: PrewarmJob<T, StoreLock>, options?: StorePrewarmOptions): Promise<Prewarmed<T>>;
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
declare function prewarm<T extends {} | null>(path: string, job: PrewarmJob<T>, options?: PrewarmOptions): Promise<Prewarmed<T>>;
//#endregion
//#region src/js/native/errors.d.ts
/**
 * All error codes. The reference documents the meaning of each, whether it is retryable, and which calls throw it.
 * Codes are added, never renamed.
 */
type ErrorCode = 'ERR_INVALID_ARGUMENT' | 'ERR_UNSUPPORTED' | 'ERR_IO' | 'ERR_ABORTED' | 'ERR_TIMEOUT' | 'ERR_NO_GENERATION' | 'ERR_GENERATION_GONE' | 'ERR_GENERATION_CORRUPT' | 'ERR_EMPTY_STAGE' | 'ERR_MISSING_ENTRY' | 'ERR_STAGE_CLOSED' | 'ERR_FENCED' | 'ERR_LOCK_TIMEOUT' | 'ERR_LOCK_LOST' | 'ERR_FORMAT' | 'ERR_CLOSED' | 'ERR_NOT_READY' | 'ERR_REENTRANT' | 'ERR_TOO_LARGE' | 'ERR_WORKER_EXITED' | 'ERR_QUEUE_FULL' | 'ERR_UNTRUSTED' | 'ERR_UNSTABLE';
/** Details of a {@link WarmswapError} in addition to its code and message. */
interface ErrorFacts {
  /** The path that the error is about. */
  path?: string | undefined;
  /** The system call that failed. */
  syscall?: string | undefined;
  /** The holder of the lock that the call waited for. */
  holder?: Holder | undefined;
  /** Outcome of a call on a cache that throws instead of resolving. */
  outcome?: string | undefined;
  /** The error that caused this one. */
  cause?: unknown;
}
/** The only error class of this library. Test with {@link isWarmswapError}, not with `instanceof`. */
declare class WarmswapError extends Error {
  /** One of the documented error codes. */
  readonly code: ErrorCode;
  /** Whether the same call can succeed later without a change to the program. */
  readonly retryable: boolean;
  /** The path that the error is about. */
  readonly path?: string;
  /** The system call that failed. */
  readonly syscall?: string;
  /** The holder of the lock that the call waited for. */
  readonly holder?: Holder;
  /** Outcome of a call on a cache that throws instead of resolving. */
  readonly outcome?: string;
  constructor(code: ErrorCode, message: string, facts?: ErrorFacts);
}
/**
 * Whether a value is a WarmswapError. Also true for errors from other realms, workers and duplicate copies of the
 * package.
 *
 * @param error Any value.
 */
declare function isWarmswapError(error: unknown): error is WarmswapError;
//#endregion
//#region src/js/restarts/build.d.ts
/** What a build must contain, and how long to wait for it. */
interface BuildNeed {
  /** The stamp from `change()` of the change that the build must contain. */
  atLeast: number;
  /** Stops waiting. The build goes on while another caller waits for it. */
  signal?: AbortSignal;
  /**
   * Longest wait of this caller in milliseconds. If a build runs longer than the `timeoutMs` of the caller that started
   * it, it counts as hung: its signal aborts, and another waiter takes over. @default 300_000
   */
  timeoutMs?: number;
}
/** Arguments of a build. */
interface BuildContext {
  /** Stage to write the bundle to. It is published when the build resolves. */
  stage: Stage;
  /** Start of this build, comparable with stamps from `change()`. */
  startedAt: number;
  /** Aborts when no caller waits for this build any more, or when it hangs. */
  signal: AbortSignal;
}
/** Builds into the stage. Its result (JSON or undefined) becomes the generation's `meta`. */
type BuildRun = (context: BuildContext) => Promise<unknown>;
/** A pin on a generation that contains the change, and how the generation was built. */
interface BuildResult {
  /** A pin on the generation. The caller releases it. */
  pin: Pin;
  /**
   * 'ran': this call ran `run`. 'joined': it waited for the build of another caller. 'reused': the current generation
   * contained the change.
   */
  role: 'ran' | 'joined' | 'reused';
}
//#endregion
//#region src/js/restarts/handle.d.ts
/** Where a worker listens: a Unix socket (on Windows a named pipe), or a TCP port of this machine. */
type WorkerAddress = {
  socketPath: string;
} | {
  host: string;
  port: number;
};
/** A running worker. */
interface WorkerHandle<Q = unknown, R = unknown> {
  /**
   * Sends a request. Resolves with the worker's reply. A reply in parts is an async iterable or a stream, which fails
   * if the worker ends before its last part.
   */
  send(request: Q, context: {
    /** Number of the worker among those that its coordinator has started, from 1. */incarnation: number; /** Aborts when no caller waits for the answer any more. */
    signal: AbortSignal;
  }): Promise<R>;
  /** Resolves once the worker has ended, for any reason. */
  readonly exited: Promise<unknown>;
  /** Lets the worker finish for up to `deadlineMs` milliseconds, then kills it. Resolves once it has ended. */
  stop(deadlineMs: number): Promise<void>;
  /**
   * Answers a Fetch request, for `coordinator.fetch()` and `coordinator.attach()`. Optional for a handle of your own;
   * without it these answer 501. A rejection that is not ERR_WORKER_EXITED is the failure of this request alone.
   */
  fetch?(request: Request, context: {
    /** Number of the worker among those that its coordinator has started, from 1. */incarnation: number; /** Aborts when no caller waits for the answer any more. */
    signal: AbortSignal;
  }): Promise<Response>;
  /**
   * Opens a new connection to the server of a worker that listens. Where it exists, `coordinator.attach()` proxies HTTP
   * and WebSocket upgrades over such connections. A rejection means that no byte of the request was sent.
   */
  connect?(): Promise<Socket>;
  /** Where the worker listens, for programs that connect by themselves. */
  readonly address?: WorkerAddress;
}
//#endregion
//#region src/js/restarts/queue.d.ts
/** How a request may be handled. */
interface DispatchOptions {
  /** Whether to send a request again if its worker had begun it and died. @default 'never' */
  replay?: 'never' | 'idempotent';
  /** Time limit in milliseconds until the answer, or the beginning of an answer in parts. @default 30_000 */
  timeoutMs?: number;
  /** Cancels the request, even in the middle of an answer in parts. The worker is notified. */
  signal?: AbortSignal;
}
//#endregion
//#region src/js/restarts/drain.d.ts
/** How long an old worker may finish what it has: milliseconds, or until it has nothing any more. */
type Drain = number | 'until-quiet';
//#endregion
//#region src/js/restarts/workers.d.ts
/** Arguments of a worker's start. */
interface StartContext {
  /** Number of the worker to start, from 1. */
  incarnation: number;
  /** The generation to run. It is kept until the worker has ended. */
  pin: Pin;
  /** Aborts when the start takes too long or the coordinator closes. */
  signal: AbortSignal;
}
/** Starts a worker on a pinned generation. */
type Start<Q, R> = (context: StartContext) => Promise<WorkerHandle<Q, R>>;
/** Result of a reboot. */
interface RebootResult {
  /** Number of the worker that serves now. */
  incarnation: number;
  /**
   * 'started': this call started a worker. 'joined': it waited for the start of another caller. 'already': a worker that
   * is new enough was serving.
   */
  outcome: 'started' | 'joined' | 'already';
}
//#endregion
//#region src/js/restarts/coordinator-options.d.ts
/** Options of {@link openCoordinator}. */
interface CoordinatorOptions<Q, R> {
  /** Starts a worker on a pinned generation. Called at most once per incarnation. */
  start: Start<Q, R>;
  /** How many requests may wait for a worker. @default 1_000 */
  queueLimit?: number;
  /**
   * `'start-first'`: the new worker is started next to the old one, which serves until the new one is ready.
   * `'stop-first'`: the old worker has ended before the new one is started, for a resource that only one process can have
   * (a database file, a device). Requests wait in the queue in the meantime. @default 'start-first'
   */
  order?: 'start-first' | 'stop-first';
  /**
   * How long an old worker may finish what it has: responses, answers in parts and upgraded sockets. A number of
   * milliseconds, or `'until-quiet'`: until nothing of it is under way, with `maxDraining` as the only limit. What is left
   * then is cut; a WebSocket gets "1012 Service Restart". `order: 'stop-first'` requires a number. @default 5_000
   */
  drain?: Drain;
  /** The name of `drain` before 0.2, for a number. */
  drainMs?: number;
  /** With `drain: 'until-quiet'`: how many old workers may drain; one more cuts the oldest. @default 3 */
  maxDraining?: number;
  /** How long `start` may take, in milliseconds. @default 60_000 */
  startTimeoutMs?: number;
  /**
   * A build waits until there was no `change()` for so many milliseconds, so that many changes make one build.
   * @default 0
   */
  quietMs?: number;
  /** A build waits for quiet at most so long, in milliseconds. @default 10 × quietMs */
  maxQuietMs?: number;
}
//#endregion
//#region src/js/restarts/http/options.d.ts
/** How the coordinator handles HTTP requests. */
interface FetchOptions {
  /**
   * Whether a request that a worker had begun when it ended may be sent to the next worker. `'safe'` does so for GET and
   * HEAD without a body, as long as the head of the answer was not sent. A request that no worker had begun always goes to
   * the next one. @default 'never'
   */
  replay?: 'never' | 'safe';
  /**
   * How long a request may take until the head of its answer, in milliseconds. Each part of the request's body starts
   * this time again. Infinity is allowed. @default 30_000
   */
  timeoutMs?: number;
  /** Whether answers to failed requests show messages and stacks. @default `process.env.NODE_ENV !== 'production'` */
  development?: boolean;
}
//#endregion
//#region src/js/restarts/http/attach.d.ts
/** A server that attach() accepts: one of node:http or node:https. */
type AttachedServer = Server | Server$1;
//#endregion
//#region src/js/restarts/coordinator.d.ts
/** State of a coordinator. */
interface CoordinatorStatus {
  /**
   * 'building' while a build of this process runs; otherwise the state of the workers. 'failed': there is no worker,
   * because the last build, start or clean-up failed. 'idle': there is no worker, and the next request starts one.
   */
  state: 'idle' | 'building' | 'starting' | 'ready' | 'draining' | 'failed';
  /** The incarnation that serves, or served last. 0 before the first. */
  incarnation: number;
  /** The generation that it runs. */
  generation: number | null;
  /** Number of requests that are not assigned to a worker. */
  waiting: number;
  /**
   * The last failure that nothing has replaced since: of a build, of a start, of the clean-up, or the uncaught error that
   * ended a worker. The error of a worker stays until a worker runs another generation.
   */
  lastError?: Error;
}
/** Coordinates one bundle: builds it, publishes it, starts the new worker, then drains the old one. */
interface Coordinator<Q = unknown, R = unknown> extends AsyncDisposable {
  /**
   * Call it after an input has changed. Returns a stamp that is comparable between the processes of one machine
   * (monotonic microseconds since boot). Takes no lock.
   */
  change(): number;
  /**
   * Returns a build that started at or after `atLeast`. Joins or reuses such a build; otherwise exactly one trailing
   * build serves all late callers. The stage is published when `run` resolves. The result of `run` (JSON or undefined)
   * is the generation's `meta`, which every process can read. Resolves with a pin on the generation that contains the
   * change; the caller releases it. After a failed build, the current generation remains in use.
   *
   * @throws {WarmswapError} ERR_TIMEOUT if it takes longer than `timeoutMs`, ERR_CLOSED after close. If the build
   * fails, rejects with the build's error.
   */
  build(need: BuildNeed, run: BuildRun): Promise<BuildResult>;
  /**
   * Ensures that a worker newer than `observed` runs the current generation. Concurrent callers share one start, and a
   * worker that is dead but not yet reaped does not delay it. `observed` is the incarnation that the caller saw fail.
   */
  reboot(request: {
    /** Number of the worker that the caller saw fail or wants replaced. `null` before the first worker. */observed: number | null; /** Human-readable reason for the start. */
    reason: string;
  }): Promise<RebootResult>;
  /**
   * Sends a request to the worker, starting one if there is none. The queue belongs to the bundle, not to a worker:
   * requests are not lost when a worker ends. An answer in parts is a ReadableStream, whatever the worker created it
   * from. It is read as fast as its consumer reads. Cancelling it stops the worker's source. It fails with
   * ERR_WORKER_EXITED if its worker ends, or `drain` milliseconds after its worker was replaced.
   *
   * @throws {WarmswapError} ERR_WORKER_EXITED if a worker ended after it had begun the request, ERR_QUEUE_FULL,
   * ERR_TIMEOUT, ERR_CLOSED.
   */
  dispatch(request: Q, options?: DispatchOptions): Promise<R>;
  /**
   * Answers a Fetch request with a worker that calls serveFetch(). Starts a worker if there is none. The bodies of the
   * request and of the answer are streams with back-pressure. An abort of `request.signal` aborts the signal of the
   * `Request` that the worker has.
   *
   * Resolves with a 502, 503 (with Retry-After), 504 or 501 if no worker answers. The header `x-warmswap-error` of that
   * answer has the error's code, or `handler` for an error that the worker's handler threw. In development its body has
   * the message, and the stack of the worker or of the last build. It is HTML if the request accepts that, otherwise text.
   *
   * @throws {WarmswapError} ERR_INVALID_ARGUMENT, ERR_CLOSED. An aborted `request.signal` rejects with its reason.
   */
  fetch(request: Request, options?: FetchOptions): Promise<Response>;
  /**
   * Answers all requests of a server of node:http or node:https like fetch(), its `Expect: 100-continue` requests and its
   * malformed requests included. The client's `Host` is kept; forwarding headers (`X-Forwarded-*`, `Forwarded`,
   * `X-Real-IP`) are replaced. A client that disconnects aborts `request.signal` in the worker. The server needs no other
   * listener for requests. Returns a function that stops this; it closes nothing.
   *
   * An upgrade is answered with 501 unless the worker listens (`listen: true`).
   *
   * @throws {WarmswapError} ERR_INVALID_ARGUMENT, ERR_CLOSED.
   */
  attach(server: AttachedServer, options?: FetchOptions): () => void;
  /** Returns the state at this moment. Does no I/O. */
  status(): CoordinatorStatus;
}
/**
 * Opens the coordinator of a store. Coordinators of several processes on one store share its builds.
 *
 * @param store Store of the bundle. It stays open when the coordinator is closed.
 * @param options How to start a worker, and how workers follow one another.
 * @returns The coordinator. Close it with `await using`, or with `[Symbol.asyncDispose]()`.
 * @throws {WarmswapError} ERR_INVALID_ARGUMENT for wrong options, ERR_CLOSED if the store was closed.
 */
declare function openCoordinator<Q = unknown, R = unknown>(store: BundleStore, options: CoordinatorOptions<Q, R>): Coordinator<Q, R>;
//#endregion
//#region src/js/restarts/process-options.d.ts
/** Where the output of a worker goes: to this process's, nowhere, or to `process.stdout` and `process.stderr` of the handle. */
type WorkerOutput = 'inherit' | 'ignore' | 'pipe';
/** Options of {@link startProcess}. */
interface ProcessOptions {
  /** Arguments of the program. @default [] */
  args?: string[];
  /** Variables that are added to this process's environment; `undefined` removes one. @default {} */
  env?: Record<string, string | undefined>;
  /**
   * The worker is an HTTP server: it is ready when it listens. It listens on the socket path `process.env.WARMSWAP_LISTEN`
   * or, on Linux, on the port `process.env.PORT` (a free one, unless `env` has a PORT). The coordinator keeps the public
   * port and proxies HTTP and upgrades, so that any server in any language works unchanged. The worker gets SIGTERM once
   * nothing of it is under way, or when the drain ends. @default false
   */
  listen?: boolean;
  /** The program that runs the entry. @default process.execPath */
  execPath?: string;
  /** Arguments of that program, before the entry. @default process.execArgv */
  execArgv?: string[];
  /** The working directory, an absolute path. @default the folder of the generation */
  cwd?: string;
  /** Where standard output and standard error go; an array of two sets them separately. With 'pipe' you have to read them. @default 'inherit' */
  stdio?: WorkerOutput | [stdout: WorkerOutput, stderr: WorkerOutput];
  /** A text in front of each line that the worker prints, such as `[api] `. Not with `stdio`. */
  outputPrefix?: string;
  /** How long until the entry calls serveRequests() or serveFetch(), or listens, in milliseconds. @default 30_000 */
  readyTimeoutMs?: number;
  /**
   * Also ends processes that the worker started and that made a session of their own (`detached`, setsid, daemons), when
   * the worker ends or its host does. Without it they are named on standard error and left running. @default false
   */
  killDetached?: boolean;
}
//#endregion
//#region src/js/restarts/start-context.d.ts
/** The part of the {@link StartContext} that a start needs. */
interface GivenContext {
  /** The generation to run. */
  pin: Pin;
  /** Aborts when the start takes too long or the coordinator closes. */
  signal: AbortSignal;
}
//#endregion
//#region src/js/restarts/process.d.ts
/** A worker that is a process. */
interface ProcessHandle<Q = unknown, R = unknown> extends WorkerHandle<Q, R> {
  /** The process: its pid, its output, and messages of your own. */
  readonly process: ChildProcess;
}
/**
 * Starts `entry`, a file of the pinned generation, as a process in a group of its own. Its working directory is the
 * generation. Before this resolves, the process has its own pin, so the generation is kept even if this process dies.
 *
 * When the process ends, for any reason, the rest of its group and session is killed. When this process ends, even by
 * SIGKILL, a keeper process (about 7 MiB, started with the first worker) kills the worker with its group and session.
 * Its exit handlers have 500 ms.
 *
 * @param context What `options.start` of the coordinator was called with.
 * @param entry Path of the program, relative to the generation.
 * @param options Arguments, environment, output and time limit.
 * @returns A handle, for `options.start` to return.
 * @throws {WarmswapError} ERR_NOT_READY if the entry does not call serveRequests() or serveFetch(), or does not listen,
 * in time. ERR_WORKER_EXITED if it ends before; the uncaught error that ended it, with the worker's stack, is the
 * `cause`.
 */
declare function startProcess<Q = unknown, R = unknown>(context: GivenContext, entry: string, options?: ProcessOptions): Promise<ProcessHandle<Q, R>>;
//#endregion
//#region src/js/restarts/serve.d.ts
/** The worker's side of dispatch(). */
/** Context of a request. */
interface RequestContext {
  /** Number of this worker among those that its coordinator has started, from 1. */
  incarnation: number;
  /** Aborts when no caller waits for the answer any more. */
  signal: AbortSignal;
}
/**
 * Answers one request: with a value, or in parts with an async iterable, a ReadableStream or a stream of Node. Parts
 * are read as fast as the consumer reads them.
 */
type RequestHandler<Q, R> = (request: Q, context: RequestContext) => R | Promise<R>;
/**
 * In a worker that startWorkerThread() or startProcess() started: answers the requests of `coordinator.dispatch()`, and
 * notifies the coordinator that the worker is ready. Requests are handled concurrently. When the coordinator stops the
 * worker, it ends itself once it has answered what it began; so does a process whose host is gone.
 *
 * @param handler Answers one request.
 * @throws {WarmswapError} ERR_UNSUPPORTED if no coordinator started this thread or process, ERR_REENTRANT if it is
 * called twice.
 */
declare function serveRequests<Q = unknown, R = unknown>(handler: RequestHandler<Q, R>): void;
//#endregion
//#region src/js/restarts/serve-fetch.d.ts
/** The worker's side of fetch() and attach(). */
/** What is known of an HTTP request in addition to the `Request`. */
interface FetchContext {
  /** The generation that this worker runs. */
  generation: number;
  /** The number of this worker among those that its coordinator has started. */
  incarnation: number;
  /** Raised when the client has disconnected, or when nobody waits for the answer any more; also `request.signal`. */
  signal: AbortSignal;
}
/** Answers one HTTP request. */
type FetchHandler = (request: Request, context: FetchContext) => Response | Promise<Response>;
/**
 * In a worker that startWorkerThread() or startProcess() started: answers the HTTP requests of `coordinator.fetch()` and
 * `coordinator.attach()`, and notifies the coordinator that the worker is ready. Requests are handled concurrently. The
 * bodies of requests and answers are streams, read as fast as their consumer reads. An error of the handler is the
 * answer to that request alone (502).
 *
 * A worker can call serveRequests() too.
 *
 * @param handler Answers one HTTP request.
 * @throws {WarmswapError} ERR_UNSUPPORTED where no coordinator started this thread or process, ERR_REENTRANT when
 * called twice.
 */
declare function serveFetch(handler: FetchHandler): void;
//#endregion
//#region src/js/restarts/thread.d.ts
/** Options of {@link startWorkerThread}. */
interface WorkerThreadOptions {
  /** `workerData` of the thread. */
  workerData?: unknown;
  /** Arguments of the program: `process.argv` of the thread from the third on. @default [] */
  args?: string[];
  /** Variables that are added to a copy of this process's environment; `undefined` removes one. Without it the thread has a copy. */
  env?: Record<string, string | undefined>;
  /**
   * The worker is an HTTP server: it is ready when it listens on the socket path `process.env.WARMSWAP_LISTEN` or, on
   * Linux, on the port `process.env.PORT`. See `listen` of {@link startProcess}; instead of a SIGTERM the thread is
   * terminated. @default false
   */
  listen?: boolean;
  /** Options of Node for the thread. @default process.execArgv */
  execArgv?: string[];
  /** Limits of the thread's heap and stack, as `node:worker_threads` has them. */
  resourceLimits?: ResourceLimits;
  /** A text in front of each line that the thread prints, such as `[api] `. */
  outputPrefix?: string;
  /** How long until the entry calls serveRequests() or serveFetch(), or listens, in milliseconds. @default 30_000 */
  readyTimeoutMs?: number;
}
/** A worker that is a thread. */
interface ThreadHandle<Q = unknown, R = unknown> extends WorkerHandle<Q, R> {
  /** The thread: its id, its output, and messages of your own. */
  readonly thread: Worker;
}
/**
 * Starts `entry`, a file of the pinned generation, as a thread. Resolves once it calls serveRequests(). A thread shares
 * the working directory of its process.
 *
 * @param context What `options.start` of the coordinator was called with.
 * @param entry Path of the program, relative to the generation.
 * @param options Arguments, environment, output and time limit.
 * @returns A handle, for `options.start` to return.
 * @throws {WarmswapError} ERR_NOT_READY if the entry does not call serveRequests() or serveFetch(), or does not listen,
 * in time. ERR_WORKER_EXITED if it ends before; the uncaught error that ended it, with the worker's stack, is the
 * `cause`.
 */
declare function startWorkerThread<Q = unknown, R = unknown>(context: GivenContext, entry: string, options?: WorkerThreadOptions): Promise<ThreadHandle<Q, R>>;
//#endregion
//#region src/js/state/cells.d.ts
/** A versioned value that all threads of the process share. Stored as structured-clone bytes, never as a reference. */
interface SharedCell<T> extends Disposable {
  /**
   * Returns value and version of one moment, as a new copy at each call. `undefined` and `0n` before the first write.
   */
  read(): {
    value: T | undefined;
    version: bigint;
  };
  /** Writes unconditionally. Returns the new version. */
  write(value: T): bigint;
  /** Writes only if the version is still `expected`. `version` is the version after the call. */
  compareAndSet(expected: bigint, value: T): {
    ok: boolean;
    version: bigint;
  };
  /**
   * Reads, changes and writes, and repeats until no other writer came in between. `change` may be called several times.
   */
  update(change: (value: T | undefined) => T): {
    value: T;
    version: bigint;
  };
  /** Whether the version differs from this one. Costs a memory load and no native call. */
  changedSince(version: bigint): boolean;
  /**
   * Resolves with the latest version as soon as it differs from `since`. Does not keep the thread alive: a thread that
   * has nothing else to do ends.
   *
   * @throws {WarmswapError} ERR_TIMEOUT after `timeoutMs`, ERR_CLOSED if the handle is closed. Aborting rejects with the
   * signal's reason.
   */
  waitForChange(since: bigint, options?: {
    /** Longest wait in milliseconds. @default Infinity */timeoutMs?: number; /** Stops waiting. */
    signal?: AbortSignal;
  }): Promise<bigint>;
}
/**
 * Opens the cell of `key`, which is the same for every thread of the process. It lives as long as the process. Dispose
 * closes this handle and ends its waits with ERR_CLOSED.
 *
 * @param key Name of the cell.
 * @param options Size limit.
 * @returns A handle of the cell.
 * @throws {WarmswapError} ERR_INVALID_ARGUMENT for wrong arguments.
 */
declare function sharedCell<T>(key: string, options?: {
  /** Largest value in bytes. A larger one is refused with ERR_TOO_LARGE. @default 16 MiB */maxBytes?: number;
}): SharedCell<T>;
//#endregion
//#region src/js/state/root.d.ts
/** A change of a key. */
interface StateChange {
  /** Name of the value. */
  key: string;
  /** What happened: a value was created, replaced, removed, or created from one of another version. */
  type: 'define' | 'replace' | 'drop' | 'migrate';
}
//#endregion
//#region src/js/state/scope.d.ts
/** How far a value is shared. 'isolate' is one per thread, over all vm contexts. */
type StateScope = 'isolate' | 'realm' | 'test-file';
//#endregion
//#region src/js/state/registry.d.ts
/** Options of a definition. */
interface StateOptions<T> {
  /**
   * Version of the value. If a definition has another version than the stored one, the old value is disposed of and a
   * new one is created. `'auto'` is a version that changes with each edit of the module that calls defineState, and
   * with nothing else: an edit of another module, a reload, a re-optimization and a restart of the server keep the
   * value. With the Vite plugin `'auto'` is the content of the module's file, otherwise the source text of `init`.
   * @default 1
   */
  version?: 'auto' | (string & {}) | number;
  /**
   * How far the value is shared. 'isolate': one value per thread, over all its vm contexts; 'realm': one per vm
   * context; 'test-file': one per run of a test file. @default 'isolate'
   */
  scope?: StateScope;
  /**
   * Closes a value. Called once, before the next value is created: for a new version, and by replaceState, dropState
   * and resetState. defineStateAsync waits up to 10 seconds for the promise that it returns; defineState cannot wait.
   * An error becomes a process warning, and the next value is created.
   */
  dispose?(old: T): void | Promise<void>;
  /** Creates the value of a new version from the old value, instead of the initialiser. */
  migrate?(old: T, from: string | number): T;
}
/**
 * Returns the value of `key`, and creates it with `init` if there is none. Every module, copy of this package, vm
 * context and module runner of the thread gets the same object. If a value is stored, `init` is not called, and the
 * call costs one `Map.get`.
 *
 * @param key Name of the value.
 * @param init Creates the value.
 * @param options Version, scope, `dispose` and `migrate`.
 * @returns The stored value, or the new one.
 * @throws {WarmswapError} ERR_REENTRANT if `init` asks for its own key, ERR_NOT_READY if defineStateAsync() is still
 * creating the value, ERR_INVALID_ARGUMENT for wrong arguments. An error of `init` is thrown, and nothing is stored.
 */
declare function defineState<T>(key: string, init: () => T, options?: StateOptions<T>): T;
/**
 * Like {@link defineState}, with an asynchronous initialiser. Concurrent calls share it. A failure rejects them all and
 * is not stored, so that the next call tries again.
 *
 * @param key Name of the value.
 * @param init Creates the value.
 * @param options Version, scope, `dispose` and `migrate`.
 * @returns The stored value, or the new one.
 * @throws {WarmswapError} ERR_REENTRANT if `init` waits for its own key, ERR_INVALID_ARGUMENT for wrong arguments.
 * Otherwise what `init` threw.
 */
declare function defineStateAsync<T>(key: string, init: () => Promise<T>, options?: StateOptions<T>): Promise<T>;
/**
 * Returns the value of `key`, or undefined if none is stored. The value may itself be `undefined`: {@link hasState}
 * distinguishes the two.
 *
 * @param key Name of the value.
 */
declare function peekState<T>(key: string): T | undefined;
/**
 * Whether a value is stored under `key`, even if it is `undefined` or `null`.
 *
 * @param key Name of the value.
 */
declare function hasState(key: string): boolean;
/**
 * Replaces a defined value. The old one is disposed of unless it is the same.
 *
 * @param key Name of the value.
 * @param value The new value.
 * @throws {WarmswapError} ERR_INVALID_ARGUMENT if no value is stored under `key`; ERR_REENTRANT or ERR_NOT_READY while it
 * is being created.
 */
declare function replaceState<T>(key: string, value: T): void;
/**
 * Disposes of a value and removes it. A value that is being created is awaited first.
 *
 * @param key Name of the value.
 * @returns Whether there was a value.
 * @throws {WarmswapError} ERR_REENTRANT if the initialiser of the value calls it.
 */
declare function dropState(key: string): Promise<boolean>;
/**
 * Drops values, the latest definition first.
 *
 * @param filter Which values. Default: all.
 */
declare function resetState(filter?: {
  /** Start of the keys to drop. @default '' */prefix?: string;
}): Promise<void>;
/**
 * Lists the stored values in the order of definition, for debugging and for finding leaks. `generation` counts the values
 * that the key has had, `definedBy` is the line of the definition, and `kind` is 'code' for functions and instances of
 * classes.
 */
declare function listState(): {
  key: string;
  version: string | number;
  generation: number;
  definedAt: string;
  definedBy?: string;
  kind: 'data' | 'code';
}[];
/**
 * Calls the listener for every change in this thread until the subscription is disposed of. Does not keep the process
 * alive.
 *
 * @param listener Called after each change.
 * @returns The subscription.
 */
declare function onStateChange(listener: (event: StateChange) => void): Disposable;
//#endregion
//#region src/js/state/index.d.ts
/**
 * State that survives the module graph, stored through the addon: values are found in the main realm of the thread,
 * also from inside vm contexts. If the addon cannot be loaded, this works like the portable build, in one realm.
 */
/** 'native' if the addon was loaded, otherwise 'js'. */
declare const stateBackend: 'native' | 'js';
//#endregion
export { type AnswerOptions, type AttachedServer, type AzureLocation, type Budget, type BuildContext, type BuildNeed, type BuildResult, type BuildRun, type BundleStore, type BundleStoreOptions, type Cache, type CacheEvent, type CacheInfo, type CacheOptions, type Coordinator, type CoordinatorOptions, type CoordinatorStatus, type DispatchOptions, type EnsureBuild, type EnsureEvent, type EnsureLock, type EnsureOptions, type EnsureResult, type ErrorCode, type FetchContext, type FetchHandler, type FetchOptions, type FileLocation, type GcsLocation, type Generation, type Holder, type Limits, type Liveness, type Lock, type LockOptions, type MemoryLocation, type NamedPin, type NamedPinOptions, type PackOptions, type Pin, type PinRecord, type Preset, type PrewarmJob, type PrewarmOptions, type Prewarmed, type ProcessHandle, type ProcessOptions, type Progress, type RebootResult, type RequestContext, type RequestHandler, type RestoreOptions, type RestoreOutcome, type RestoreResult, type S3Location, type SharedCell, type SnapshotOptions, type SnapshotOutcome, type SnapshotResult, type Stage, type Start, type StartContext, type StateChange, type StateOptions, type StateScope, type StoreAbilities, type StoreLocation, type StoreLock, type StorePrewarmOptions, type StoreUrl, type SweepLocksOptions, type ThreadHandle, type TrustOptions, type UnpackOptions, WarmswapError, type WorkerAddress, type WorkerHandle, type WorkerOutput, type WorkerThreadOptions, type WriteOptions, acquireLock, bundleIgnores, cacheLocationFromEnv, cacheTrustFromEnv, defineState, defineStateAsync, dropState, handOver, hasState, inspectLock, isWarmswapError, listState, onStateChange, openBundles, openCache, openCoordinator, pack, peekState, prewarm, publishFenced, replaceState, resetState, serveFetch, serveRequests, sharedCell, startProcess, startWorkerThread, stateBackend, sweepLocks, takeOver, tryLock, unpack, waitForLock, withLock };