/** The value of a native call, or a failure that src/js/native/native.ts throws. */
export type Reply<T> = T | import('./native.js').NativeFailure

/**
 * Which binding artifact the generated loader actually loaded: `'native'` for
 * a native addon, otherwise the `platformArchABI` of the WASI flavor. Every
 * flavor napi-rs can build is listed, because `NAPI_RS_NATIVE_LIBRARY_PATH`
 * can point the loader at a WASI artifact this package does not build itself.
 */
export declare const __napiBindingTarget: 'native' | 'wasm32-wasi' | 'wasm32-wasip1'

/** Cancels the calls that it was passed to. Can be raised once. */
export declare class CancelToken {
  /** Creates a token that is not raised. */
  constructor()
  /** Raises the token. */
  cancel(): void
}

/** Receives the events of many calls. */
export declare class LockListener {
  /** Creates a listener that calls a function with each event. */
  constructor(listener: (event: NativeLockEvent) => void)
}

/** A held build lock. */
export declare class NativeBuildLock {
  /** Releases the lock. */
  release(): void
}

/** An open store. */
export declare class NativeBundles {
  /** Canonical path of the store's root. */
  get root(): string
  /** Random id of the store. Missing for a store of an older version that this process cannot write to. */
  get id(): string | null
  /** Id that the URLs of this store need, because this process has used another store at the same path. */
  get distinguishingId(): string | null
  /** Name of the filesystem, such as `ext4`. */
  get filesystem(): string
  /** Whether copies on this filesystem can share blocks. */
  get cloneOffered(): boolean
  /** Number of the current generation. 0 if nothing has been published. */
  current(): Reply<number>
  /** Whether a generation is the current one. `false` if the store was removed, moved or replaced. */
  isCurrent(generation: number): Reply<boolean>
  /** Facts of a generation. Fails with `ERR_GENERATION_GONE` if it was collected. */
  head(generation: number): Reply<NativeGeneration>
  /** Pins the current generation, or the one with this number. Returns its number. */
  pin(generation?: number | undefined | null): Reply<number>
  /** Releases one pin of a generation. */
  release(generation: number): void
  /** The descriptor of a pin, for a child to inherit. */
  pinDescriptor(generation: number): number | null
  /** Gives a generation a name until a time, and pins it. */
  pinNamed(name: string, expiresAt: number, generation: number | undefined | null, timeoutMs: number, token?: CancelToken | undefined | null): Promise<Reply<NativeNamedPin>>
  /** The named pins that have not ended. */
  namedPins(): Promise<Reply<Array<NativeNamedPin>>>
  /** Ends a named pin; `false` if there was none. */
  releaseNamed(name: string, timeoutMs: number, token?: CancelToken | undefined | null): Promise<Reply<boolean>>
  /** Set if a collection found that pinned generations exceed the bound, once. */
  excessBytes(): NativeExcess | null
  /** Creates a stage. */
  stage(fromCurrent: boolean, fenced: boolean, timeoutMs: number, token?: CancelToken | undefined | null): Promise<Reply<NativeStage>>
  /** Makes an older generation current again. */
  rollback(generation: number, timeoutMs: number, token?: CancelToken | undefined | null): Promise<Reply<NativeGeneration>>
  /**
   * Replaces the link with a real directory that contains the same files. Resolves with `false` if there was no
   * link.
   */
  giveDirectory(link: string, timeoutMs: number, token?: CancelToken | undefined | null): Promise<Reply<boolean>>
  /** Paths of the directories that a link replaced and that were set aside since the last call. */
  setAside(): Array<string>
  /** Removes generations and stages that are no longer needed. */
  collect(timeoutMs: number, token?: CancelToken | undefined | null): Promise<Reply<NativeCollected>>
  /** Lists the generations that are or were current. */
  list(): Promise<Reply<Array<NativeGeneration>>>
  /** Compares every byte of a generation with its manifest. Without a number, the current generation. */
  verify(generation?: number | undefined | null): Promise<Reply<Array<NativeProblem>>>
  /** Ends the background collections of this handle that wait for the lock, and waits until none is running. */
  settled(): Promise<Reply<void>>
  /** Waits for the build lock and acquires it. */
  buildLock(timeoutMs: number, token?: CancelToken | undefined | null): Promise<Reply<NativeBuildLock>>
}

