/** The errors of this library: one class, a fixed table of codes, and a brand that replaces `instanceof`. */

import type { Holder } from '../locks/holder.js'

/**
 * All error codes. The reference documents the meaning of each, whether it is retryable, and which calls throw it.
 * Codes are added, never renamed.
 */
export type ErrorCode =
  | 'ERR_INVALID_ARGUMENT'
  | 'ERR_UNSUPPORTED'
  | 'ERR_IO'
  | 'ERR_ABORTED'
  | 'ERR_TIMEOUT'
  | 'ERR_NO_GENERATION'
  | 'ERR_GENERATION_GONE'
  | 'ERR_GENERATION_CORRUPT'
  | 'ERR_EMPTY_STAGE'
  | 'ERR_MISSING_ENTRY'
  | 'ERR_STAGE_CLOSED'
  | 'ERR_FENCED'
  | 'ERR_LOCK_TIMEOUT'
  | 'ERR_LOCK_LOST'
  | 'ERR_FORMAT'
  | 'ERR_CLOSED'
  | 'ERR_NOT_READY'
  | 'ERR_REENTRANT'
  | 'ERR_TOO_LARGE'
  | 'ERR_WORKER_EXITED'
  | 'ERR_QUEUE_FULL'
  | 'ERR_UNTRUSTED'
  | 'ERR_UNSTABLE'

/** Registered symbol, so that it is the same in every realm, worker and duplicate copy of the package. */
const BRAND = Symbol.for('warmswap.error@1')

/**
 * Codes after which the same call can succeed later without a change to the program. The core has the same table; a
 * test compares them.
 */
const RETRYABLE: ReadonlySet<ErrorCode> = new Set<ErrorCode>([
  'ERR_ABORTED',
  'ERR_TIMEOUT',
  'ERR_NO_GENERATION',
  'ERR_LOCK_TIMEOUT',
  'ERR_WORKER_EXITED',
  'ERR_QUEUE_FULL',
  'ERR_UNSTABLE',
])

/** Details of a {@link WarmswapError} in addition to its code and message. */
export interface ErrorFacts {
  /** The path that the error is about. */
  path?: string | undefined
  /** The system call that failed. */
  syscall?: string | undefined
  /** The holder of the lock that the call waited for. */
  holder?: Holder | undefined
  /** Outcome of a call on a cache that throws instead of resolving. */
  outcome?: string | undefined
  /** The error that caused this one. */
  cause?: unknown
}

/** The only error class of this library. Test with {@link isWarmswapError}, not with `instanceof`. */
export class WarmswapError extends Error {
  /** One of the documented error codes. */
  readonly code: ErrorCode
  /** Whether the same call can succeed later without a change to the program. */
  readonly retryable: boolean
  /** The path that the error is about. */
  declare readonly path?: string
  /** The system call that failed. */
  declare readonly syscall?: string
  /** The holder of the lock that the call waited for. */
  declare readonly holder?: Holder
  /** Outcome of a call on a cache that throws instead of resolving. */
  declare readonly outcome?: string

  constructor(code: ErrorCode, message: string, facts: ErrorFacts = {}) {
    super(message, facts.cause === undefined ? undefined : { cause: facts.cause })
    this.code = code
    this.retryable = RETRYABLE.has(code)
    if (facts.path !== undefined) this.path = facts.path
    if (facts.syscall !== undefined) this.syscall = facts.syscall
    if (facts.holder !== undefined) this.holder = facts.holder
    if (facts.outcome !== undefined) this.outcome = facts.outcome
    Object.defineProperty(this, BRAND, { value: true })
  }
}
// On the prototype, like the name of Node's own errors: not an own property of each instance.
Object.defineProperty(WarmswapError.prototype, 'name', { value: 'WarmswapError', writable: true, configurable: true })

/**
 * Whether a value is a WarmswapError. Also true for errors from other realms, workers and duplicate copies of the
 * package.
 *
 * @param error Any value.
 */
export function isWarmswapError(error: unknown): error is WarmswapError {
  return typeof error === 'object' && error !== null && BRAND in error
}

/** Creates the error for a wrong argument: its name, its value, and what is expected. */
export function invalidArgument(name: string, value: unknown, expected: string): WarmswapError {
  return new WarmswapError('ERR_INVALID_ARGUMENT', `Invalid ${name}: ${show(value)}. Expected ${expected}`)
}

function show(value: unknown): string {
  if (typeof value === 'string')
    return value.length > 120 ? `'${value.slice(0, 120)}…' (${value.length} characters)` : `'${value}'`
  if (typeof value === 'function') return 'a function'
  if (typeof value === 'bigint') return `${value}n`
  if (typeof value !== 'object' || value === null) return String(value)
  return Array.isArray(value) ? 'an array' : `an object (${value.constructor?.name ?? 'null prototype'})`
}
