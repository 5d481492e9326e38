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

/** Starts counting fault points; does nothing in a published build. */
export declare function armFaults(): void

/** All error codes with whether they are retryable, in the order of the README's table. */
export declare function errorCodes(): Array<[string, boolean]>

/** The filesystem of an existing path. */
export declare function filesystemOf(path: string): Reply<NativeFilesystem>

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

/** Panics, to prove that a panic becomes an error; does nothing in a published build. */
export declare function panicForTests(): Reply<void>

/** Panics on a thread of ours; does nothing in a published build. */
export declare function panicLaterForTests(): Promise<Reply<void>>