/** An opened cache. */
export declare class NativeCache {
  /** Restores, or builds once. */
  ensure(options: NativeEnsureOptions, token: CancelToken, listener: (event: NativeEnsureEvent) => void): Reply<NativeEnsure>
  /** Waits for a job that another caller runs, or runs it. */
  lease(options: NativeLeaseOptions, token: CancelToken, listener: (event: NativeLeaseEvent) => void): Reply<NativeLease>
  /** Reads the records of a key, or all records of the store. */
  records(key: string | undefined | null, budget: NativeBudget, token: CancelToken): Promise<Reply<NativeRecords>>
  /** Restores a key into a directory. */
  restore(options: NativeRestoreOptions, token: CancelToken, progress?: ((progress: NativeProgress) => void) | undefined): Promise<Reply<NativeRestoreReport>>
  /** Uploads a directory as the new generation of a key. */
  snapshot(options: NativeSnapshotOptions, token: CancelToken, progress?: ((progress: NativeProgress) => void) | undefined): Promise<Reply<NativeSnapshotReport>>
  /**
   * Starts a snapshot that does not keep the process alive. Calls `done` with the result unless the environment has
   * ended.
   */
  snapshotDetached(options: NativeSnapshotOptions, token: CancelToken, done: (report: Reply<NativeSnapshotReport>) => void, progress?: ((progress: NativeProgress) => void) | undefined): void
  /** Returns the facts of a key's current generation. */
  inspect(key: string, budget: NativeBudget, token: CancelToken): Promise<Reply<NativeInspectReport>>
  /** Removes objects of the store that are no longer needed. */
  prune(key: string, keep: number, olderThanMs: number, budget: NativeBudget, token: CancelToken): Promise<Reply<NativePruneReport>>
  /** Removes a key. */
  remove(key: string, budget: NativeBudget, token: CancelToken): Promise<Reply<NativePruneReport>>
  /** Waits up to 5 s for what earlier calls do after they have returned. */
  waitForBackground(): Promise<Reply<void>>
  /** Tests what the store supports. Resolves with an outcome other than `probed` if it cannot be reached. */
  probe(budget: NativeBudget, token: CancelToken): Promise<Reply<NativeAbilities>>
}

/** A versioned value that every thread of the process shares. */
export declare class NativeCell {
  /** Returns the cell with this key. Keys are opaque bytes. */
  constructor(key: Uint8Array)
  /**
   * Memory in which the core publishes the version, as 8 bytes that change without a call. Missing if the engine
   * supports no external memory (Electron).
   */
  word(): ArrayBuffer | null
  /** Version of the latest write. */
  version(): bigint
  /** Returns the value and its version, read atomically. */
  read(): NativeSnapshot
  /** Replaces the value unconditionally and returns the new version. */
  write(bytes: Uint8Array): bigint
  /** Replaces the value if the current version is `expected`. */
  compareAndSet(expected: bigint, bytes: Uint8Array): Reply<NativeSwap>
  /**
   * Calls `settle` once, with the first version that differs from `since` or with a failure. Neither the wait nor
   * `settle` keeps the thread alive. The wait ends with its thread.
   */
  wait(since: bigint, timeoutMs: number, token: CancelToken, settle: (reply: Reply<bigint>) => void): Reply<void>
  /** Number of pending waits of all threads. */
  waiting(): number
}

/** A call of ensure. */
export declare class NativeEnsure {
  /** The next step. */
  next(): Promise<Reply<NativeEnsureStep>>
  /** The build has ended, with a message if it failed. */
  settle(failure?: string | undefined | null): void
  /** Shows waiters what the build is doing. */
  setPhase(phase: string): void
}

/** A call of prewarm. */
export declare class NativeLease {
  /** The next step. */
  next(): Promise<Reply<NativeLeaseStep>>
  /** Answers a check or a run: whether the result is ready, and the message of a failure that waiters share. */
  settle(isReady: boolean, failure?: string | undefined | null): void
  /** Names this call in the record. */
  get token(): string
  /** Shows waiters what the run is doing. */
  setPhase(phase: string): void
}

