/**
 * Callbacks of the program. Most are called from an event listener or a timer of this library, where an exception would
 * end the host process. So an error of a callback becomes a process warning, and the caller continues.
 */

import { warn } from './warn.js'

const CODE = 'WARMSWAP_CALLBACK_FAILED'

/**
 * The callbacks that were reported. A listener that fails once usually fails at each event, and one warning is enough.
 */
const reported = new WeakMap<object, Set<string>>()

/** Reports an error that no call can reject with: one process warning for each callback and use. */
function reportFailure(kind: string, error: unknown, callback: object): void {
  const kinds = reported.get(callback) ?? new Set()
  if (kinds.has(kind)) return
  reported.set(callback, kinds.add(kind))
  warn(
    `${kind} failed: ${messageOf(error)}. The error was not thrown, because it would have ended the process. Further errors of this callback are not reported.`,
    {
      code: CODE,
      ...(error instanceof Error && typeof error.stack === 'string' && { detail: error.stack }),
    },
  )
}

/** Wraps the callback so that its errors are reported: thrown ones, and rejections of a promise that it returns. */
export function guarded<Args extends unknown[]>(
  kind: string,
  callback: (...args: Args) => unknown,
): (...args: Args) => void {
  return (...args) => attempt(kind, () => callback(...args), callback)
}

/** Runs `task`, which calls `callback`; reports what it throws, and what its promise rejects with. */
export function attempt(kind: string, task: () => unknown, callback: object = task): void {
  try {
    const result = task()
    if (isThenable(result)) result.then(undefined, (error) => reportFailure(kind, error, callback))
  } catch (error) {
    reportFailure(kind, error, callback)
  }
}

function isThenable(value: unknown): value is PromiseLike<unknown> {
  return (
    typeof value === 'object' && value !== null && typeof (value as Partial<PromiseLike<unknown>>).then === 'function'
  )
}

/** The message of a thrown value. Never throws, not even for an object without a prototype. */
export function messageOf(error: unknown): string {
  try {
    return error instanceof Error ? String(error.message) : String(error)
  } catch {
    return 'a value that has no text'
  }
}
