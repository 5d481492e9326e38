import { ChildProcess } from "node:child_process";
import { Worker } from "node:worker_threads";

//#region src/js/bundles/contract.d.ts
/** What a store of bundles offers. */
interface BundleStoreOptions {
  /** 'process' survives kill -9; 'power' also survives power loss (fsync order). @default 'process' */
  durability?: 'process' | 'power';
  /** How many generations besides the current one stay: those that were current most recently. Kept in the store; an opener that passes it changes it. @default 1 */
  keep?: number;
  /** How long an unpinned generation stays after it stopped being current, for readers that cannot pin (browsers). Kept in the store. @default 0 */
  graceMs?: number;
  /**
   * A path (such as `dist`) that becomes a symlink to a copy of the current generation, also after `rollback()`. Tools may
   * delete, add and write there: pinned generations do not change, and the next publish replaces the copy. An empty
   * directory at the path is replaced. A directory with files is refused with ERR_INVALID_ARGUMENT unless `adopt` is true.
   */
  link?: string;
  /**
   * Allows `link` to replace a directory with files. `openBundles()` publishes its content as a generation, puts the link
   * in its place, and keeps the directory in `<root>/set-aside/`: a warning with the code WARMSWAP_SET_ASIDE names it,
   * `warmswap doctor` lists it, and only you remove it. @default false
   */
  adopt?: boolean;
  /** Ends the opening; the call rejects with the signal's reason. */
  signal?: AbortSignal;
  /** How long to wait for the writer lock, and for a filesystem that does not answer: ERR_TIMEOUT. Infinity allowed. @default 30_000 */
  timeoutMs?: number;
}
/** How long to wait for the writer lock, and how to stop waiting. ERR_TIMEOUT carries the holder. */
interface WriteOptions {
  signal?: AbortSignal;
  /** @default 30_000 */
  timeoutMs?: number;
}
/** One store is one bundle: a dev server with forty functions opens forty stores. Filesystems whose flock cannot be trusted are ERR_UNSUPPORTED (put `root` on a local one and use `link`). */
interface BundleStore extends AsyncDisposable {
  /** Absolute, with every link resolved. */
  readonly root: string;
  readonly capabilities: {
    filesystem: string;
    clone: boolean;
  };
  /** One readlink gives `number` and `path`; the other fields are read on first use and throw ERR_GENERATION_GONE if the generation was collected meanwhile. */
  current(): Generation | null;
  /** Synchronous and cheap (a handful of syscalls, none of which waits). The generation stays until release() or the end of this thread or process. */
  pin(options?: {
    generation?: number;
  }): Pin;
  stage(options?: WriteOptions & {
    from?: 'empty' | 'current'; /** publish() refuses with ERR_FENCED once a later-staged fenced generation has been published. */
    fenced?: boolean;
  }): Promise<Stage>;
  /**
   * Pin a generation made from `fingerprint`, building it first only if there is none or it does not verify.
   * Single flight over all threads and processes; a killed builder is replaced by one waiter.
   */
  ensure(build: (stage: Stage, context: {
    signal: AbortSignal;
  }) => Promise<void>, options: {
    fingerprint: string;
    signal?: AbortSignal;
    timeoutMs?: number;
  }): Promise<Pin>;
  rollback(generation: number, options?: WriteOptions): Promise<Generation>;
  /** publish() and rollback() collect by themselves in the background; this waits for it. */
  collect(options?: WriteOptions): Promise<{
    removed: number[];
    kept: number[];
    pinned: number[];
    sweptStages: number;
  }>;
  list(): Promise<Generation[]>;
  verify(generation?: number): Promise<{
    ok: boolean;
    problems: {
      path: string;
      problem: 'missing' | 'size' | 'hash' | 'mode' | 'extra';
    }[];
  }>;
  /** Coalesced; never misses the last publish. Does not keep the process alive. */
  watch(listener: (generation: Generation) => void): Disposable;
  close(): Promise<void>;
}
interface Generation {
  readonly number: number;
  /** Absolute, explicit: never through `current`. */
  readonly path: string;
  /** Over paths, types, modes, link targets and bytes. */
  readonly digest: string;
  /** ISO 8601. */
  readonly publishedAt: string;
  readonly files: number;
  readonly bytes: number;
  readonly fingerprint?: string;
  /** JSON. */
  readonly meta?: unknown;
}
interface Stage extends AsyncDisposable {
  /** Write here with any tool; same depth and filesystem as generations. */
  readonly path: string;
  write(relative: string, data: string | Uint8Array, options?: {
    mode?: number;
  }): Promise<void>;
  /** esbuild's `outputFiles` (build with `write: false`). */
  writeAll(files: Iterable<{
    path: string;
    contents: Uint8Array;
  }>, base: string): Promise<void>;
  /** A link may point anywhere: it is stored and hashed as text, and nothing of ours follows it. */
  symlink(relative: string, target: string): Promise<void>;
  /**
   * Takes over the contents of a directory, as they were at one moment, or nothing: rejects with ERR_UNSTABLE if they change in
   * the meantime. A directory that was changed within the last 50 ms has to rest first. 'clone' shares blocks where the filesystem can and copies
   * elsewhere.
   * @default 'clone'
   */
  adopt(directory: string, how?: 'clone' | 'copy' | 'move'): Promise<void>;
  publish(options?: WriteOptions & {
    require?: string[];
    ifChanged?: boolean;
    expect?: number;
    fingerprint?: string;
    meta?: unknown;
  }): Promise<Generation & {
    readonly changed: boolean;
  }>;
  /** Dispose means discard; after publish() it does nothing. */
  discard(): Promise<void>;
}
interface Pin extends Disposable {
  readonly generation: Generation;
  readonly path: string;
  /**
   * `file:` URL inside the generation. It has a query with the store's id if this process has had another store at the same
   * path. Throws ERR_CLOSED after release().
   */
  url(relative: string): string;
  /** Absolute path inside the generation. Throws ERR_INVALID_ARGUMENT for a path that leaves it, ERR_CLOSED after release(). */
  resolve(relative: string): string;
  /** `false` also once the store was removed, moved or replaced. */
  isCurrent(): boolean;
  /** Idempotent. */
  release(): void;
}
//#endregion
//#region src/js/bundles/hand-over.d.ts
/** Gives a child process the generation: it pins it and says so before this resolves; then the parent may release. */
declare function handOver(child: ChildProcess | Worker, pin: Pin, options?: {
  timeoutMs?: number;
}): Promise<void>;
/** In the child: the pin that the parent handed over. ERR_TIMEOUT if it hands none over in time (30 s), ERR_CLOSED if it goes before. */
declare function takeOver(options?: {
  timeoutMs?: number;
}): Promise<Pin>;
//#endregion
//#region src/js/bundles/ignores.d.ts
/** What watchers must not look at. */
/**
 * Returns patterns for chokidar (as `ignored` functions use picomatch), @parcel/watcher (`ignore`), Vite
 * (`server.watch.ignored`) and Vitest (`test.exclude`), so that what is written in a store causes no rebuild loop, and tests
 * in kept generations do not run. `current.json` is not among them: it is the file to watch.
 */