/** A held lock. */
export declare class NativeLock {
  /** Random id of this acquisition. */
  get token(): string
  /** Fencing token. Grows with each acquisition of the path. */
  get generation(): number
  /** How the lock is held. */
  get mode(): 'kernel' | 'lease'
  /** Dead holder whose lock was taken over, as JSON of `Holder`. */
  get tookOverFrom(): string | null
  /** Generation that held the lock when the wait began. */
  get waitedSince(): number | null
  /** Last failed run, as JSON of `{ generation, message }`. */
  get failure(): string | null
  /** Fails with `ERR_LOCK_LOST` unless the lock is held. */
  assertHeld(): Reply<void>
  /** Records what the holder is doing, for waiters to see. */
  progress(phase: string): void
  /** Renames `from` to `to`. Rejects with `ERR_FENCED` if a later generation of the lock exists. */
  publish(from: string, to: string): Promise<Reply<void>>
  /**
   * File descriptor that children inherit to keep the lock. Fails with `ERR_INVALID_ARGUMENT` without
   * `coverChildren`.
   */
  childFd(): Reply<number>
  /**
   * Releases the lock. Returns `false` if it was lost. `failure` is the message of a failed run, for the callers
   * that waited.
   */
  release(failure?: string | undefined | null): Reply<boolean>
}

/** A stage that is being written. */
export declare class NativeStage {
  /** Directory to write into. */
  get path(): string
  /** Writes files into the stage. */
  write(files: Array<NativeFile>): Promise<Reply<void>>
  /** Creates a symbolic link with any text as its target. */
  symlink(relative: string, target: string): Promise<Reply<void>>
  /** Copies or moves the contents of a directory into the stage. */
  adopt(directory: string, how: NativeCopyMethod): Promise<Reply<void>>
  /** Publishes the stage as the current generation. */
  publish(options: NativePublishOptions, token?: CancelToken | undefined | null): Promise<Reply<NativeGeneration>>
  /** Removes the stage. */
  discard(): Promise<Reply<void>>
}

/** A running `pack` call. Packing starts with the first call of `next`. */
export declare class Packer {
  /** Resolves with the next bytes, or with nothing at the end of the archive. */
  next(): Promise<Reply<Uint8Array | null>>
  /** Stops packing. */
  cancel(): void
}

/** A running `unpack` call. */
export declare class Unpacker {
  /** Adds bytes of the archive. Returns 0 to continue, 1 to wait for `drained` first, 2 to stop. */
  push(chunk: Uint8Array): number
  /** Resolves with 0 when more bytes can be pushed, or with 2 when no more bytes are needed. */
  drained(): Promise<Reply<number>>
  /** Marks the end of the archive. */
  end(): void
  /** Reports that the source of the bytes failed. */
  fail(reason: string): void
  /** Cancels the call. */
  cancel(): void
  /** Files and bytes written so far. */
  progress(): [number, number]
  /** Resolves with the result. Can be called once. */
  result(): Promise<Reply<NativeUnpackResult>>
}

/** Acquires a lock. Acquires it synchronously if it is free, `inline` is set and no step can block. */
export declare function acquireLock(path: string, options: NativeLockOptions, listener: LockListener, token?: CancelToken | undefined | null): Reply<NativeLock> | Promise<Reply<NativeLock>>

/** Starts to count fault injection points. Does nothing in a published build. */
export declare function armFaults(): void

/** All error codes and whether they are retryable, in the order of the documented error table. */
export declare function errorCodes(): Array<[string, boolean]>

/** Returns the filesystem of an existing path. */
export declare function filesystemOf(path: string): Reply<NativeFilesystem>

/** Reads the state of a lock without acquiring it. */
export declare function inspectLock(path: string, timeoutMs: number, token?: CancelToken | undefined | null): Promise<Reply<NativeInspection>>

/** Whether this build has fault injection points and seeded bugs. */
export declare function isTestingBuild(): boolean

/** Returns `globalThis` of this thread's main realm, even when called from inside a vm context. */
export declare function mainRealm(): typeof globalThis

/** Current time of this boot's monotonic clock, in microseconds. */
export declare function monotonicMicros(): number

/** Result of a probe: what the store supports. */
export interface NativeAbilities {
  /** `probed`, or the outcome that explains why nothing is known. */
  outcome: string
  /** Human-readable reason, if nothing is known. */
  reason?: string
  /** Whether the store honours conditions on PUT. */
  conditionalPut: boolean
  /** Whether at most one of several simultaneous conditional writes succeeds. */
  exclusiveWrites: boolean
  /** Whether the store honours conditions on completing a multipart upload. */
  conditionalMultipart: boolean
  /** Whether range requests return exactly the requested range. */
  ranged: boolean
  /** Whether these credentials may write. */
  writable: boolean
}

/** Time limits and attempts of a call. */
export interface NativeBudget {
  /** Time for the whole call in milliseconds. `Infinity` means no limit. */
  deadlineMs: number
  /** Longest time without a byte, in milliseconds. */
  idleMs: number
  /** Lowest accepted throughput in bytes per second. 0 disables the check. */
  minBytesPerSecond: number
  /** Number of attempts for one request. */
  attempts: number
}

