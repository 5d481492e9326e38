/** Errors that cross from one thread or process to another: structured clone drops own properties such as `code`. */

import { messageOf } from '../native/callbacks.js'
import { WarmswapError } from '../native/errors.js'

export interface RemoteError {
  name: string
  message: string
  stack?: string | undefined
  code?: string | undefined
  /** Of a value that could not be sent: what the copy failed with. */
  cause?: RemoteError | undefined
}

/** Whether this came from {@link toRemote}. */
export function isRemoteError(value: unknown): value is RemoteError {
  const { name, message, stack, code, cause } = (typeof value === 'object' && value !== null ? value : {}) as Partial<
    Record<keyof RemoteError, unknown>
  >
  const isText = (text: unknown): boolean => text === undefined || typeof text === 'string'
  return (
    typeof name === 'string' &&
    typeof message === 'string' &&
    isText(stack) &&
    isText(code) &&
    (cause === undefined || isRemoteError(cause))
  )
}

/** Never throws, and holds only text, whatever was thrown. */
export function toRemote(error: unknown): RemoteError {
  if (!(error instanceof Error)) return { name: 'Error', message: messageOf(error) }
  const { name, stack, code, cause } = error as { name: unknown; stack?: unknown; code?: unknown; cause?: unknown }
  return {
    name: typeof name === 'string' ? name : 'Error',
    message: messageOf(error),
    stack: typeof stack === 'string' ? stack : undefined,
    code: typeof code === 'string' ? code : undefined,
    ...(isRefusal(error) && cause instanceof Error && { cause: toRemote(cause) }),
  }
}

/** `where` it was thrown, for its stack. */
export function fromRemote(remote: RemoteError, where: string): Error {
  const { name, message, stack, code, cause } = remote
  const facts = { stack: `${stack ?? ''}\n    ${where}` }
  if (isRefusal(remote))
    return Object.assign(
      new WarmswapError('ERR_INVALID_ARGUMENT', message, cause && { cause: fromRemote(cause, where) }),
      facts,
    )
  return Object.assign(new Error(message), { name, ...facts }, code === undefined ? {} : { code })
}

/** An answer that cannot be sent is an error of this library on both sides. */
function isRefusal({ name, code }: { name: string; code?: unknown }): boolean {
  return name === 'WarmswapError' && code === 'ERR_INVALID_ARGUMENT'
}