declare function bundleIgnores(root: string): string[];
//#endregion
//#region src/js/bundles/store.d.ts
/** Opens the store at `root`, making it where there is none, and repairs what killed processes left. */
declare function openBundles(root: string, options?: BundleStoreOptions): Promise<BundleStore>;
//#endregion
//#region src/js/archives/contract.d.ts
/** The public types of pack and unpack, which caches share. */
/** Limits of what a reader accepts. Everything is counted while it happens, never taken from a header. */
interface Limits {
  /** All files together. @default 64 GiB */
  maxBytes?: number;
  /** Entries of the archive. @default 5_000_000 */
  maxFiles?: number;
  /** One file. @default 64 GiB */
  maxFileBytes?: number;
  /**
   * Decoded bytes for one compressed byte, once 64 MiB are decoded: over the whole where the archive's size is known first
   * (a path, an object of a store), else over the bytes read so far. A file of zeros has up to 33 000. By default a restore
   * does not apply it to the bytes that a pointer declares; if you give it, it does. @default 1000
   */
  maxRatio?: number;
  /** What decoder and buffers may take. @default 192 MiB */
  maxMemoryBytes?: number;
  /** What must stay free on the disk. @default 64 MiB */
  minFreeBytes?: number;
}
/** How far a call has come. */
interface Progress {
  phase: 'credentials' | 'lookup' | 'download' | 'unpack' | 'pack' | 'upload' | 'commit';
  files: number;
  bytes: number;
  totalBytes?: number;
}
/** How a restore ended. */
type RestoreOutcome = 'restored' | 'unchanged' | 'miss' | 'disabled' | 'timeout' | 'aborted' | 'corrupt' | 'refused' | 'incompatible' | 'target-not-empty' | 'busy' | 'no-space' | 'denied' | 'unavailable' | 'superseded' | 'error';
/** What a restore did. `ok` is true for 'restored' and 'unchanged'; for every other outcome the target is as it was. */
interface RestoreResult {
  ok: boolean;
  outcome: RestoreOutcome;
  /** For people, if it is not ok. */
  reason?: string;
  key?: string;
  generation?: string;
  /** Where it stopped, if it is not ok. */
  stage?: 'credentials' | 'lookup' | 'download' | 'decode' | 'write' | 'commit';
  files: number;
  bytes: number;
  compressedBytes: number;
  /** Entries that the target had already (mode 'merge'). */
  skippedFiles: number;
  /** Pipes and devices of the archive, which are not made; absent if there are none. */
  skipped?: {
    path: string;
    why: string;
  }[];
  retries: number;
  /** How the target was changed; 'children' and 'merge' are atomic for each child or file only. */
  commit?: 'rename' | 'exchange' | 'children' | 'merge';
  /** Milliseconds of each phase, and `total`. */
  timings: Record<string, number>;
  ticket?: string;
}
/** Which tree it is, so that what is no cache is left out. */
type Preset = 'deno' | 'node_modules' | 'vite' | 'none';
interface PackOptions {
  /** Globs against the path relative to the directory; one without `/` matches a name at any depth. */
  exclude?: string[];
  /** @default 'none' */
  preset?: Preset;
  /** -7 to 19 for tar.zst (@default 3), 0 to 9 for tar.gz (@default 6). */
  level?: number;
  /** @default 'tar.zst' */
  format?: 'tar.zst' | 'tar.gz' | 'tar';
  signal?: AbortSignal;
}
interface UnpackOptions {
  /** 'if-empty' refuses a target that holds anything, 'replace' exchanges it as a whole, 'merge' adds what is not there. @default 'if-empty' */
  mode?: 'if-empty' | 'replace' | 'merge';
  /** Which symbolic links are made: those that stay in the tree, all relative ones, all, or none. An archive with another one is refused. @default 'contained' */
  symlinks?: 'contained' | 'relative' | 'verbatim' | 'reject';
  /**
   * What happens to a path that the archive has twice, as `tar -r` and `tar -u` write it. 'replace': the last entry replaces
   * the earlier one, never through a link; a directory is not replaced and replaces nothing. 'reject': the archive is
   * refused. @default 'replace'
   */
  duplicates?: 'replace' | 'reject';
  /**
   * Size of the archive in bytes, as its sender declared it (`Content-Length`). Another size is 'corrupt', and an archive of
   * this size may lack its end marker.
   */
  contentLength?: number;
  limits?: Limits;
  /** For the whole call, disk and commit included. @default Infinity */
  deadlineMs?: number;
  signal?: AbortSignal;
  /** Throw instead of resolving with an outcome that is not ok. @default false */
  strict?: boolean;
  /** At most ten times a second. */
  onProgress?(progress: Progress): void;
}
//#endregion
//#region src/js/archives/pack.d.ts
/**
 * A tar.zst stream of a directory: pull-driven, bounded memory. It ends with an error if a file changed while it was read,
 * twice in a row; what was read before that is no archive and must be thrown away.
 */