/** Options of `openBundles`. */
export interface NativeBundleOptions {
  /** Which failures a publish survives. */
  durability: NativeDurability
  /** Number of previous generations to keep. Without it, the setting of the store is used. */
  keep?: number
  /**
   * Time that an unpinned generation is kept after it stopped being current, in milliseconds. Without it, the
   * setting of the store is used.
   */
  graceMs?: number
  /** Bytes; infinite removes the bound. */
  maxBytes?: number
  /** Milliseconds; infinite removes the bound. */
  maxAgeMs?: number
  /** Absolute path that becomes a link to a copy of the current generation. */
  link?: string
  /** Whether a directory with files at `link` may be replaced. */
  adopt: boolean
}

/** Facts of a key's current generation. */
export interface NativeCacheInfo {
  /** Name of the generation. */
  generation: string
  /** Number of files. */
  files: number
  /** Total bytes of the files. */
  bytes: number
  /** Bytes of the archive in the store. */
  compressedBytes: number
  /** Time of the snapshot (RFC 3339). */
  createdAt: string
  /** Facts about the process that created it, such as platform and architecture. */
  producer: Record<string, string>
  /** Trust level that holds it. */
  level?: string
}

/** Result of a collection. */
export interface NativeCollected {
  /** Generations that were removed. */
  removed: Array<number>
  /** Generations that were kept. */
  kept: Array<number>
  /** Generations that were kept only because a reader has pinned them. */
  pinned: Array<number>
  /** Number of removed stages whose writers had died. */
  sweptStages: number
}

/** How the entries of a directory are brought into a stage. */
export type NativeCopyMethod = 'clone' | 'copy' | 'move'

/** Which failures a publish survives. */
export type NativeDurability = 'process' | 'power'

/** What happens during a call. */
export interface NativeEnsureEvent {
  /** Which. */
  kind: 'waiting' | 'lost'
  /** Host of the builder. */
  host?: string
  /** Process of the builder. */
  pid?: number
  /** What the builder is doing. */
  phase?: string
  /** Time since the call began. */
  waitedMs?: number
  /** Time until a take-over if the builder is silent. */
  leaseLeftMs?: number
}

/** What to ensure. */
export interface NativeEnsureOptions {
  /** The key. */
  key: string
  /** Identifies the inputs. */
  fingerprint: string
  /** Target, and what a restore accepts. */
  restore: NativeRestoreOptions
  /** Compression level. */
  level?: number
  /** The lease. */
  ttlMs: number
  /** Time to coordinate with others; none for no limit. */
  deadlineMs?: number
  /** Whether a failed build that was waited for fails the call. */
  sharesFailures: boolean
  /** Time and patience of the upload. */
  uploadBudget: NativeBudget
}

/** The next step of a call. */
export interface NativeEnsureStep {
  /** Where to build. Absent at the end of the call. */
  directory?: string
  /** `restored`, `built` or `alone`, at the end of a call that has its tree. */
  role?: string
  /** Why it is built alone, or why there is no tree. */
  reason?: string
  /** The generation. */
  generation?: string
  /** Milliseconds of the call. */
  ms: number
  /** The restore. */
  restore?: NativeRestoreReport
  /** The outcome of a call without a tree; `build` and `shared` for a failed build. */
  outcome?: string
}

/** Pinned generations exceed the bound of a store. */
export interface NativeExcess {
  /** Bytes of all generations. */
  bytes: number
  /** The bound. */
  maxBytes: number
}

/** Expected producer of a snapshot. Another producer is 'incompatible'. */
export interface NativeExpect {
  /** Value of Node's `process.platform`. */
  platform?: string
  /** Value of Node's `process.arch`. */
  arch?: string
  /** `glibc` or `musl`. */
  libc?: string
  /** Fingerprint that the snapshot was created with. */
  fingerprint?: string
}

/** A file to write into a stage. */
export interface NativeFile {
  /** Path relative to the stage. */
  path: string
  /** Content. */
  contents: Uint8Array
  /** Permission bits. */
  mode: number
}

/** A filesystem and whether its kernel locks are reliable. */
export interface NativeFilesystem {
  /** Short name, such as `ext4`. */
  name: string
  /** Whether bundles and kernel-mode locks are available on it. */
  trusted: boolean
}

