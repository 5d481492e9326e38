/** What a store of bundles offers. */

export interface BundleStoreOptions {
  /** 'process' survives kill -9; 'power' also survives power loss (fsync order). @default 'process' */
  durability?: 'process' | 'power'
  /** How many generations besides the current one stay: those that were current most recently. Kept in the store; an opener that passes it changes it. @default 1 */
  keep?: number
  /** How long an unpinned generation stays after it stopped being current, for readers that cannot pin (browsers). Kept in the store. @default 0 */
  graceMs?: number
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