declare function pack(directory: string, options?: PackOptions): ReadableStream<Uint8Array>;
//#endregion
//#region src/js/archives/unpack.d.ts
/** Any of tar, tar.gz, tar.zst, told by their magic bytes; staged, verified, then committed at once. */
declare function unpack(source: string | ReadableStream<Uint8Array> | AsyncIterable<Uint8Array>, into: string, options?: UnpackOptions): Promise<RestoreResult>;
//#endregion
//#region src/js/locks/holder.d.ts
/** Who holds a lock, and how it is described. */
/** Who holds a lock. */
interface Holder {
  readonly pid?: number;
  readonly hostname?: string;
  readonly command?: string;
  readonly since?: string;
  readonly generation?: number;
  readonly progress?: {
    phase: string;
    at: string;
  };
  readonly metadata?: Record<string, unknown>;
  /**
   * With `coverChildren`: the process that acquired the lock, once a child that inherited it has it. `pid` and `command`
   * are the child's, and are missing where it cannot be seen from here.
   */
  readonly inheritedFrom?: number;
  /** Why its directory is never taken over: it holds files that are not a lock's. */
  readonly note?: string;
  readonly format: 'warmswap' | 'owner-json' | 'ownerless';
}
type Liveness = 'alive' | 'dead' | 'unknown';
//#endregion
//#region src/js/locks/contract.d.ts
interface LockOptions {
  /** 'auto' decides by filesystem type before any lock call. @default 'auto' */
  mode?: 'auto' | 'kernel' | 'lease';
  /** Infinity allowed; 0 is one try. @default Infinity */
  timeoutMs?: number;
  /** How long the record may stay unchanged; it is renewed every third of it. @default 30_000 */
  leaseTtlMs?: number;
  /** Unverifiable foreign holder, measured as locally observed non-change. @default 600_000 */
  foreignStaleMs?: number;
  /** JSON that others see in {@link Holder}; at most 32 KiB of it. */
  metadata?: Record<string, unknown>;
  /** The lock outlives this process as long as a child started with `lock.childEnv()` and `lock.childFd()` lives. @default false */
  coverChildren?: boolean;
  signal?: AbortSignal;
  /** Without it, one process warning after 10 s says who is waited for, also when it is this very thread. First call within 100 ms of blocking, then on each change of holder or progress and every 10 s. */
  onWait?(info: {
    path: string;
    waitedMs: number;
    holder: Holder | null;
    liveness: Liveness;
  }): void;
}
/** A lock that is held. */
interface Lock extends Disposable {
  readonly path: string;
  readonly token: string;
  /** Fencing token: grows with each acquisition of this path, also after the lock's files were deleted. */
  readonly generation: number;
  readonly mode: 'kernel' | 'lease';
  /** The dead holder whose lock this was: an orphan's leftovers may need cleaning. */
  readonly tookOverFrom: Holder | null;
  /** Aborts when the lock is lost. */
  readonly signal: AbortSignal;
  /** Throws ERR_LOCK_LOST unless the lock is held. */
  assertHeld(): void;
  /** Publishes `phase` as `holder.progress`, for waiters and `inspectLock()`. Throws ERR_LOCK_LOST unless the lock is held. */
  progress(phase: string): void;
  /** Fenced atomic rename: refused with ERR_FENCED once a later generation exists. */
  publish(from: string, to: string): Promise<void>;
  /** WARMSWAP_LOCK and its generation, for {@link publishFenced} in a child. */
  childEnv(): Record<string, string>;
  /** With coverChildren: pass it in `stdio`. */
  childFd(): number;
  /** Idempotent, synchronous; dispose calls it. */
  release(): {
    released: boolean;
    reason?: 'lost';
  };
}
interface SweepLocksOptions extends AnswerOptions {
  /**
   * Guard, records and spare of a lock are removed if nobody has used the lock for this time. In milliseconds; Infinity keeps
   * them. Locks in lease mode keep theirs. @default 86_400_000, one day
   */
  unusedMs?: number;
}
/** How long a call waits for a filesystem that does not answer, and what ends the wait. */
interface AnswerOptions {
  signal?: AbortSignal;
  /** Rejects with ERR_TIMEOUT after so long; Infinity allowed. The work itself stays behind until the filesystem answers. @default 30_000 */
  timeoutMs?: number;
}
//#endregion
//#region src/js/locks/locks.d.ts
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
declare function acquireLock(path: string, options?: LockOptions): Promise<Lock>;
/**
 * Acquires the lock if it is free now. Returns `null` if another holder has it.
 *
 * Rejects with ERR_LOCK_TIMEOUT and a `cause` if the filesystem does not answer within 3 s: then it is not known whether
 * the lock is free. Rejects like {@link acquireLock} otherwise.
 */
declare function tryLock(path: string, options?: Omit<LockOptions, 'timeoutMs' | 'onWait'>): Promise<Lock | null>;
/** Runs a task under the lock, and gives it back however the task ends. */
declare function withLock<T>(path: string, task: (lock: Lock) => T | Promise<T>, options?: LockOptions): Promise<T>;
/**
 * Inspects a lock without acquiring or deleting anything. `held` means alive or unknown; a dead holder is `held: false`
 * with `holder` set. `warning` is set if `path` is an ordinary folder that cannot be locked, or holds files that are not a
 * lock's.
 *
 * Rejects with ERR_TIMEOUT if the filesystem does not answer within `timeoutMs`, and with the signal's reason.
 */
declare function inspectLock(path: string, options?: AnswerOptions): Promise<{
  path: string;
  held: boolean;
  holder: Holder | null;
  liveness: Liveness | null;
  ageMs: number | null;
  warning: string | null;
}>;
/** Waits until nobody holds the lock. Acquires nothing, but removes what a provably dead holder left. */
declare function waitForLock(path: string, options?: LockOptions): Promise<{
  waitedMs: number;
  orphaned: boolean;
}>;
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
declare function sweepLocks(directory: string, options?: SweepLocksOptions): Promise<{
  removed: string[];
  held: string[];
}>;
/** What `lock.publish` does, for a child that was given `childEnv()`. */
declare function publishFenced(lock: {
  path: string;
  generation: number;
}, from: string, to: string): Promise<void>;
//#endregion
//#region src/js/locks/prewarm.d.ts
/** The thing that many want and one makes. */
interface PrewarmJob<T extends {} | null> {
  /**
   * The value, if it is there. `undefined` and `false` mean that it is not ready, so `() => existsSync(path)` works; `null`
   * is a value. Once run() has resolved, isReady() must return a value, else prewarm() rejects with ERR_NOT_READY.
   */
  isReady(): Promise<T | undefined | false> | T | undefined | false;
  run(lock: Lock): Promise<T> | T;
}
/** The value, and how this call got it. */
interface Prewarmed<T> {
  value: T;
  role: 'ran' | 'reused';
  waitedMs: number;
  /** The dead runner whose leftovers may need cleaning. */
  tookOverFrom: Holder | null;
}
/**
 * `run` happens once; if its process dies exactly one waiter runs it again; nobody throws for that.
 *
 * Rejects with what `run` threw; for those who waited through that run ('share') with its message; with
 * ERR_NOT_READY where `run` resolved and `isReady` still says no; else like acquireLock.
 */
