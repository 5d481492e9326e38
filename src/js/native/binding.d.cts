/** The value of a native call, or a failure that src/js/native/native.ts throws. */
export type Reply<T> = T | import('./native.js').NativeFailure

/**
 * Which binding artifact the generated loader actually loaded: `'native'` for
 * a native addon, otherwise the `platformArchABI` of the WASI flavor. Every
 * flavor napi-rs can build is listed, because `NAPI_RS_NATIVE_LIBRARY_PATH`
 * can point the loader at a WASI artifact this package does not build itself.
 */
export declare const __napiBindingTarget: 'native' | 'wasm32-wasi' | 'wasm32-wasip1'

/** Raised once, shared by a call and its caller. */
export declare class CancelToken {
  /** A token that is not raised. */
  constructor()
  /** Raises it. */
  cancel(): void
}

/** Hears what happens to the waits and locks of many calls. */
export declare class LockListener {
  /** Calls a function with each event. */
  constructor(listener: (event: NativeLockEvent) => void)
}

/** The build lock. */
export declare class NativeBuildLock {
  /** Releases the lock. */
  release(): void
}

/** An open store. */
export declare class NativeBundles {
  /** The canonical root. */
  get root(): string
  /** The store's own name. */
  get id(): string | null
  /** The id that the URLs of this store need, because this process has had another store at the same path. */
  get distinguishingId(): string | null
  /** The filesystem's name. */
  get filesystem(): string
  /** Whether copies share blocks. */
  get cloneOffered(): boolean
  /** The number of the current generation; 0 is none. */
  current(): Reply<number>
  /** Whether a generation of this store is current. */
  isCurrent(generation: number): Reply<boolean>
  /** The facts of a generation. */
  head(generation: number): Reply<NativeGeneration>
  /** Pins the current generation, or the one of this number; returns its number. */
  pin(generation?: number | undefined | null): Reply<number>
  /** Releases a pin. */
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
  /** Makes a stage. */
  stage(fromCurrent: boolean, fenced: boolean, timeoutMs: number, token?: CancelToken | undefined | null): Promise<Reply<NativeStage>>
  /** Makes an older generation current again. */
  rollback(generation: number, timeoutMs: number, token?: CancelToken | undefined | null): Promise<Reply<NativeGeneration>>
  /** Makes the link a real directory with the files that it shows; `false` if there was no link. */
  giveDirectory(link: string, timeoutMs: number, token?: CancelToken | undefined | null): Promise<Reply<boolean>>
  /** The directories that a link replaced since the last call, where they are kept. */
  setAside(): Array<string>
  /** Removes generations and stages that are not needed. */
  collect(timeoutMs: number, token?: CancelToken | undefined | null): Promise<Reply<NativeCollected>>
  /** The generations that are or were current. */
  list(): Promise<Reply<Array<NativeGeneration>>>
  /** Compares a generation with its manifest. */
  verify(generation?: number | undefined | null): Promise<Reply<Array<NativeProblem>>>
  /** Ends the collections of this handle that wait for the lock, and waits until none is at work. */
  settled(): Promise<Reply<void>>
  /** Waits for the build lock. */
  buildLock(timeoutMs: number, token?: CancelToken | undefined | null): Promise<Reply<NativeBuildLock>>
}

