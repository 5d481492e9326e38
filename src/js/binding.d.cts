/** The value of a native call, or a failure that src/js/native.ts throws. */
export type Reply<T> = T | import('./native.js').Failure

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

/** Takes a lock. */
export declare function acquireLock(path: string, options: NativeLockOptions, listener: Listener, token?: CancelToken | undefined | null): Promise<Reply<NativeLock>>

/** Starts counting fault points; does nothing in a published build. */
export declare function armFaults(): void

/** All error codes with whether they are retryable, in the order of the README's table. */
export declare function errorCodes(): Array<[string, boolean]>

/** The filesystem of an existing path. */
export declare function filesystemOf(path: string): Reply<NativeFilesystem>

/** Looks at a lock without taking it. */
export declare function inspectLock(path: string): Promise<Reply<NativeInspection>>

/** Whether this build has fault points and mutants. */
export declare function isTestingBuild(): boolean

/** The `globalThis` of this thread's main realm, also when called from inside a vm context. */
export declare function mainRealm(): typeof globalThis

/** A filesystem and whether its kernel locks can be trusted. */
export interface NativeFilesystem {
  /** Short name, such as `ext4`. */
  name: string
  /** Whether bundles and kernel-mode locks are offered on it. */
  trusted: boolean
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
}

/** What happens to a wait or to a lock. */
export interface NativeLockEvent {
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
}

/** What a cell holds at one moment. */
export interface NativeSnapshot {
  /** Absent before the first write. */
  bytes?: Buffer
  /** 0 before the first write. */
  version: bigint
}

/** How a compare-and-set ended. */
export interface NativeSwap {
  /** Whether the value was written. */
  ok: boolean
  /** The version that stands now. */
  version: bigint
}

/** Panics, to prove that a panic becomes an error; does nothing in a published build. */
export declare function panicForTests(): Reply<void>

/** Panics on a thread of ours; does nothing in a published build. */
export declare function panicLaterForTests(): Promise<Reply<void>>

/** Renames unless a later generation of the lock exists. */
export declare function publishFenced(path: string, generation: number, from: string, to: string): Promise<Reply<void>>