declare function prewarm<T extends {} | null>(path: string, job: PrewarmJob<T>, options?: LockOptions & {
  onFailure?: 'share' | 'retry';
}): Promise<Prewarmed<T>>;
//#endregion
//#region src/js/caches/contract.d.ts
/** How much time and patience a call has. */
interface Budget {
  /** The whole call, hard: credentials, retries, decoding, disk and commit included. @default 15_000 for restore, 120_000 for snapshot, 30_000 for the others */
  deadlineMs?: number;
  /** How long a connection that is waited for may be silent. @default 3_000 */
  idleMs?: number;
  /** Least throughput over a window of `idleMs` while the network is waited for; 0 is off. @default 0 */
  minBytesPerSecond?: number;
  /** How often one request may be tried, inside the deadline. @default 3 */
  attempts?: number;
  /** Stops the work, not only the promise. After the commit has begun it is ignored. */
  signal?: AbortSignal;
}
/** How a snapshot ended. */
type SnapshotOutcome = 'uploaded' | 'unchanged' | 'empty' | 'shrunk' | 'unguarded' | 'unstable' | 'superseded' | 'busy' | 'too-large' | 'disabled' | 'corrupt' | 'incompatible' | 'timeout' | 'aborted' | 'denied' | 'unavailable' | 'no-space' | 'error';
/** What a snapshot did. */
interface SnapshotResult {
  ok: boolean;
  outcome: SnapshotOutcome;
  /**
   * Human-readable: why it is not ok; or what a restore of it needs because the defaults refuse it, such as
   * `symlinks: 'relative'` or `limits.maxRatio of 26000`.
   */
  reason?: string;
  generation?: string;
  files: number;
  bytes: number;
  compressedBytes: number;
  /** Bytes that were sent, repetitions included; 0 for 'unchanged'. */
  uploadedBytes: number;
  /** What was left out, and why. */
  skipped: {
    path: string;
    why: string;
  }[];
  /** 'none' if writes were not conditional, so that the later one of two concurrent writers wins. */
  guard: 'etag' | 'none';
  timings: Record<string, number>;
}
/** Where a tree goes and what is accepted. */
interface RestoreOptions extends Budget {
  key: string;
  /** Tried in turn where nothing is under `key`, or nothing that can be used. */
  fallbackKeys?: string[];
  /** Absolute; made if it is absent. A symbolic link is followed to the directory that it leads to. */
  into: string;
  /** 'if-empty' refuses a target with entries, 'replace' exchanges it, 'merge' adds and never overwrites. @default 'if-empty' */
  mode?: 'if-empty' | 'replace' | 'merge';
  symlinks?: 'contained' | 'relative' | 'verbatim' | 'reject';
  /** What happens to a path that the archive has twice: the last entry replaces the earlier one, or the archive is refused. @default 'replace' */
  duplicates?: 'replace' | 'reject';
  /** What the snapshot's machine must have been; anything else is 'incompatible'. */
  expect?: {
    platform?: string;
    arch?: string;
    libc?: string;
    fingerprint?: string;
  };
  limits?: Limits;
  /** Connections at once. @default 8 */
  concurrency?: number;
  /** Throw where `ok` would be false. @default false */
  strict?: boolean;
  onProgress?(progress: Progress): void;
}
/** What becomes a generation, and what must not. */
interface SnapshotOptions extends Budget {
  key: string;
  /** Absolute. A symbolic link is followed to the directory that it leads to. */
  from: string;
  /** Of the restore that this snapshot builds on: it may only replace what that restore saw. */
  ticket?: string;
  /** Globs of what stays out. */
  exclude?: string[];
  preset?: Preset;
  /** Recorded with the generation, for `expect.fingerprint` of a restore; such as a hash of the lock file. At most 512 bytes. */
  fingerprint?: string;
  guard?: {
    /** @default 1 */minFiles?: number; /** @default 1 */
    minBytes?: number; /** Largest share of files or bytes that may be missing against the current generation. @default 0.5 */
    maxShrink?: number; /** @default false */
    allowShrink?: boolean;
  };
  /** Wait until the tree has been unchanged this long (the 'dependencies are ready' signal). 0 is off. @default 0 */
  quietMs?: number;
  /** false for a daemon that must be able to exit while the snapshot runs detached. @default true */
  keepProcessAlive?: boolean;
  /** Of the compression. @default 3 */
  level?: number;
  limits?: Limits;
  strict?: boolean;
  onProgress?(progress: Progress): void;
}
/** A store and the calls on it. All of them resolve with an outcome whatever the world does. */
interface Cache extends AsyncDisposable {
  /** Never rejects for anything the world does: resolves with an outcome. `strict: true` throws instead. */
  restore(options: RestoreOptions): Promise<RestoreResult>;
  /** A key that ends in .tar, .tgz, .tar.gz or .tar.zst is one object, read and written as such (conditionally); any other key is a pointer and immutable blobs. */
  snapshot(options: SnapshotOptions): Promise<SnapshotResult>;
  /** What a key holds; null where there is nothing. Rejects where the store cannot say. */
  inspect(key: string, budget?: Budget): Promise<CacheInfo | null>;
  /** Removes generations that nobody needs: keeps the current one and the `keep - 1` newest others, and everything younger than `olderThanMs` (@default 3_600_000, because a snapshot may be about to point to it). */
  prune(options: Budget & {
    key: string;
    keep?: number;
    olderThanMs?: number;
  }): Promise<{
    removed: string[];
    outcome: 'pruned' | RestoreOutcome;
    reason?: string;
  }>;
  /** Removes the key and all its objects (a site was deleted). */
  remove(key: string, budget?: Budget): Promise<{
    outcome: 'removed' | RestoreOutcome;
    reason?: string;
  }>;
  /** Finds out what the store can do, with small objects that it removes again. All are false for a cache without a store or with `readOnly`; `writable` is false if a policy denies the write. Rejects with `outcome` 'denied' if the store does not accept the credentials, and with another outcome if it cannot say. */
  probe(budget?: Budget): Promise<{
    conditionalPut: boolean;
    conditionalMultipart: boolean;
    ranged: boolean;
    writable: boolean;
  }>;
  /** Waits for the calls that run; later ones reject with ERR_CLOSED. */
  close(): Promise<void>;
}
/** What a key holds. */
interface CacheInfo {
  generation: string;
  files: number;
  bytes: number;
  compressedBytes: number;
  createdAt: string;
  producer: Record<string, string>;
}
//#endregion
//#region src/js/caches/events.d.ts
/** How one call ended. */
interface CacheEvent {
  verb: 'restore' | 'snapshot' | 'prune' | 'remove';
  key: string;
  outcome: RestoreOutcome | SnapshotOutcome | 'pruned' | 'removed';
  reason?: string;
  ms: number;
  bytes: number;
  files: number;
}
//#endregion
//#region src/js/caches/location-types.d.ts
/** The types of store locations: objects whose fields complete, and URLs whose typos are errors of the compiler. */
/** A bucket. Without credentials the chain of AWS is used: environment, profile, SSO, web identity, container, IMDS. */
interface S3Location {
  scheme: 's3';
  bucket: string;
  /** Path in the bucket under which all objects are. */
  prefix?: string | undefined;
  /** Region to sign for. Default: `AWS_REGION`; `us-east-1` with an `endpoint`. */
  region?: string | undefined;
  /** Address of a server that is not AWS, with http or https. */
  endpoint?: string | undefined;
  /** Profile of the shared AWS configuration. */
  profile?: string | undefined;
  accessKeyId?: string | undefined;
  secretAccessKey?: string | undefined;
  sessionToken?: string | undefined;
  /** Role that is assumed with the credentials found. */
  roleArn?: string | undefined;
  /** Whether the name of the bucket is in the path. Default: true with an `endpoint`. */
  pathStyle?: boolean | 'true' | 'false' | undefined;
  serverSideEncryption?: 'AES256' | 'aws:kms' | undefined;
  /** Key of `aws:kms`. */
  kmsKeyId?: string | undefined;
  /** Whether requests are sent without a signature. Default: false. */
  anonymous?: boolean | 'true' | 'false' | undefined;
}
/** An absolute folder. */
interface FileLocation {
  scheme: 'file';
  path: string;
}
/** Memory of this process. Stores of one name share their objects; without a name a store shares with nobody. */
interface MemoryLocation {
  scheme: 'memory';
  name?: string | undefined;
}
/** Where a store is, as a URL. */
type StoreUrl = `s3://${string}` | `file:///${string}` | `memory:${string}`;
/** Where a store is: 'file:///var/cache', 's3://bucket/prefix?region=…&endpoint=…', 'memory:' or an object with the same fields. */
type StoreLocation = string | S3Location | FileLocation | MemoryLocation;
/** Options of an S3 URL. Credentials do not belong in a URL, which logs and process lists show. */
type S3Parameter = Exclude<keyof S3Location, 'scheme' | 'bucket' | 'prefix' | 'accessKeyId' | 'secretAccessKey' | 'sessionToken'>;
type NameOf<Pair extends string> = Pair extends `${infer Name}=${string}` ? Name : Pair;
type NamesOf<Query extends string> = Query extends `${infer Pair}&${infer Rest}` ? NameOf<Pair> | NamesOf<Rest> : NameOf<Query>;
/** Names that are not known. One with a part that is known only at run time is not judged. */
type Unknown<Name extends string> = Name extends S3Parameter | '' ? never : IsWhole<Name> extends true ? Name : never;
/** Whether a text is known as a whole: `Record` keeps only such names as properties. */
type IsWhole<Text extends string> = {} extends Record<Text, 1> ? false : true;
/**
 * The URL itself if it is one, else the URLs that are accepted. A string that is known only at run time, such as
 * `process.env.CACHE`, is accepted: `openCache()` checks it.
 */
