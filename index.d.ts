//#region src/js/locks.d.ts
/** Orphan-aware locks. */
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
  readonly format: 'warmswap' | 'owner-json' | 'ownerless';
}
//#endregion
//#region src/js/errors.d.ts
/** Closed table, one row each in the README: code, meaning, retryable, who throws it. Codes are added, never renamed. */
type ErrorCode = 'ERR_INVALID_ARGUMENT' | 'ERR_UNSUPPORTED' | 'ERR_IO' | 'ERR_ABORTED' | 'ERR_TIMEOUT' | 'ERR_NO_GENERATION' | 'ERR_GENERATION_GONE' | 'ERR_GENERATION_CORRUPT' | 'ERR_EMPTY_STAGE' | 'ERR_MISSING_ENTRY' | 'ERR_STAGE_CLOSED' | 'ERR_FENCED' | 'ERR_LOCK_TIMEOUT' | 'ERR_LOCK_LOST' | 'ERR_FORMAT' | 'ERR_CLOSED' | 'ERR_NOT_READY' | 'ERR_REENTRANT' | 'ERR_TOO_LARGE' | 'ERR_WORKER_EXITED' | 'ERR_QUEUE_FULL';
/** What a {@link WarmswapError} carries beside its code and message. */
interface ErrorFacts {
  path?: string | undefined;
  syscall?: string | undefined;
  holder?: Holder | undefined;
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
  constructor(code: ErrorCode, message: string, facts?: ErrorFacts);
}
/** Brand check, true across realms, workers and duplicate copies of the package. */
declare function isWarmswapError(error: unknown): error is WarmswapError;
//#endregion
export { type ErrorCode, Holder, WarmswapError, isWarmswapError };