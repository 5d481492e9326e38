/** The public types of bundle stores. */

/** Options of `openBundles()`. */
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
  /** Stops waiting. The call rejects with the signal's reason. */
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
  /** What the filesystem of the store supports. */
  readonly capabilities: {
    /** Name of the filesystem, such as 'ext4' or 'apfs'. */
    filesystem: string
    /** Whether copies share their blocks with the original (reflinks). */
    clone: boolean
  }
  /**
   * Returns the current generation, or null before the first publish. `number` and `path` take one readlink. The other
   * fields are read on first use, and throw ERR_GENERATION_GONE if the generation was collected in between.
   */
  current(): Generation | null
  /**
   * Pins a generation: it is kept until `release()`, or until this thread or process ends. The result is one complete
   * generation that was current at some point during the call. Synchronous: a few system calls, none of which waits.
   *
   * @throws {WarmswapError} ERR_NO_GENERATION if nothing is published, ERR_GENERATION_GONE if the wanted generation no
   * longer exists, ERR_CLOSED if the store is closed.
   */
  pin(options?: {
    /** Number of the generation. Default: the current one. */
    generation?: number
  }): Pin
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
  /** Lists the names that have not ended, sorted by name. Pins of processes are not listed: they have no record on disk. */
  pins(): Promise<PinRecord[]>
  /** Ends a name. Resolves with `false` if there is none. Processes that have pinned the generation keep it. */
  release(name: string, options?: WriteOptions): Promise<boolean>
  /**
   * Creates a stage: a private directory for the next generation. Resolves when it can be written to. Concurrent stages
   * do not disturb each other.
   *
   * @throws {WarmswapError} ERR_TIMEOUT if the filesystem or, for a fenced stage, the writer lock does not answer in
   * time; ERR_CLOSED if the store is closed.
   */
  stage(
    options?: WriteOptions & {
      /** Content of the new stage: nothing, or a copy of the current generation if there is one. @default 'empty' */
      from?: 'empty' | 'current'
      /**
       * Gives the stage a place in the order of all fenced stages. Its `publish()` fails with ERR_FENCED if a stage with a
       * later place has already been published. @default false
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
    options: {
      /** Identifies the inputs of the build, such as a hash of the sources. */
      fingerprint: string
      /** Stops the wait. `build` gets it as `context.signal`. The call rejects with the signal's reason. */
      signal?: AbortSignal
      /** Longest wait for another builder in milliseconds. Infinity is allowed. @default 30_000 */
      timeoutMs?: number
    },
  ): Promise<Pin>
  /**
   * Makes an earlier generation the current one, atomically. Resolves with that generation. Its number does not change,
   * and the next publish gets a number above all existing ones. Its files are not verified: call `verify()` for that.
   *
   * @throws {WarmswapError} ERR_GENERATION_GONE if it no longer exists or was never current, ERR_TIMEOUT if the writer
   * lock is not free in time.
   */
  rollback(generation: number, options?: WriteOptions): Promise<Generation>
  /**
   * Removes generations that are neither pinned nor kept. `publish()` and `rollback()` start this in the background;
   * this call waits for it.
   */
  collect(options?: WriteOptions): Promise<{ removed: number[]; kept: number[]; pinned: number[]; sweptStages: number }>
  /** Lists the generations that still exist, sorted by number. */
  list(): Promise<Generation[]>
  /**
   * Compares every byte of a generation with its manifest. Checks the current generation if none is given. Resolves with
   * `ok: false` and one entry for each difference: `missing`, `size`, `hash` and `mode` are about a published path, and
   * `extra` is a path that was not published.
   *
   * @throws {WarmswapError} ERR_NO_GENERATION if nothing is published, ERR_GENERATION_GONE if the generation no longer
   * exists.
   */
  verify(
    generation?: number,
  ): Promise<{ ok: boolean; problems: { path: string; problem: 'missing' | 'size' | 'hash' | 'mode' | 'extra' }[] }>
  /**
   * Calls the listener after the current generation changed. Several changes may be reported as one; the last one is
   * never missed. Does not keep the process alive.
   */
  watch(listener: (generation: Generation) => void): Disposable
  /**
   * Closes the store for this handle and waits for a running collection. Pins remain valid. Later calls fail with
   * ERR_CLOSED. Dispose calls it.
   */
  close(): Promise<void>
}

/** A published generation. It never changes. */
export interface Generation {
  /** Number of the generation. Later generations have larger numbers. */
  readonly number: number
  /** Absolute path of the generation's directory. It does not go through `current`. */
  readonly path: string
  /** Digest over paths, types, modes, link targets and file contents. */
  readonly digest: string
  /** Time of publication, in ISO 8601. */
  readonly publishedAt: string
  /** Number of files. */
  readonly files: number
  /** Total size of the files in bytes. */
  readonly bytes: number
  /** The `fingerprint` given to `publish()` or `ensure()`. */
  readonly fingerprint?: string
  /** JSON value given to `publish()`. */
  readonly meta?: unknown
}

/** A private directory whose content becomes the next generation. */
export interface Stage extends AsyncDisposable {
  /** Directory to write to, with any tool. It has the same depth and filesystem as generations. */
  readonly path: string
  /**
   * Writes a file and creates its parent directories. An existing file is replaced.
   *
   * @throws {WarmswapError} ERR_INVALID_ARGUMENT for a path that leaves the stage, ERR_STAGE_CLOSED after `publish()`
   * or `discard()`.
   */
  write(
    relative: string,
    data: string | Uint8Array,
    options?: {
      /** Permission bits of the file, 0 to 0o777. Publishing removes the write bits. @default 0o644 */
      mode?: number
    },
  ): Promise<void>
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
  /**
   * Makes the stage the current generation, atomically. If it rejects, readers have seen nothing and the stage can be
   * published again. The message names the one exception: with `durability: 'power'`, the pointer can have moved although
   * its durability is unknown. Resolves with the generation; `changed` is false if `ifChanged` kept the current one.
   *
   * @throws {WarmswapError} ERR_EMPTY_STAGE, ERR_MISSING_ENTRY if a path of `require` is missing, ERR_FENCED if `expect`
   * or `fenced` forbids it. ERR_TIMEOUT if the writer lock is not free in time. ERR_STAGE_CLOSED after an earlier
   * `publish()` or `discard()`.
   */
  publish(
    options?: WriteOptions & {
      /** Relative paths that the stage must contain. @default [] */
      require?: string[]
      /** Whether to keep the current generation if the stage has the same content. @default false */
      ifChanged?: boolean
      /** Number of the generation that must be current, or 0 for none. Otherwise the publish fails with ERR_FENCED. */
      expect?: number
      /** Identifies the inputs of the build. `ensure()` finds the generation by it. */
      fingerprint?: string
      /** JSON value of your own, which readers get as `generation.meta`. */
      meta?: unknown
    },
  ): Promise<Generation & { readonly changed: boolean }>
  /** Removes the stage. It does nothing after `publish()`. Dispose calls it. */
  discard(): Promise<void>
}

/** The name that a generation gets, and when the name ends. */
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
  /** The name. */
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
  /** The name that the generation has. */
  readonly name: string
  /** When the name ends by itself, ISO 8601. */
  readonly expiresAt: string
  /** Whether the generation had the name before the call. */
  readonly resumed: boolean
}

/** A pin keeps one generation on disk until it is released, or until its thread or process ends. */
export interface Pin extends Disposable {
  /** The pinned generation. */
  readonly generation: Generation
  /** Absolute path of the generation's directory. */
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
  /** Releases the pin. Calling it again does nothing. Dispose calls it. */
  release(): void
}