type CheckedUrl<Url extends string> = string extends Url ? Url : Url extends `s3://${infer Rest}` ? Rest extends '' | `/${string}` | `?${string}` ? 's3://bucket/prefix?region=…' : Rest extends `${string}?${infer Query}` ? [Unknown<NamesOf<Query>>] extends [never] ? Url : `s3://…?${S3Parameter}=…` : Url : Url extends StoreUrl | `file://${string}` ? Url : StoreUrl;
//#endregion
//#region src/js/caches/caches.d.ts
/** Options of `openCache()`. */
interface CacheOptions {
  /** Secret of 16 bytes or more that signs pointers and verifies them. */
  hmacKey?: string | Uint8Array;
  /** Whether writing calls end as 'disabled'. @default false */
  readOnly?: boolean;
  /**
   * Whether writes are conditional (If-Match, If-None-Match), so that one of two concurrent writers of a key ends as 'superseded'.
   *
   * - 'auto': if the store honours conditions, which a small object finds out once. Results have `guard: 'none'` if it does not.
   * - 'required': the snapshot ends as 'unguarded' and writes nothing under the key if the store does not honour them. If a policy denies the small object, the conditions are sent and trusted.
   * - 'off': no condition is sent, and `guard` is 'none'.
   *
   * @default 'auto'
   */
  conditions?: 'auto' | 'required' | 'off';
  /** Called once for each call. */
  onEvent?(event: CacheEvent): void;
}
/**
 * Opens a store. Does no I/O. `undefined` gives a cache whose calls all answer 'disabled'.
 *
 * `store` is a URL ('file:///var/cache', 's3://bucket/prefix?region=…&endpoint=…', 'memory:') or an object with the same
 * fields. TypeScript checks URLs that are literals: the scheme, and the names of the options of an S3 URL.
 *
 * Throws ERR_INVALID_ARGUMENT if the location or an option is wrong.
 */
