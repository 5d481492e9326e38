/** What a store of bundles offers. */

export interface BundleStoreOptions {
  /** 'process' survives kill -9; 'power' also survives power loss (fsync order). @default 'process' */
  durability?: 'process' | 'power'
  /** How many generations besides the current one stay: those that were current most recently. Kept in the store; an opener that passes it changes it. @default 1 */
  keep?: number
  /** How long an unpinned generation stays after it stopped being current, for readers that cannot pin (browsers). Kept in the store. @default 0 */
  graceMs?: number
  /**
   * Bound on the bytes of all generations. A collection removes generations that `keep` and `graceMs` keep, the one that
   * was current longest ago first, until the rest fits. It never removes the current generation or a pinned one: where
   * these alone are larger, a process warning with the code WARMSWAP_MAX_BYTES says so. Copies for `link` do not count.
   * Kept in the store; an opener that passes it changes it, and Infinity removes it. Default: no bound.
   */
  maxBytes?: number
  /**
   * Bound on the time in milliseconds since an unpinned generation stopped being current. A collection removes older ones,
   * also those that `keep` and `graceMs` keep. Kept in the store; an opener that passes it changes it, and Infinity removes
   * it. Default: no bound.
   */
  maxAgeMs?: number
  /**
   * A path (such as `dist`) that becomes a symlink to a copy of the current generation, also after `rollback()`. Tools may
   * delete, add and write there: pinned generations do not change, and the next publish replaces the copy. An empty
   * directory at the path is replaced. A directory with files is refused with ERR_INVALID_ARGUMENT unless `adopt` is true.
   */
  link?: string
  /**
   * Allows `link` to replace a directory with files. `openBundles()` publishes its content as a generation, puts the link
   * in its place, and keeps the directory in `<root>/set-aside/`: a warning with the code WARMSWAP_SET_ASIDE names it,
   * `warmswap doctor` lists it, and only you remove it. @default false
   */
  adopt?: boolean
  /** Ends the opening; the call rejects with the signal's reason. */
  signal?: AbortSignal
  /** How long to wait for the writer lock, and for a filesystem that does not answer: ERR_TIMEOUT. Infinity allowed. @default 30_000 */
  timeoutMs?: number
}

/** How long to wait for the writer lock, and how to stop waiting. ERR_TIMEOUT carries the holder. */
export interface WriteOptions {
  signal?: AbortSignal
  /** @default 30_000 */
  timeoutMs?: number
}

/** One store is one bundle: a dev server with forty functions opens forty stores. Filesystems whose flock cannot be trusted are ERR_UNSUPPORTED (put `root` on a local one and use `link`). */
export interface BundleStore extends AsyncDisposable {
  /** Absolute, with every link resolved. */
  readonly root: string
  readonly capabilities: { filesystem: string; clone: boolean }
  /** One readlink gives `number` and `path`; the other fields are read on first use and throw ERR_GENERATION_GONE if the generation was collected meanwhile. */
  current(): Generation | null
  /** Synchronous and cheap (a handful of syscalls, none of which waits). The generation stays until release() or the end of this thread or process. */
  pin(options?: { generation?: number }): Pin
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
  pin(options: NamedPinOptions): Promise<NamedPin>
  /** The names that have not ended, sorted by name. Pins of processes are not listed: they have no record on disk. */
  pins(): Promise<PinRecord[]>
  /** Ends a name. Resolves with `false` if there is none. Processes that have pinned the generation keep it. */
  release(name: string, options?: WriteOptions): Promise<boolean>
  stage(
    options?: WriteOptions & {
      from?: 'empty' | 'current'
      /** publish() refuses with ERR_FENCED once a later-staged fenced generation has been published. */
      fenced?: boolean
    },
  ): Promise<Stage>
  /**
   * Pin a generation made from `fingerprint`, building it first only if there is none or it does not verify.
   * Single flight over all threads and processes; a killed builder is replaced by one waiter.
   */
  ensure(
    build: (stage: Stage, context: { signal: AbortSignal }) => Promise<void>,
    options: { fingerprint: string; signal?: AbortSignal; timeoutMs?: number },
  ): Promise<Pin>
  rollback(generation: number, options?: WriteOptions): Promise<Generation>
  /** publish() and rollback() collect by themselves in the background; this waits for it. */
  collect(options?: WriteOptions): Promise<{ removed: number[]; kept: number[]; pinned: number[]; sweptStages: number }>
  list(): Promise<Generation[]>
  verify(
    generation?: number,
  ): Promise<{ ok: boolean; problems: { path: string; problem: 'missing' | 'size' | 'hash' | 'mode' | 'extra' }[] }>
  /** Coalesced; never misses the last publish. Does not keep the process alive. */
  watch(listener: (generation: Generation) => void): Disposable
  close(): Promise<void>
}