/** An opened cache. */
export declare class NativeCache {
  /** Restores. */
  restore(options: NativeRestoreOptions, token: CancelToken, progress?: ((progress: NativeProgress) => void) | undefined): Promise<Reply<NativeRestoreReport>>
  /** Snapshots. */
  snapshot(options: NativeSnapshotOptions, token: CancelToken, progress?: ((progress: NativeProgress) => void) | undefined): Promise<Reply<NativeSnapshotReport>>
  /** Snapshots without keeping the process alive: the end is told to `done`, if anybody is left. */
  snapshotDetached(options: NativeSnapshotOptions, token: CancelToken, done: (report: Reply<NativeSnapshotReport>) => void, progress?: ((progress: NativeProgress) => void) | undefined): void
  /** What a key holds. */
  inspect(key: string, budget: NativeBudget, token: CancelToken): Promise<Reply<NativeInspectReport>>
  /** Removes what nobody needs. */
  prune(key: string, keep: number, olderThanMs: number, budget: NativeBudget, token: CancelToken): Promise<Reply<NativePruneReport>>
  /** Removes a key. */
  remove(key: string, budget: NativeBudget, token: CancelToken): Promise<Reply<NativePruneReport>>
  /** What the store can do; nothing where it cannot be reached. */
  probe(budget: NativeBudget, token: CancelToken): Promise<Reply<NativeAbilities>>
}

/** A versioned value that every thread of the process shares. */
export declare class NativeCell {
  /** The cell of this key; keys are opaque bytes. */
  constructor(key: Uint8Array)
  /**
   * The memory in which the core publishes the version, as 8 bytes that change by themselves. Absent where
   * the engine takes no external memory (Electron).
   */
  word(): ArrayBuffer | null
  /** The version of the latest write. */
  version(): bigint
  /** Value and version, of one moment. */
  read(): NativeSnapshot
  /** Writes whatever stood there; returns the new version. */
  write(bytes: Uint8Array): bigint
  /** Writes only onto the expected version. */
  compareAndSet(expected: bigint, bytes: Uint8Array): Reply<NativeSwap>
  /**
   * Calls `settle` once, with the version that is not `since` any more or with a failure. Neither the wait nor
   * `settle` keeps the thread alive, and a wait ends with its thread.
   */
  wait(since: bigint, timeoutMs: number, token: CancelToken, settle: (reply: Reply<bigint>) => void): Reply<void>
  /** How many waits are pending, of all threads. */
  waiting(): number
}

/** A lock that is held. */
export declare class NativeLock {
  /** The random name of this taking. */
  get token(): string
  /** The fencing token. */
  get generation(): number
  /** How it is kept. */
  get mode(): 'kernel' | 'lease'
  /** The dead holder that was followed: `Holder` as JSON. */
  get tookOverFrom(): string | null
  /** The generation that had the lock when the wait began. */
  get waitedSince(): number | null
  /** The last failed run: `{ generation, message }` as JSON. */
  get failure(): string | null
  /** Fails unless the lock is held. */
  assertHeld(): Reply<void>
  /** Tells waiters what is being done. */
  progress(phase: string): void
  /** Renames unless a later generation exists. */
  publish(from: string, to: string): Promise<Reply<void>>
  /** The descriptor that children keep the lock with. */
  childFd(): Reply<number>
  /** Gives the lock back; `false` where it was lost. With the message of a failed run for those who waited. */
  release(failure?: string | undefined | null): Reply<boolean>
}

/** A stage that is being written. */
export declare class NativeStage {
  /** Where to write. */
  get path(): string
  /** Writes files: paths, contents and modes, one each. */
  write(files: Array<NativeFile>): Promise<Reply<void>>
  /** Makes a link. */
  symlink(relative: string, target: string): Promise<Reply<void>>
  /** Copies or moves the contents of a directory into the stage. */
  adopt(directory: string, how: NativeCopyMethod): Promise<Reply<void>>
  /** Makes it the current generation. */
  publish(options: NativePublishOptions, token?: CancelToken | undefined | null): Promise<Reply<NativeGeneration>>
  /** Removes it. */
  discard(): Promise<Reply<void>>
}

/** A directory on its way to a stream; starts with the first pull. */
export declare class Packer {
  /** The next bytes, or nothing at the end. */
  next(): Promise<Reply<Uint8Array | null>>
  /** Stops packing. */
  cancel(): void
}