declare function openCache<const Url extends string>(store: CheckedUrl<Url> | S3Location | FileLocation | MemoryLocation | undefined, options?: CacheOptions): Cache;
//#endregion
//#region src/js/caches/location.d.ts
/** Reads `<PREFIX>_S3_BUCKET`, `_S3_REGION`, `_S3_KEY`, `_S3_ENDPOINT`, `_S3_PREFIX`, `_S3_PROFILE`, `_S3_ACCESS_KEY_ID`, `_S3_SECRET_ACCESS_KEY` and `_S3_SESSION_TOKEN` from any record; no bucket gives `store: undefined`, which every call answers with 'disabled'. */
declare function cacheLocationFromEnv(env: Record<string, string | undefined>, prefix: string, defaults?: {
  region?: string;
}): {
  store: S3Location | undefined;
  key?: string;
};
//#endregion
//#region src/js/native/errors.d.ts
/** Closed table, one row each in the README: code, meaning, retryable, who throws it. Codes are added, never renamed. */
type ErrorCode = 'ERR_INVALID_ARGUMENT' | 'ERR_UNSUPPORTED' | 'ERR_IO' | 'ERR_ABORTED' | 'ERR_TIMEOUT' | 'ERR_NO_GENERATION' | 'ERR_GENERATION_GONE' | 'ERR_GENERATION_CORRUPT' | 'ERR_EMPTY_STAGE' | 'ERR_MISSING_ENTRY' | 'ERR_STAGE_CLOSED' | 'ERR_FENCED' | 'ERR_LOCK_TIMEOUT' | 'ERR_LOCK_LOST' | 'ERR_FORMAT' | 'ERR_CLOSED' | 'ERR_NOT_READY' | 'ERR_REENTRANT' | 'ERR_TOO_LARGE' | 'ERR_WORKER_EXITED' | 'ERR_QUEUE_FULL' | 'ERR_UNTRUSTED' | 'ERR_UNSTABLE';
/** What a {@link WarmswapError} carries beside its code and message. */
interface ErrorFacts {
  path?: string | undefined;
  syscall?: string | undefined;
  holder?: Holder | undefined;
  outcome?: string | undefined;
  cause?: unknown;
}
/** The only error class of this library. Test with {@link isWarmswapError}, not with `instanceof`. */
declare class WarmswapError extends Error {
  /** Row of the table in the README. */
  readonly code: ErrorCode;
  /** Whether the same call can succeed later without anybody changing the program. */
  readonly retryable: boolean;
  /** The path it was about. */
  readonly path?: string;
  /** The system call that failed. */
  readonly syscall?: string;
  /** Who holds the lock that was waited for. */
  readonly holder?: Holder;
  /** How the call of a cache ended that was told to throw, or had no other way to say it. */
  readonly outcome?: string;
  constructor(code: ErrorCode, message: string, facts?: ErrorFacts);
}
/** Brand check, true across realms, workers and duplicate copies of the package. */
declare function isWarmswapError(error: unknown): error is WarmswapError;
//#endregion
//#region src/js/state/cells.d.ts
/** A versioned value shared by every thread of the process. Structured-clone bytes, never references. */
interface SharedCell<T> extends Disposable {
  /** Value and version of one moment; a fresh copy at each call. `undefined` and `0n` before the first write. */
  read(): {
    value: T | undefined;
    version: bigint;
  };
  /** Writes whatever stood there; returns the new version. */
  write(value: T): bigint;
  /** Writes only if the version is still `expected`; `version` is the one that stands afterwards. */
  compareAndSet(expected: bigint, value: T): {
    ok: boolean;
    version: bigint;
  };
  /** Reads, changes and writes until nobody came between. `change` may run several times. */
  update(change: (value: T | undefined) => T): {
    value: T;
    version: bigint;
  };
  /** Whether there is a version other than this one. Costs a memory load, no native call. */
  changedSince(version: bigint): boolean;
  /**
   * Resolves with the latest version as soon as it is not `since`. Does not keep the thread alive: a thread that has
   * nothing else to do ends. Rejects with ERR_TIMEOUT (@default timeoutMs Infinity), the signal's reason, or ERR_CLOSED.
   */
  waitForChange(since: bigint, options?: {
    timeoutMs?: number;
    signal?: AbortSignal;
  }): Promise<bigint>;
}
/**
 * The cell of `key`, the same for every thread of the process. It lives as long as the process; the handle is
 * closed by dispose, which ends its waits with ERR_CLOSED. A value over `maxBytes` (@default 16 MiB) is refused.
 */
declare function sharedCell<T>(key: string, options?: {
  maxBytes?: number;
}): SharedCell<T>;
//#endregion
//#region src/js/state/root.d.ts
/** What happened to a key. */
interface StateChange {
  key: string;
  type: 'define' | 'replace' | 'drop' | 'migrate';
}
//#endregion
//#region src/js/state/scope.d.ts
/** How far a value reaches: 'isolate' is one per thread, over all vm contexts. */
type StateScope = 'isolate' | 'realm' | 'test-file';
//#endregion
//#region src/js/state/registry.d.ts
/** How a value is defined. */
interface StateOptions<T> {
  /**
   * Version of the value. A definition with another version than the stored one disposes of the old value and makes a
   * new one. `'auto'` is a version that changes with each edit of the module that calls defineState, and with nothing
   * else: an edit of another module, a reload, a re-optimization and a restart of the server keep the value. With the
   * Vite plugin `'auto'` is the content of the module's file, otherwise the source text of `init`. Default: 1.
   */
  version?: 'auto' | (string & {}) | number;
  /** 'isolate' is one value per thread, over all its vm contexts; 'realm' one per vm context; 'test-file' one per run of a test file. @default 'isolate' */
  scope?: StateScope;
  /**
   * Closes a value. It runs once, before the next value is made: for a new version, replaceState, dropState and
   * resetState. defineStateAsync waits for the promise that it returns, at most 10 seconds; defineState cannot wait.
   * An error becomes a process warning, and the next value is made.
   */
  dispose?(old: T): void | Promise<void>;
  /** Makes the new value of a version bump from the old one, in place of the initialiser. */
  migrate?(old: T, from: string | number): T;
}
/**
 * The value of `key`, made by `init` if there is none. The same object for every module, copy of this package, vm
 * context and module runner of the thread. A hit costs a `Map.get`: the stored value wins, and `init` is not called.
 */
declare function defineState<T>(key: string, init: () => T, options?: StateOptions<T>): T;
/**
 * As {@link defineState} with an initialiser that takes time: calls that come meanwhile share it, and a failure
 * rejects them all and is not stored, so that the next call tries again.
 */