export interface Generation {
  readonly number: number
  /** Absolute, explicit: never through `current`. */
  readonly path: string
  /** Over paths, types, modes, link targets and bytes. */
  readonly digest: string
  /** ISO 8601. */
  readonly publishedAt: string
  readonly files: number
  readonly bytes: number
  readonly fingerprint?: string
  /** JSON. */
  readonly meta?: unknown
}

export interface Stage extends AsyncDisposable {
  /** Write here with any tool; same depth and filesystem as generations. */
  readonly path: string
  write(relative: string, data: string | Uint8Array, options?: { mode?: number }): Promise<void>
  /** esbuild's `outputFiles` (build with `write: false`). */
  writeAll(files: Iterable<{ path: string; contents: Uint8Array }>, base: string): Promise<void>
  /** A link may point anywhere: it is stored and hashed as text, and nothing of ours follows it. */
  symlink(relative: string, target: string): Promise<void>
  /**
   * Takes over the contents of a directory, as they were at one moment, or nothing: rejects with ERR_UNSTABLE if they change in
   * the meantime. A directory that was changed within the last 50 ms has to rest first. 'clone' shares blocks where the filesystem can and copies
   * elsewhere.
   * @default 'clone'
   */
  adopt(directory: string, how?: 'clone' | 'copy' | 'move'): Promise<void>
  publish(
    options?: WriteOptions & {
      require?: string[]
      ifChanged?: boolean
      expect?: number
      fingerprint?: string
      meta?: unknown
    },
  ): Promise<Generation & { readonly changed: boolean }>
  /** Dispose means discard; after publish() it does nothing. */
  discard(): Promise<void>
}

export interface NamedPinOptions extends WriteOptions {
  /** 1 to 1024 bytes of UTF-8, such as `session:42`. Programs with the same name share one generation. */
  name: string
  /** When the name ends by itself: a Date, milliseconds since 1970, or ISO 8601. Call `pin()` again to extend it. */
  expiresAt: Date | number | string
  /** Generation that gets the name. Default: the one that has it, else the current one. */
  generation?: number
}

/** A name of a generation. */
export interface PinRecord {
  readonly name: string
  /** Number of the generation. */
  readonly generation: number
  /** When the generation got the name, ISO 8601. */
  readonly pinnedAt: string
  /** When the name ends by itself, ISO 8601. */
  readonly expiresAt: string
}

/** A pin of this process on a generation that has a name. */
export interface NamedPin extends Pin {
  readonly name: string
  /** When the name ends by itself, ISO 8601. */
  readonly expiresAt: string
  /** Whether the generation had the name before the call. */
  readonly resumed: boolean
}

export interface Pin extends Disposable {
  readonly generation: Generation
  readonly path: string
  /**
   * `file:` URL inside the generation. It has a query with the store's id if this process has had another store at the same
   * path. Throws ERR_CLOSED after release().
   */
  url(relative: string): string
  /** Absolute path inside the generation. Throws ERR_INVALID_ARGUMENT for a path that leaves it, ERR_CLOSED after release(). */
  resolve(relative: string): string
  /** `false` also once the store was removed, moved or replaced. */
  isCurrent(): boolean
  /** Idempotent. */
  release(): void
}