/** An archive on its way to a target. */
export declare class Unpacker {
  /** Hands over bytes: 0 go on, 1 wait for `drained`, 2 stop. */
  push(chunk: Uint8Array): number
  /** Resolves when there is room (0) or nobody reads any more (2). */
  drained(): Promise<Reply<number>>
  /** There are no more bytes. */
  end(): void
  /** Where the bytes came from failed. */
  fail(reason: string): void
  /** Stops. */
  cancel(): void
  /** Files, and their bytes, so far. */
  progress(): [number, number]
  /** How it ended; can be asked once. */
  result(): Promise<Reply<NativeUnpackResult>>
}

/** Takes a lock: at once where it is free and nothing on the way waits. */
export declare function acquireLock(path: string, options: NativeLockOptions, listener: LockListener, token?: CancelToken | undefined | null): Reply<NativeLock> | Promise<Reply<NativeLock>>

/** Starts counting fault points; does nothing in a published build. */
export declare function armFaults(): void

/** All error codes with whether they are retryable, in the order of the README's table. */
export declare function errorCodes(): Array<[string, boolean]>

/** The filesystem of an existing path. */
export declare function filesystemOf(path: string): Reply<NativeFilesystem>

/** Looks at a lock without taking it. */
export declare function inspectLock(path: string, timeoutMs: number, token?: CancelToken | undefined | null): Promise<Reply<NativeInspection>>

/** Whether this build has fault points and seeded bugs. */
export declare function isTestingBuild(): boolean

/** The `globalThis` of this thread's main realm, also when called from inside a vm context. */
export declare function mainRealm(): typeof globalThis

/** Microseconds of this boot's monotonic clock. */
export declare function monotonicMicros(): number

/** What a store can do. */
export interface NativeAbilities {
  /** `probed`, or why nothing is known. */
  outcome: string
  /** For people. */
  reason?: string
  /** Conditions on PUT are honoured. */
  conditionalPut: boolean
  /** Conditions on completing a multipart upload are honoured. */
  conditionalMultipart: boolean
  /** Ranges are exact. */
  ranged: boolean
  /** We may write. */
  writable: boolean
}

/** Time and patience of a call. */
export interface NativeBudget {
  /** The whole call. */
  deadlineMs: number
  /** Longest silence. */
  idleMs: number
  /** Least throughput; 0 is off. */
  minBytesPerSecond: number
  /** Tries of one request. */
  attempts: number
}

/** Options of `openBundles`. */
export interface NativeBundleOptions {
  /** What a publish survives. */
  durability: NativeDurability
  /** Generations beside the current one. */
  keep?: number
  /** Milliseconds. */
  graceMs?: number
  /** Bytes; infinite removes the bound. */
  maxBytes?: number
  /** Milliseconds; infinite removes the bound. */
  maxAgeMs?: number
  /** An absolute path. */
  link?: string
  /** Whether a directory at `link` may be replaced. */
  adopt: boolean
}

/** What a key holds. */
export interface NativeCacheInfo {
  /** Name of the generation. */
  generation: string
  /** Files. */
  files: number
  /** Bytes of the files. */
  bytes: number
  /** Bytes in the store. */
  compressedBytes: number
  /** RFC 3339. */
  createdAt: string
  /** Who made it. */
  producer: Record<string, string>
}

/** The result of a collection. */
export interface NativeCollected {
  /** Generations that were removed. */
  removed: Array<number>
  /** Generations that were kept. */
  kept: Array<number>
  /** Generations that a reader has pinned. */
  pinned: Array<number>
  /** Stages of dead writers. */
  sweptStages: number
}

/** How the contents of a directory become those of a stage. */
export type NativeCopyMethod = 'clone' | 'copy' | 'move'

/** What a publish survives. */
export type NativeDurability = 'process' | 'power'

/** Pinned generations exceed the bound of a store. */
export interface NativeExcess {
  /** Bytes of all generations. */
  bytes: number
  /** The bound. */
  maxBytes: number
}

