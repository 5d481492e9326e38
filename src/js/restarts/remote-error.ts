/**
 * Errors that are passed from one thread or process to another: structured clone drops own properties such as `code`.
 */

import { inspect, types } from 'node:util'
import { messageOf } from '../native/callbacks.js'
import { type ErrorCode, WarmswapError } from '../native/errors.js'

export interface RemoteError {
  name: string
  message: string
  stack?: string | undefined
  code?: string | undefined
  cause?: RemoteError | undefined
  /** The errors of an AggregateError. */
  errors?: RemoteError[] | undefined
}

/** Maximum number of nested causes: a chain may be a circle. */
const MOST_LEVELS = 8
/** Maximum number of errors of an AggregateError. */
const MOST_ERRORS = 16
/** Maximum length of a text. A stack with the line of a minified bundle in it can have megabytes. */
const LONGEST_TEXT = 32_768

/** Whether this was created by {@link toRemote}. */
export function isRemoteError(value: unknown, levels = MOST_LEVELS): value is RemoteError {
  if (typeof value !== 'object' || value === null) return false
  const { name, message, stack, code, cause, errors } = value as Partial<Record<keyof RemoteError, unknown>>
  const isText = (text: unknown): boolean => text === undefined || typeof text === 'string'
  const isError = (error: unknown): boolean => levels > 0 && isRemoteError(error, levels - 1)
  return (
    typeof name === 'string' &&
    typeof message === 'string' &&
    isText(stack) &&
    isText(code) &&
    (cause === undefined || isError(cause)) &&
    (errors === undefined || (Array.isArray(errors) && errors.length <= MOST_ERRORS && errors.every(isError)))
  )
}

/** Never throws, and contains only text, whatever was thrown. */
export function toRemote(error: unknown, levels = MOST_LEVELS): RemoteError {
  if (!isError(error)) return { name: 'Error', message: textOf(error) }
  const { cause, errors } = error as { cause?: unknown; errors?: unknown }
  const deeper = (inner: unknown): RemoteError => toRemote(inner, levels - 1)
  return {
    name: typeof error.name === 'string' ? error.name : 'Error',
    message: limited(messageOf(error)),
    stack: typeof error.stack === 'string' ? limited(error.stack) : undefined,
    code: codeOf(error),
    ...(levels > 0 && cause !== undefined && { cause: deeper(cause) }),
    ...(levels > 0 && Array.isArray(errors) && { errors: errors.slice(0, MOST_ERRORS).map(deeper) }),
  }
}

/** `where` it was thrown, for its stack. */
export function fromRemote(remote: RemoteError, where: string): Error {
  const { name, message, stack, code, errors } = remote
  const cause = remote.cause && { cause: fromRemote(remote.cause, where) }
  const facts = { stack: `${stack ?? `${name}: ${message}`}\n    ${where}` }
  const refusal = refusalOf(remote)
  if (refusal) return Object.assign(new WarmswapError(refusal, message, cause), facts)
  const error = errors
    ? new AggregateError(
        errors.map((each) => fromRemote(each, where)),
        message,
        cause,
      )
    : new (BUILT_IN.get(name) ?? Error)(message, cause)
  // Not enumerable, like the name of Node's own errors: inspect() shows enumerable properties as fields.
  if (error.name !== name) Object.defineProperty(error, 'name', { value: name, configurable: true, writable: true })
  return Object.assign(error, facts, code === undefined ? {} : { code })
}

/** Classes that are restored for the error of another thread. */
const BUILT_IN = new Map(
  [EvalError, RangeError, ReferenceError, SyntaxError, TypeError, URIError].map((each) => [each.name, each]),
)

/** Errors of this library that keep their class: an answer that cannot be sent, and a request that the worker cannot answer. */
const REFUSALS: readonly ErrorCode[] = ['ERR_INVALID_ARGUMENT', 'ERR_UNSUPPORTED']

function refusalOf({ name, code }: { name: string; code?: unknown }): ErrorCode | undefined {
  return name === 'WarmswapError' ? REFUSALS.find((each) => each === code) : undefined
}

/** Errors of other realms too, such as those of node:vm. */
function isError(error: unknown): error is Error {
  return error instanceof Error || types.isNativeError(error)
}

function codeOf(error: Error & { code?: unknown }): string | undefined {
  return typeof error.code === 'string' ? error.code : undefined
}

/** Shows the fields of a thrown object that is not an error. Never throws. */
function textOf(value: unknown): string {
  if (typeof value !== 'object' || value === null) return limited(messageOf(value))
  try {
    return limited(inspect(value, { depth: 2, breakLength: Number.POSITIVE_INFINITY }))
  } catch {
    return messageOf(value)
  }
}

function limited(text: string): string {
  return text.length > LONGEST_TEXT ? `${text.slice(0, LONGEST_TEXT)}…` : text
}