/** Facts of a generation. */
export interface NativeGeneration {
  /** Number of the generation. */
  number: number
  /** Digest over paths, types, modes, link targets and bytes. */
  digest: string
  /** Time of the publish, in milliseconds since the epoch. */
  publishedAt: number
  /** Number of files and links. */
  files: number
  /** Total bytes of the files. */
  bytes: number
  /**
   * Time at which the stage was created, in microseconds of this boot's monotonic clock. Missing if it was created
   * in another boot.
   */
  startedAt?: number
  /** Fence of the stage, if it has one. */
  fence?: number
  /** Identifies the inputs of the build. */
  fingerprint?: string
  /** The builder's own data, as JSON text. */
  meta?: string
  /** Whether a new generation was created. Set by a publish only. */
  changed?: boolean
}

/** Minimum requirements on a tree that becomes a generation. */
export interface NativeGuard {
  /** Minimum number of files. */
  minFiles: number
  /** Minimum number of bytes. */
  minBytes: number
  /** Largest share by which the tree may be smaller than the current generation, from 0 to 1. */
  maxShrink: number
  /** Disables `maxShrink`. */
  allowShrink: boolean
}

/** State of a lock path. */
export interface NativeInspection {
  /** Whether a live or unverifiable holder has the lock. */
  held: boolean
  /** Holder, as JSON of `Holder`. */
  holder?: string
  /** Whether the holder is alive. */
  liveness?: 'alive' | 'dead' | 'unknown'
  /** Milliseconds since the acquisition. */
  ageMs?: number
  /** Why the path cannot be locked, or why its content is never taken over. */
  warning?: string
}

/** Result of an inspect. */
export interface NativeInspectReport {
  /** Outcome. */
  outcome: string
  /** Human-readable reason, if there is one. */
  reason?: string
  /** Facts of the current generation, if the key exists. */
  info?: NativeCacheInfo
}

/** What happens during a call. */
export interface NativeLeaseEvent {
  /** The holder that the call waits for. Absent if the lease of this caller is lost. */
  holder?: NativeLeaseHolder
  /** Time since the call began. */
  waitedMs: number
  /** Time until a take-over if the holder is silent. */
  leaseLeftMs: number
}

/** The holder of a lease. */
export interface NativeLeaseHolder {
  /** Its host. */
  host: string
  /** Its process. */
  pid: number
  /** What it is doing. */
  phase: string
  /** When it acquired the lease, by its wall clock. */
  since: string
  /** When it wrote the record, in milliseconds since the epoch by its wall clock. */
  writtenMs: number
  /** The number of the acquisition. */
  generation: number
  /** JSON of its metadata. */
  metadata?: string
}

/** What is leased. */
export interface NativeLeaseOptions {
  /** The key. */
  key: string
  /** The lease. */
  ttlMs: number
  /** Longest wait; `Infinity` for no limit. */
  timeoutMs: number
  /** Whether a failed run that was waited for fails the call. */
  sharesFailures: boolean
  /** JSON that others see of the holder. */
  metadata?: string
}

/** The next step of a call. */
export interface NativeLeaseStep {
  /** Which. `check` and `run` are answered with `settle()`; the others end the call. */
  kind: 'check' | 'run' | 'ready' | 'failed' | 'shared' | 'timed-out' | 'unsupported' | 'error'
  /** Milliseconds since the call began. */
  waitedMs: number
  /** The number of the acquisition, of a run. */
  generation: number
  /** The holder that was taken over, of a run; the current one, of a timeout. */
  holder?: NativeLeaseHolder
  /** The message of the failure. */
  reason?: string
  /** The outcome of an error. */
  outcome?: string
}

/** Limits of the reader. A missing field has its default. */
export interface NativeLimits {
  /** Total bytes of all files. Default 64 GiB. */
  maxBytes?: number
  /** Number of entries. Default 5 000 000. */
  maxFiles?: number
  /** Bytes of one file. Default 64 GiB. */
  maxFileBytes?: number
  /** Decoded bytes for each compressed byte. Default 1000. */
  maxRatio?: number
  /** Memory in bytes for the decoder and its buffers. Default 192 MiB. */
  maxMemoryBytes?: number
  /** Bytes that must stay free on the disk. Default 64 MiB. */
  minFreeBytes?: number
}

/** An event of a wait or of a held lock. */
export interface NativeLockEvent {
  /** Id of the call that the event belongs to. */
  call: number
  /** Kind of the event. `lost` is sent once, and no event follows it. */
  kind: 'wait' | 'lost'
  /** Milliseconds since the call. */
  waitedMs: number
  /** Current holder, as JSON of `Holder`. */
  holder?: string
  /** Whether the current holder is alive. */
  liveness: 'alive' | 'dead' | 'unknown'
  /** Why the lock was lost. */
  reason?: string
}