/** What the producer must have been. */
export interface NativeExpect {
  /** As Node names it. */
  platform?: string
  /** As Node names it. */
  arch?: string
  /** `glibc` or `musl`. */
  libc?: string
  /** What the snapshot was given. */
  fingerprint?: string
}

/** A file for a stage. */
export interface NativeFile {
  /** Below the stage. */
  path: string
  /** Its bytes. */
  contents: Uint8Array
  /** Permission bits. */
  mode: number
}

/** A filesystem and whether its kernel locks can be trusted. */
export interface NativeFilesystem {
  /** Short name, such as `ext4`. */
  name: string
  /** Whether bundles and kernel-mode locks are offered on it. */
  trusted: boolean
}

/** Facts of a generation. */
export interface NativeGeneration {
  /** Its number. */
  number: number
  /** Over everything in it. */
  digest: string
  /** Milliseconds since the epoch. */
  publishedAt: number
  /** Files and links. */
  files: number
  /** Bytes of the files. */
  bytes: number
  /** When its stage was made, microseconds of this boot's clock; left out for another boot. */
  startedAt?: number
  /** The fence of its stage. */
  fence?: number
  /** What it was made from. */
  fingerprint?: string
  /** JSON text. */
  meta?: string
  /** Only of a publish: whether a new generation was made. */
  changed?: boolean
}

/** What may become a generation. */
export interface NativeGuard {
  /** Fewest files. */
  minFiles: number
  /** Fewest bytes. */
  minBytes: number
  /** Largest share that may be missing. */
  maxShrink: number
  /** No limit to that. */
  allowShrink: boolean
}

/** What stands at a lock's path. */
export interface NativeInspection {
  /** Alive or unknown. */
  held: boolean
  /** `Holder` as JSON. */
  holder?: string
  /** Of the holder. */
  liveness?: 'alive' | 'dead' | 'unknown'
  /** Milliseconds since it was taken. */
  ageMs?: number
  /** Why the path cannot be locked, or why what is there is never taken over. */
  warning?: string
}

/** The end of an inspect or remove. */
export interface NativeInspectReport {
  /** How it ended. */
  outcome: string
  /** Why. */
  reason?: string
  /** What is there. */
  info?: NativeCacheInfo
}

/** What a reader accepts at most; what is left out has its default. */
export interface NativeLimits {
  /** All files together. */
  maxBytes?: number
  /** Entries. */
  maxFiles?: number
  /** One file. */
  maxFileBytes?: number
  /** Decoded bytes for one compressed byte. */
  maxRatio?: number
  /** Decoder and buffers. */
  maxMemoryBytes?: number
  /** What must stay free on the disk. */
  minFreeBytes?: number
}

/** What happens to a wait or to a lock. */
export interface NativeLockEvent {
  /** Which call it is of. */
  call: number
  /** `lost` comes once, and nothing after it. */
  kind: 'wait' | 'lost'
  /** Milliseconds since the call. */
  waitedMs: number
  /** `Holder` as JSON. */
  holder?: string
  /** Of the holder. */
  liveness: 'alive' | 'dead' | 'unknown'
  /** Why it was lost. */
  reason?: string
}

