/** What is thrown: one class, a closed table of codes, and a brand instead of `instanceof`. */

import type { Holder } from '../locks/holder.js'

/** Closed table, one row each in the README: code, meaning, retryable, who throws it. Codes are added, never renamed. */
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

/** Registered, so that it is the same symbol in every realm, worker and duplicate copy of the package. */
const BRAND = Symbol.for('warmswap.error@1')

/** Codes after which the same call can succeed later without anybody changing the program. The core has the same table; a test holds them together. */
const RETRYABLE: ReadonlySet<ErrorCode> = new Set<ErrorCode>([
  'ERR_ABORTED',
  'ERR_TIMEOUT',
  'ERR_NO_GENERATION',
  'ERR_LOCK_TIMEOUT',
  'ERR_WORKER_EXITED',
  'ERR_QUEUE_FULL',
  'ERR_UNSTABLE',
])

/** What a {@link WarmswapError} carries beside its code and message. */
export interface ErrorFacts {
  path?: string | undefined
  syscall?: string | undefined
  holder?: Holder | undefined
  outcome?: string | undefined
  cause?: unknown
}

/** The only error class of this library. Test with {@link isWarmswapError}, not with `instanceof`. */
export class WarmswapError extends Error {
  /** Row of the table in the README. */
  readonly code: ErrorCode
  /** Whether the same call can succeed later without anybody changing the program. */
  readonly retryable: boolean
  /** The path it was about. */
  declare readonly path?: string
  /** The system call that failed. */
  declare readonly syscall?: string
  /** Who holds the lock that was waited for. */
  declare readonly holder?: Holder
  /** How the call of a cache ended that was told to throw, or had no other way to say it. */
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
// On the prototype, as Node's own errors have it: not an own property of each instance.
Object.defineProperty(WarmswapError.prototype, 'name', { value: 'WarmswapError', writable: true, configurable: true })

/** Brand check, true across realms, workers and duplicate copies of the package. */
export function isWarmswapError(error: unknown): error is WarmswapError {
  return typeof error === 'object' && error !== null && BRAND in error
}

/** A wrong argument: which one, what it was, what is accepted. */
export function invalidArgument(name: string, value: unknown, accepted: string): WarmswapError {
  return new WarmswapError('ERR_INVALID_ARGUMENT', `${name} is ${show(value)}; accepted is ${accepted}`)
}

function show(value: unknown): string {
  if (typeof value === 'string')
    return value.length > 120 ? `'${value.slice(0, 120)}…' (${value.length} characters)` : `'${value}'`
  if (typeof value === 'function') return 'a function'
  if (typeof value === 'bigint') return `${value}n`
  if (typeof value !== 'object' || value === null) return String(value)
  return Array.isArray(value) ? 'an array' : `an object (${value.constructor?.name ?? 'null prototype'})`
}