/** Options of an acquisition. */
export interface NativeLockOptions {
  /** Requested mode. */
  mode: 'auto' | 'kernel' | 'lease'
  /** Longest wait in milliseconds. 0 is a single attempt, `Infinity` means no limit. */
  timeoutMs: number
  /** Time for which the record of a lease may stay unchanged, in milliseconds. */
  leaseTtlMs: number
  /** Time without change after which an unverifiable foreign holder counts as dead, in milliseconds. */
  foreignStaleMs: number
  /** Metadata of the holder, as JSON text. */
  metadata?: string
  /** Whether child processes keep the lock. */
  coverChildren: boolean
  /** Value of `worker_threads.threadId`. */
  threadId: number
  /** Id of the call in its events. */
  call: number
  /** Whether a free lock on an in-memory filesystem may be acquired synchronously. */
  inline: boolean
}

/** A generation that is kept under a name. */
export interface NativeNamedPin {
  /** The name. */
  name: string
  /** The generation. */
  generation: number
  /** Milliseconds since the epoch. */
  pinnedAt: number
  /** Milliseconds since the epoch. */
  expiresAt: number
  /** Only of a pin: whether the generation had the name before. */
  resumed?: boolean
}

/** Options of `pack`. */
export interface NativePackOptions {
  /** Glob patterns of excluded entries. */
  exclude: Array<string>
  /** Known kind of tree. */
  preset: 'deno' | 'node_modules' | 'vite' | 'none'
  /** Compression level: -7 to 19 for tar.zst (default 3), 0 to 9 for tar.gz (default 6). */
  level?: number
  /** Archive format. */
  format: 'tar.zst' | 'tar.gz' | 'tar'
}

/** A difference between a generation and its manifest. */
export interface NativeProblem {
  /** Relative path of the entry. */
  path: string
  /** Kind of the difference. */
  problem: NativeProblemKind
}

/** Kind of a difference between an entry and the manifest. */
export type NativeProblemKind = 'missing' | 'size' | 'hash' | 'mode' | 'extra'

/** Progress of a call. */
export interface NativeProgress {
  /** Current stage, such as 'download'. */
  stage: string
  /** Number of files so far. */
  files: number
  /** Number of bytes so far. */
  bytes: number
  /** Total number of bytes, if known. */
  totalBytes?: number
}

/** Result of a prune or remove. */
export interface NativePruneReport {
  /** Outcome. */
  outcome: string
  /** Human-readable reason, if there is one. */
  reason?: string
  /** Paths of the removed objects. */
  removed: Array<string>
  /** Duration of the call in milliseconds. */
  ms: number
  /** Bytes of the removed objects, as far as the store reported them. */
  bytes: number
}

/** Options of `publish`. */
export interface NativePublishOptions {
  /** Time to wait for the writer lock, in milliseconds. `Infinity` means no limit. */
  timeoutMs: number
  /** Relative paths that must be in the stage. */
  require: Array<string>
  /** Publishes only if the content differs from the current generation. */
  ifChanged: boolean
  /** Number of the generation that must be current. 0 means none. */
  expect?: number
  /** Identifies the inputs of the build. */
  fingerprint?: string
  /** The builder's own data, as JSON text. */
  meta?: string
  /** Whether to pin the new generation before a collection can remove it. */
  pin: boolean
}

/** A record of a store. */
export interface NativeRecord {
  /** The key. */
  key: string
  /** Whether it is the lease of a job. Otherwise it is the build of a tree. */
  isLease: boolean
  /** What the record says. Absent if it cannot be read. */
  facts?: NativeRecordFacts
}

/** What a record says. */
export interface NativeRecordFacts {
  /** The state. */
  state: 'building' | 'ready' | 'failed'
  /** Names the caller that wrote it. */
  token: string
  /** The number of that caller's write. */
  seq: number
  /** Milliseconds without a change after which others take over. */
  expiresAfterMs: number
  /** Host of the holder. */
  host: string
  /** Process of the holder. */
  pid: number
  /** What it is doing. */
  phase: string
  /** When it acquired the lease, by its wall clock. */
  since: string
  /** When it wrote the record, by its wall clock. */
  at: string
  /** The number of the acquisition, of a lease. */
  generation: number
  /** The inputs of the build. */
  fingerprint: string
  /** JSON of the metadata. */
  metadata?: string
  /** Why the build or the job failed. */
  failure?: string
}

