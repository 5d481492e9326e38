/** The public types of bundle stores. */

export interface BundleStoreOptions {
  /**
   * What a published generation survives. 'process': kill -9. 'power': also power loss (fsync in the right order).
   * @default 'process'
   */
  durability?: 'process' | 'power'
  /**
   * Number of previous generations to keep: the most recently current ones. Stored in the store; opening it with
   * another value changes the value. @default 1
   */
  keep?: number
  /**
   * How long, in milliseconds, an unpinned generation is kept after it stopped being current, for readers that cannot
   * pin (browsers). Stored in the store. @default 0
   */
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
   * A path, such as `dist`, that becomes a symbolic link to a copy of the current generation, also after `rollback()`.
   * Tools may delete, add and change files there: pinned generations do not change, and the next publish replaces the
   * copy. An empty directory at the path is replaced. A directory with files is refused with ERR_INVALID_ARGUMENT
   * unless `adopt` is true.
   */
  link?: string
  /**
   * Allows `link` to replace a directory with files. `openBundles()` publishes the directory's content as a generation,
   * puts the link in its place, and moves the directory to `<root>/set-aside/`. A warning with the code
   * WARMSWAP_SET_ASIDE names the new path, and `warmswap doctor` lists it. warmswap never deletes it. @default false
   */
  adopt?: boolean
  /** Aborts the opening. The call rejects with the signal's reason. */
  signal?: AbortSignal
  /**
   * How long to wait, in milliseconds, for the writer lock and for a filesystem that does not respond. Then the call
   * fails with ERR_TIMEOUT. Infinity is allowed. @default 30_000
   */
  timeoutMs?: number
}

/** How long to wait for the writer lock, and how to stop waiting. ERR_TIMEOUT names the holder. */
export interface WriteOptions {
  signal?: AbortSignal
  /** Longest wait in milliseconds. Infinity is allowed. @default 30_000 */
  timeoutMs?: number
}

/**
 * A store of generations of one bundle. A dev server with forty functions opens forty stores. Filesystems whose flock
 * cannot be trusted are refused with ERR_UNSUPPORTED: put `root` on a local filesystem and use `link`.
 */
export interface BundleStore extends AsyncDisposable {
  /** Absolute path of the store, with all symbolic links resolved. */
  readonly root: string
  readonly capabilities: { filesystem: string; clone: boolean }
  /**
   * Returns the current generation, or null before the first publish. `number` and `path` take one readlink. The other
   * fields are read on first use, and throw ERR_GENERATION_GONE if the generation was collected in between.
   */
  current(): Generation | null
  /**
   * Pins a generation: it is kept until `release()`, or until this thread or process ends. The result is one complete
   * generation that was current at some point during the call. Synchronous: a few system calls, none of which waits.
   */
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
      /**
       * Publishes a stage as the current generation. Fails with ERR_FENCED if a fenced generation that was staged later
       * has already been published.
       */
      fenced?: boolean
    },
  ): Promise<Stage>
  /**
   * Pins a generation that was built from `fingerprint`. If there is none, or its files do not verify, builds it first.
   * Exactly one of the concurrent callers in all threads and processes builds; the others wait. If the builder is
   * killed, one waiter replaces it.
   */
  ensure(
    build: (stage: Stage, context: { signal: AbortSignal }) => Promise<void>,
    options: { fingerprint: string; signal?: AbortSignal; timeoutMs?: number },
  ): Promise<Pin>
  rollback(generation: number, options?: WriteOptions): Promise<Generation>
  /**
   * Removes generations that are neither pinned nor kept. `publish()` and `rollback()` start this in the background;
   * this call waits for it.
   */
  collect(options?: WriteOptions): Promise<{ removed: number[]; kept: number[]; pinned: number[]; sweptStages: number }>
  list(): Promise<Generation[]>
  verify(
    generation?: number,
  ): Promise<{ ok: boolean; problems: { path: string; problem: 'missing' | 'size' | 'hash' | 'mode' | 'extra' }[] }>
  /**
   * Calls the listener after the current generation changed. Several changes may be reported as one; the last one is
   * never missed. Does not keep the process alive.
   */
  watch(listener: (generation: Generation) => void): Disposable
  close(): Promise<void>
}

export interface Generation {
  readonly number: number
  /** Absolute path of the generation's directory. It does not go through `current`. */
  readonly path: string
  /** Digest over paths, types, modes, link targets and file contents. */
  readonly digest: string
  /** Time of publication, in ISO 8601. */
  readonly publishedAt: string
  readonly files: number
  readonly bytes: number
  readonly fingerprint?: string
  /** JSON value given to `publish()`. */
  readonly meta?: unknown
}

export interface Stage extends AsyncDisposable {
  /** Directory to write to, with any tool. It has the same depth and filesystem as generations. */
  readonly path: string
  write(relative: string, data: string | Uint8Array, options?: { mode?: number }): Promise<void>
  /** Writes esbuild's `outputFiles` (build with `write: false`). */
  writeAll(files: Iterable<{ path: string; contents: Uint8Array }>, base: string): Promise<void>
  /** Creates a symbolic link. It may lead anywhere: it is stored and hashed as text, and warmswap never follows it. */
  symlink(relative: string, target: string): Promise<void>
  /**
   * Copies the contents of a directory, as they were at one moment, or nothing. Rejects with ERR_UNSTABLE if they
   * change during the call. A directory that was changed within the last 50 ms is not copied until it is stable.
   * 'clone' shares blocks where the filesystem supports it and copies elsewhere.
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
  /** Dispose discards the stage. It does nothing after `publish()`. */
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
   * Returns a `file:` URL inside the generation. It has a query with the store's id if this process has opened another
   * store at the same path. Throws ERR_CLOSED after `release()`.
   */
  url(relative: string): string
  /**
   * Returns an absolute path inside the generation. Throws ERR_INVALID_ARGUMENT for a path that leaves it, and
   * ERR_CLOSED after `release()`.
   */
  resolve(relative: string): string
  /**
   * Whether the pin still protects the generation. `false` after `release()`, and if the store was removed, moved or
   * replaced.
   */
  isCurrent(): boolean
  /** Releases the pin. Calling it again does nothing. */
  release(): void
}