declare function defineStateAsync<T>(key: string, init: () => Promise<T>, options?: StateOptions<T>): Promise<T>;
/** The value of `key`, or undefined where nothing is stored (or `undefined` is: {@link hasState} tells). */
declare function peekState<T>(key: string): T | undefined;
/** Whether something is stored under `key`, `undefined` and `null` included. */
declare function hasState(key: string): boolean;
/** Puts another value in the place of a defined one; the old one is disposed of unless it is the same. */
declare function replaceState<T>(key: string, value: T): void;
/** Forgets a value after it was disposed of. False where there was none. A value that is being made is awaited first. */
declare function dropState(key: string): Promise<boolean>;
/** Drops everything, or everything whose key begins with `prefix`; the latest definition first. */
declare function resetState(filter?: {
  prefix?: string;
}): Promise<void>;
/** What is stored, in the order of definition: for debugging and leak hunting. */
declare function listState(): {
  key: string;
  version: string | number;
  generation: number;
  definedAt: string;
  definedBy?: string;
  kind: 'data' | 'code';
}[];
/** Hears of every change in this thread until it is disposed of. Does not keep the process alive. */
declare function onStateChange(listener: (event: StateChange) => void): Disposable;
//#endregion
//#region src/js/state/index.d.ts
/**
 * State that survives the module graph, on the addon: values are found in the main realm of the thread also from
 * inside vm contexts. Where the addon cannot be loaded this works as the portable build does, in one realm.
 */
/** 'native' where the addon was loaded, else 'js'. */
declare const stateBackend: 'native' | 'js';
//#endregion
//#region src/js/restarts/build.d.ts
/** What a build needs. */
interface BuildNeed {
  /** The stamp that change() gave for the change that the build must contain. */
  atLeast: number;
  signal?: AbortSignal;
  /**
   * How long this caller waits. A build that has run for the `timeoutMs` of the caller that began it is hung: its signal
   * is raised, and whoever else waits for it takes over. @default 300_000
   */
  timeoutMs?: number;
}
/** What a build is given. */
interface BuildContext {
  /** Write the bundle here; it is published when the build resolves. */
  stage: Stage;
  /** When this build started, comparable with change(). */
  startedAt: number;
  /** Raised when nobody waits for this build any more, or when it hangs. */
  signal: AbortSignal;
}
/** Builds into the stage; what it resolves with (JSON or undefined) is the generation's `meta`. */
type BuildRun = (context: BuildContext) => Promise<unknown>;
/** A pin on a generation that holds the change, and how it came about. */
interface BuildResult {
  pin: Pin;
  role: 'ran' | 'joined' | 'reused';
}
//#endregion
//#region src/js/restarts/queue.d.ts
/** How a request may be treated. */
interface DispatchOptions {
  /** Whether a request that a worker had begun when it died may be sent to the next one. @default 'never' */
  replay?: 'never' | 'idempotent';
  /** Until the answer, or the first sign of one that comes in parts. @default 30_000 */
  timeoutMs?: number;
  /** Calls it off, also in the middle of an answer that comes in parts; the worker is told. */
  signal?: AbortSignal;
}
//#endregion
//#region src/js/restarts/handle.d.ts
/** A running worker. */
interface WorkerHandle<Q = unknown, R = unknown> {
  /**
   * Sends a request; resolves with the worker's reply. One that comes in parts is an async iterable or a stream; it fails
   * if the worker ends before its last part.
   */
  send(request: Q, context: {
    incarnation: number;
    signal: AbortSignal;
  }): Promise<R>;
  /** Resolves once the worker is gone, however it ended. */
  readonly exited: Promise<unknown>;
  /** Lets the worker finish for up to `deadlineMs`, then kills it. Resolves once it is gone. */
  stop(deadlineMs: number): Promise<void>;
}
//#endregion
//#region src/js/restarts/workers.d.ts
/** What a worker is started with. */
interface StartContext {
  incarnation: number;
  /** The generation it runs; kept until the worker is gone. */
  pin: Pin;
  /** Raised when the start takes too long or the coordinator closes. */
  signal: AbortSignal;
}
/** Starts a worker on a pinned generation. */
type Start<Q, R> = (context: StartContext) => Promise<WorkerHandle<Q, R>>;
/** How a reboot came out. */
interface RebootResult {
  incarnation: number;
  outcome: 'started' | 'joined' | 'already';
}
//#endregion
//#region src/js/restarts/coordinator.d.ts
/** Options of {@link openCoordinator}. */
interface CoordinatorOptions<Q, R> {
  /** Starts a worker on a pinned generation. Called at most once per incarnation. */
  start: Start<Q, R>;
  /** How many requests may wait for a worker. @default 1_000 */
  queueLimit?: number;
  /** How long an old worker may finish what it has, answers in parts too, after its successor took over. @default 5_000 */
  drainMs?: number;
  /** How long `start` may take. @default 60_000 */
  startTimeoutMs?: number;
}
/** What a coordinator is doing. */
interface CoordinatorStatus {
  state: 'idle' | 'building' | 'starting' | 'ready' | 'draining' | 'failed';
  /** The incarnation that serves, or served last; 0 before the first. */
  incarnation: number;
  /** The generation that it runs. */
  generation: number | null;
  /** Requests that no worker has. */
  waiting: number;
  /**
   * The last failure that nothing has made good since: of a build, of a start, of the clean-up, or the uncaught error that
   * ended a worker.
   */
  lastError?: Error;
}
/** Builds, swaps, starts the new worker, then drains the old one. */
interface Coordinator<Q = unknown, R = unknown> extends AsyncDisposable {
  /** Call after an input changed. A stamp that is comparable between the processes of one machine (monotonic microseconds of this boot); takes no lock. */
  change(): number;
  /**
   * Joins or reuses only a build that started at or after `atLeast`; otherwise exactly one trailing build serves all
   * late callers. The stage is published when `run` resolves; what it resolves with (JSON or undefined) is the
   * generation's `meta`, so every process can read it. Resolves with a pin on the generation that holds the change,
   * which the caller releases. A failed build leaves the current generation serving.
   *
   * @throws {WarmswapError} ERR_TIMEOUT when it takes longer than `timeoutMs`, ERR_CLOSED after close; a build that
   * fails rejects with its own error.
   */
  build(need: BuildNeed, run: BuildRun): Promise<BuildResult>;
  /**
   * Makes sure that a worker newer than `observed` runs the current generation. Exactly one start per incarnation
   * however many ask; a dead but unreaped worker never swallows it. `observed` is the incarnation the caller saw fail.
   */
  reboot(request: {
    observed: number | null;
    reason: string;
  }): Promise<RebootResult>;
  /**
   * Starts a worker if there is none. The queue belongs to the bundle, not to a worker: a request outlives the worker
   * that was to answer it. An answer in parts is a ReadableStream of them, whatever the worker made it of: it is read
   * as fast as its consumer reads, cancelling it stops the worker's source, and it fails with ERR_WORKER_EXITED when its
   * worker ends, or when it has been replaced for `drainMs`.
   *
   * @throws {WarmswapError} ERR_WORKER_EXITED when a worker ended after it had begun the request, ERR_QUEUE_FULL,
   * ERR_TIMEOUT, ERR_CLOSED.
   */
  dispatch(request: Q, options?: DispatchOptions): Promise<R>;
  status(): CoordinatorStatus;
}
/**
 * Opens the coordinator of a store. Coordinators of several processes on one store share its builds.
 *
 * @throws {WarmswapError} ERR_INVALID_ARGUMENT, ERR_CLOSED if the store was closed.
 */
