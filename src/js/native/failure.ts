/** Failures as the addon returns them, and their conversion to errors. */

import { type ErrorCode, WarmswapError } from './errors.js'

/** A failure as the addon returns it (src/addon/error.rs). */
export interface NativeFailure {
  warmswapFailure: true
  code: ErrorCode
  message: string
  syscall?: string
  path?: string
  errno?: number
  cause?: string
  detail?: string
}

/** Whether a reply of the addon is a failure. */
export function isFailure(value: unknown): value is NativeFailure {
  return typeof value === 'object' && value !== null && 'warmswapFailure' in value
}

/** Returns the value of a native call, or throws its failure. Thrown here, so that the stack is the caller's. */
export function unwrap<T>(reply: T | NativeFailure): T {
  if (isFailure(reply)) throw toError(reply)
  return reply
}

/** Creates an error with all details from the addon. */
export function toError(failure: NativeFailure): WarmswapError {
  const detail = failure.detail === undefined ? {} : JSON.parse(failure.detail)
  return new WarmswapError(failure.code, failure.message, {
    path: failure.path,
    syscall: failure.syscall,
    holder: detail.holder,
    cause: failure.cause === undefined ? undefined : systemError(failure),
  })
}

function systemError(failure: NativeFailure): Error {
  const { syscall, path, errno } = failure
  return Object.assign(new Error(failure.cause), { syscall, path, errno })
}