/** The records of a store, or why they cannot be read. */
export interface NativeRecords {
  /** `restored` if they were read. */
  outcome: string
  /** Why not. */
  reason?: string
  /** The records, by key. */
  records: Array<NativeRecord>
}

/** Options of a restore. */
export interface NativeRestoreOptions {
  /** Keys, tried in this order. */
  keys: Array<string>
  /** Absolute path of the target directory. */
  into: string
  /** How a target that already contains entries is treated. */
  mode: 'if-empty' | 'replace' | 'merge'
  /** Which symbolic links the archive may contain. */
  symlinks: 'contained' | 'relative' | 'verbatim' | 'reject'
  /** How a path that occurs twice in the archive is treated. */
  duplicates: 'replace' | 'reject'
  /** Expected producer of the snapshot. */
  expect: NativeExpect
  /** Limits of the reader. */
  limits: NativeLimits
  /** Number of parallel connections. */
  concurrency: number
  /** Time limits and attempts. */
  budget: NativeBudget
}

/** Result of a restore. The fields have the meaning of `RestoreResult`. */
export interface NativeRestoreReport {
  /** Outcome, such as 'restored' or 'miss'. */
  outcome: string
  /** Human-readable reason, if the call failed. */
  reason?: string
  /** Key that was restored. */
  key?: string
  /** Trust level that it was restored from. */
  level?: string
  /** Generation that was restored. */
  generation?: string
  /** Stage in which the call failed. */
  stage?: string
  /** Number of files. */
  files: number
  /** Total bytes of the files. */
  bytes: number
  /** Bytes of the archive. */
  compressedBytes: number
  /** Entries that the target already had. */
  skippedFiles: number
  /** Pipes and devices of the archive, which are not created: path and reason of each. */
  skipped: Array<Array<string>>
  /** Number of repeated requests. */
  retries: number
  /** How the target was changed: 'rename', 'exchange', 'children' or 'merge'. */
  commit?: string
  /** Milliseconds of each stage. */
  timings: Array<[string, number]>
  /** Ticket for a later snapshot of the same key. */
  ticket?: string
}

/** Content of a cell at one moment. */
export interface NativeSnapshot {
  /** Value. Missing before the first write. */
  bytes?: Buffer
  /** Version. 0 before the first write. */
  version: bigint
}

/** Options of a snapshot. */
export interface NativeSnapshotOptions {
  /** Key of the cache entry. */
  key: string
  /** Absolute path of the directory to upload. */
  from: string
  /** Ticket of an earlier restore of the same key. The snapshot is 'superseded' if the key has changed since. */
  ticket?: string
  /** Glob patterns of excluded entries. */
  exclude: Array<string>
  /** Known kind of tree. */
  preset: 'deno' | 'node_modules' | 'vite' | 'none'
  /** Identifies the inputs of the tree. Recorded with the generation. */
  fingerprint: string
  /** Minimum requirements on the tree. */
  guard: NativeGuard
  /** Milliseconds for which the tree must be unchanged. */
  quietMs: number
  /** Compression level, -7 to 19. Default 3. */
  level?: number
  /** Limits of what is packed. */
  limits: NativeLimits
  /** Time limits and attempts. */
  budget: NativeBudget
}

/** Result of a snapshot. The fields have the meaning of `SnapshotResult`. */
export interface NativeSnapshotReport {
  /** Outcome, such as 'stored'. */
  outcome: string
  /** Human-readable reason, if the call failed. */
  reason?: string
  /** Generation that is current after the call. */
  generation?: string
  /** Number of files. */
  files: number
  /** Total bytes of the files. */
  bytes: number
  /** Bytes of the archive. */
  compressedBytes: number
  /** Bytes that were uploaded. */
  uploadedBytes: number
  /** Entries that were not packed: path and reason of each. */
  skipped: Array<Array<string>>
  /** Protection against concurrent writers: `etag` or `none`. */
  guard: string
  /** Milliseconds of each stage. */
  timings: Array<[string, number]>
}

/** Result of a compare-and-set. */
export interface NativeSwap {
  /** Whether the value was written. */
  ok: boolean
  /** Version after the call. */
  version: bigint
}

/** Result of a sweep. */
export interface NativeSwept {
  /** Removed paths. */
  removed: Array<string>
  /** Lock directories whose holders are alive or cannot be verified. */
  held: Array<string>
}