/** How a lock is to be taken. */
export interface NativeLockOptions {
  /** Decided by filesystem, or asked for. */
  mode: 'auto' | 'kernel' | 'lease'
  /** Milliseconds, 0 is one try. */
  timeoutMs: number
  /** Milliseconds. */
  leaseTtlMs: number
  /** Milliseconds. */
  foreignStaleMs: number
  /** JSON. */
  metadata?: string
  /** Whether children keep the lock. */
  coverChildren: boolean
  /** `worker_threads.threadId`. */
  threadId: number
  /** Names the call in its events. */
  call: number
  /** A free lock in memory may be taken without a turn of the event loop. */
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

/** How to pack. */
export interface NativePackOptions {
  /** Patterns of what is left out. */
  exclude: Array<string>
  /** A known kind of tree. */
  preset: 'deno' | 'node_modules' | 'vite' | 'none'
  /** The codec's level. */
  level?: number
  /** How it is compressed. */
  format: 'tar.zst' | 'tar.gz' | 'tar'
}

/** How an entry differs from the manifest. */
export interface NativeProblem {
  /** Where. */
  path: string
  /** The kind of difference. */
  problem: NativeProblemKind
}

/** How an entry differs. */
export type NativeProblemKind = 'missing' | 'size' | 'hash' | 'mode' | 'extra'

/** How far a call is. */
export interface NativeProgress {
  /** What it does. */
  stage: string
  /** Files so far. */
  files: number
  /** Bytes so far. */
  bytes: number
  /** Bytes in all. */
  totalBytes?: number
}

/** The end of a prune or remove. */
export interface NativePruneReport {
  /** How it ended. */
  outcome: string
  /** Why. */
  reason?: string
  /** Paths that are gone. */
  removed: Array<string>
  /** How long it took. */
  ms: number
  /** Bytes that are gone, where the store told. */
  bytes: number
}

/** Options of `publish`. */
export interface NativePublishOptions {
  /** Milliseconds. */
  timeoutMs: number
  /** Paths that must be in the stage. */
  require: Array<string>
  /** Publish only what differs. */
  ifChanged: boolean
  /** The number that must be current. */
  expect?: number
  /** What the stage was made from. */
  fingerprint?: string
  /** JSON text. */
  meta?: string
  /** Pin the result before anybody can collect it. */
  pin: boolean
}

/** What to restore. */
export interface NativeRestoreOptions {
  /** Tried in turn. */
  keys: Array<string>
  /** Absolute. */
  into: string
  /** What may happen to a target that is not empty. */
  mode: 'if-empty' | 'replace' | 'merge'
  /** Which symbolic links are made. */
  symlinks: 'contained' | 'relative' | 'verbatim' | 'reject'
  /** What happens to a path that the archive has twice. */
  duplicates: 'replace' | 'reject'
  /** What the producer must have been. */
  expect: NativeExpect
  /** What is accepted at most. */
  limits: NativeLimits
  /** Connections. */
  concurrency: number
  /** Time and patience. */
  budget: NativeBudget
}

/** How a restore ended. */
export interface NativeRestoreReport {
  /** In one word. */
  outcome: string
  /** For people. */
  reason?: string
  /** Which key. */
  key?: string
  /** Which generation. */
  generation?: string
  /** Where it failed. */
  stage?: string
  /** Files. */
  files: number
  /** Bytes of the files. */
  bytes: number
  /** Bytes of the archive. */
  compressedBytes: number
  /** Files that stayed. */
  skippedFiles: number
  /** Path and why. */
  skipped: Array<Array<string>>
  /** Repeated requests. */
  retries: number
  /** How it was committed. */
  commit?: string
  /** Milliseconds by stage. */
  timings: Array<[string, number]>
  /** For a snapshot. */
  ticket?: string
}

/** What a cell holds at one moment. */
export interface NativeSnapshot {
  /** Absent before the first write. */
  bytes?: Buffer
  /** 0 before the first write. */
  version: bigint
}

/** What to snapshot. */
export interface NativeSnapshotOptions {
  /** Its name. */
  key: string
  /** Absolute. */
  from: string
  /** Of a restore. */
  ticket?: string
  /** Globs. */
  exclude: Array<string>
  /** A known kind of tree. */
  preset: 'deno' | 'node_modules' | 'vite' | 'none'
  /** Recorded. */
  fingerprint: string
  /** What may become a generation. */
  guard: NativeGuard
  /** How long the tree must be unchanged. */
  quietMs: number
  /** Of the compression. */
  level?: number
  /** What is packed at most. */
  limits: NativeLimits
  /** Time and patience. */
  budget: NativeBudget
}

/** How a snapshot ended. */
export interface NativeSnapshotReport {
  /** In one word. */
  outcome: string
  /** For people. */
  reason?: string
  /** Which generation is current. */
  generation?: string
  /** Files. */
  files: number
  /** Bytes of the files. */
  bytes: number
  /** Bytes of the archive. */
  compressedBytes: number
  /** Bytes that were sent. */
  uploadedBytes: number
  /** Path and why. */
  skipped: Array<Array<string>>
  /** `etag` or `none`. */
  guard: string
  /** Milliseconds by stage. */
  timings: Array<[string, number]>
}

/** How a compare-and-set ended. */
export interface NativeSwap {
  /** Whether the value was written. */
  ok: boolean
  /** The version that stands now. */
  version: bigint
}

/** What a sweep found. */
export interface NativeSwept {
  /** Paths that are gone. */
  removed: Array<string>
  /** Lock directories whose holders are alive or unknown. */
  held: Array<string>
}

/** How to unpack. */
export interface NativeUnpackOptions {
  /** What may happen to a target that is not empty. */
  mode: 'if-empty' | 'replace' | 'merge'
  /** Which symbolic links are made. */
  symlinks: 'contained' | 'relative' | 'verbatim' | 'reject'
  /** What happens to a path that the archive has twice. */
  duplicates: 'replace' | 'reject'
  /** Size of the archive as its sender declared it. */
  declaredBytes?: number
  /** What is accepted at most. */
  limits: NativeLimits
  /** Milliseconds from now; `Infinity` is never. */
  deadlineMs: number
}

/** How an unpack ended, in the words of `RestoreResult`. */
export interface NativeUnpackResult {
  /** 'restored' or why not. */
  outcome: string
  /** For people, if not restored. */
  reason?: string
  /** The error's code, if not restored. */
  code?: string
  /** Where it stopped, if not restored. */
  stage?: string
  /** How it was committed. */
  commit?: string
  /** Regular files. */
  files: number
  /** Their bytes. */
  bytes: number
  /** Bytes read from the source. */
  compressedBytes: number
  /** Entries that the target had already. */
  skippedFiles: number
  /** Pipes and devices of the archive: path and why. */
  skipped: Array<Array<string>>
  /** Milliseconds until everything was staged and verified. */
  unpackMs: number
  /** Milliseconds of the commit. */
  commitMs: number
}

/** Opens a store. */
export declare function openBundles(root: string, options: NativeBundleOptions, timeoutMs: number, token?: CancelToken | undefined | null): Promise<Reply<NativeBundles>>

/** Opens a cache; without a scheme it is disabled. */
export declare function openCache(scheme: string | undefined | null, options: Record<string, string>, hmacKey: Uint8Array | undefined | null, readOnly: boolean, conditions: 'auto' | 'required' | 'off'): Reply<NativeCache>

/** Panics, to prove that a panic becomes an error; does nothing in a published build. */
export declare function panicForTests(): Reply<void>

/** Panics on a thread of ours; does nothing in a published build. */
export declare function panicLaterForTests(): Promise<Reply<void>>

/** Renames unless a later generation of the lock exists. */
export declare function publishFenced(path: string, generation: number, from: string, to: string): Promise<Reply<void>>

/** Prepares to pack a directory. */
export declare function startPack(directory: string, options: NativePackOptions): Reply<Packer>

/** Starts to unpack into `target`: from the file `source`, or from what is pushed. */
export declare function startUnpack(source: string | undefined | null, target: string, options: NativeUnpackOptions): Reply<Unpacker>

/** Sweeps what killed processes left in a directory of locks, and the files of locks that were not used for `unused_ms`. */
export declare function sweepLocks(directory: string, unusedMs: number, timeoutMs: number, token?: CancelToken | undefined | null): Promise<Reply<NativeSwept>>

/** Waits until nobody holds a lock; `true` where a dead holder had left it. */
export declare function waitForLock(path: string, options: NativeLockOptions, listener: LockListener, token?: CancelToken | undefined | null): Promise<Reply<boolean>>