declare function openCoordinator<Q = unknown, R = unknown>(store: BundleStore, options: CoordinatorOptions<Q, R>): Coordinator<Q, R>;
//#endregion
//#region src/js/restarts/start-context.d.ts
/** The part of the {@link StartContext} that a start needs. */
interface GivenContext {
  pin: Pin;
  signal: AbortSignal;
}
//#endregion
//#region src/js/restarts/thread.d.ts
/** Options of {@link startWorkerThread}. */
interface WorkerThreadOptions {
  /** `workerData` of the thread. */
  workerData?: unknown;
  /** How long until the entry calls serveRequests(). @default 30_000 */
  readyTimeoutMs?: number;
}
/**
 * Starts `entry`, a file of the pinned generation, as a thread. Resolves once it calls serveRequests(). A thread has
 * the working directory of its process: Node can give it none of its own.
 *
 * @throws {WarmswapError} ERR_NOT_READY when the entry does not call serveRequests() in time, ERR_WORKER_EXITED when
 * it ends before; `cause` is the uncaught error that ended it, with the worker's stack.
 */
declare function startWorkerThread<Q = unknown, R = unknown>(context: GivenContext, entry: string, options?: WorkerThreadOptions): Promise<WorkerHandle<Q, R>>;
//#endregion
//#region src/js/restarts/process.d.ts
/** Options of {@link startProcess}. */
interface ProcessOptions {
  args?: string[];
  /** Added to this process's environment. */
  env?: Record<string, string>;
  /** How long until the entry calls serveRequests(). @default 30_000 */
  readyTimeoutMs?: number;
  /**
   * Also ends processes that the worker started and that made a session of their own (`detached`, setsid, daemons), when
   * the worker ends or its host does. Without it they are named on standard error and left running. @default false
   */
  killDetached?: boolean;
}
/**
 * Starts `entry`, a file of the pinned generation, as a process in a group of its own; its working directory is the
 * generation. It takes a pin of its own before this resolves, so it keeps its generation even if this process dies.
 * When it ends, however it ends, the rest of its group and session is killed. When this process ends, also by SIGKILL,
 * a keeper process (about 7 MiB of its own, started with the first worker) kills the worker with its group and session,
 * whatever state the worker is in; its exit handlers have 500 ms.
 *
 * @throws {WarmswapError} ERR_NOT_READY when the entry does not call serveRequests() in time, ERR_WORKER_EXITED when
 * it ends before; `cause` is the uncaught error that ended it, with the worker's stack.
 */
declare function startProcess<Q = unknown, R = unknown>(context: GivenContext, entry: string, options?: ProcessOptions): Promise<WorkerHandle<Q, R>>;
//#endregion
//#region src/js/restarts/serve.d.ts
/** The worker's side: answers requests. */
/** What is known of a request. */
interface RequestContext {
  incarnation: number;
  /** Raised when nobody waits for the answer any more. */
  signal: AbortSignal;
}
/**
 * Answers one request: with a value, or in parts with an async iterable, a ReadableStream or a stream of Node. Parts are
 * taken as fast as the consumer reads them.
 */
type RequestHandler<Q, R> = (request: Q, context: RequestContext) => R | Promise<R>;
/**
 * In a worker that startWorkerThread() or startProcess() started: answers requests, and tells the coordinator that the
 * worker is ready. Requests are handled side by side. When the coordinator stops the worker, it ends itself once it
 * has answered what it began; so does a process whose host is gone.
 *
 * @throws {WarmswapError} ERR_UNSUPPORTED where no coordinator started this thread or process, ERR_REENTRANT when
 * called twice.
 */
declare function serveRequests<Q = unknown, R = unknown>(handler: RequestHandler<Q, R>): void;
//#endregion
export { type AnswerOptions, type Budget, type BuildContext, type BuildNeed, type BuildResult, type BuildRun, type BundleStore, type BundleStoreOptions, type Cache, type CacheEvent, type CacheInfo, type CacheOptions, type Coordinator, type CoordinatorOptions, type CoordinatorStatus, type DispatchOptions, type ErrorCode, type FileLocation, type Generation, type Holder, type Limits, type Liveness, type Lock, type LockOptions, type MemoryLocation, type PackOptions, type Pin, type Preset, type PrewarmJob, type Prewarmed, type ProcessOptions, type Progress, type RebootResult, type RequestContext, type RequestHandler, type RestoreOptions, type RestoreOutcome, type RestoreResult, type S3Location, type SharedCell, type SnapshotOptions, type SnapshotOutcome, type SnapshotResult, type Stage, type Start, type StartContext, type StateChange, type StateOptions, type StateScope, type StoreLocation, type StoreUrl, type SweepLocksOptions, type UnpackOptions, WarmswapError, type WorkerHandle, type WorkerThreadOptions, type WriteOptions, acquireLock, bundleIgnores, cacheLocationFromEnv, defineState, defineStateAsync, dropState, handOver, hasState, inspectLock, isWarmswapError, listState, onStateChange, openBundles, openCache, openCoordinator, pack, peekState, prewarm, publishFenced, replaceState, resetState, serveRequests, sharedCell, startProcess, startWorkerThread, stateBackend, sweepLocks, takeOver, tryLock, unpack, waitForLock, withLock };