/** Trust levels of a cache. */
export interface NativeTrust {
  /** Level of this process. */
  level?: string
  /** Private key of this level: PKCS#8 in DER. */
  signWith?: Uint8Array
  /** Public keys of each level. */
  trustedKeys: Array<NativeTrustedLevel>
  /** Levels to read, in this order. By default all levels with public keys. */
  readsFrom?: Array<string>
}

/** Public keys of one trust level. */
export interface NativeTrustedLevel {
  /** Name of the level. */
  level: string
  /** Ed25519 public keys, 32 bytes each. */
  keys: Array<Uint8Array>
}

/** What a cache with these trust levels reads and writes. */
export interface NativeTrustPlan {
  /** Why nothing is written. Absent if the own level is written. */
  readOnly?: string
  /** Levels that are read, in order, with the keys that are accepted. */
  reads: Array<NativeTrustedLevel>
}

/** Options of `unpack`. */
export interface NativeUnpackOptions {
  /** How a target that already contains entries is treated. */
  mode: 'if-empty' | 'replace' | 'merge'
  /** Which symbolic links the archive may contain. */
  symlinks: 'contained' | 'relative' | 'verbatim' | 'reject'
  /** How a path that occurs twice in the archive is treated. */
  duplicates: 'replace' | 'reject'
  /** Size of the archive in bytes, as declared by its sender. */
  declaredBytes?: number
  /** Limits of the reader. */
  limits: NativeLimits
  /** Time for the whole call in milliseconds. `Infinity` means no limit. */
  deadlineMs: number
}

/** Result of an unpack. The fields have the meaning of `RestoreResult`. */
export interface NativeUnpackResult {
  /** Outcome, such as 'restored' or 'corrupt'. */
  outcome: string
  /** Human-readable reason, if the outcome is not 'restored'. */
  reason?: string
  /** Error code, if the outcome is not 'restored'. */
  code?: string
  /** Stage in which it failed, if the outcome is not 'restored'. */
  stage?: string
  /** How the target was changed: 'rename', 'exchange', 'children' or 'merge'. */
  commit?: string
  /** Number of regular files. */
  files: number
  /** Total bytes of the regular files. */
  bytes: number
  /** Bytes read from the source. */
  compressedBytes: number
  /** Entries that the target already had. */
  skippedFiles: number
  /** Pipes and devices of the archive, which are not created: path and reason of each. */
  skipped: Array<Array<string>>
  /** Milliseconds until all files were staged and verified. */
  unpackMs: number
  /** Milliseconds of the commit. */
  commitMs: number
}

/**
 * Opens a store and creates it if it does not exist. Rejects with `ERR_TIMEOUT` if the writer lock is not free in
 * time.
 */
export declare function openBundles(root: string, options: NativeBundleOptions, timeoutMs: number, token?: CancelToken | undefined | null): Promise<Reply<NativeBundles>>

/** Opens a cache. Without a scheme, the cache is disabled. */
export declare function openCache(scheme: string | undefined | null, options: Record<string, string>, hmacKey: Uint8Array | undefined | null, readOnly: boolean, conditions: 'auto' | 'required' | 'off', trust?: NativeTrust | undefined | null): Reply<NativeCache>

/** Panics, so that tests can check the conversion to an error. Does nothing in a published build. */
export declare function panicForTests(): Reply<void>

/** Panics on a native thread. Does nothing in a published build. */
export declare function panicLaterForTests(): Promise<Reply<void>>

/** Checks trust levels, and resolves their defaults. */
export declare function planTrust(trust: NativeTrust): Reply<NativeTrustPlan>

/** Renames `from` to `to`. Rejects with `ERR_FENCED` if a later generation of the lock exists. */
export declare function publishFenced(path: string, generation: number, from: string, to: string): Promise<Reply<void>>

/** Prepares to pack a directory. Nothing is read yet. */
export declare function startPack(directory: string, options: NativePackOptions): Reply<Packer>

/** Starts to unpack into the directory `target`. Reads the file `source`, or the pushed bytes if there is none. */
export declare function startUnpack(source: string | undefined | null, target: string, options: NativeUnpackOptions): Reply<Unpacker>

/**
 * Removes what killed processes left in a directory of locks, and the files of locks that were not used for
 * `unused_ms` milliseconds.
 */
export declare function sweepLocks(directory: string, unusedMs: number, timeoutMs: number, token?: CancelToken | undefined | null): Promise<Reply<NativeSwept>>

/** Waits until the lock is free. Resolves with `true` if a dead holder had left it. */
export declare function waitForLock(path: string, options: NativeLockOptions, listener: LockListener, token?: CancelToken | undefined | null): Promise<Reply<boolean>>
