/**
 * Connects AbortSignals to native calls. Done here, because napi's own support overwrites `onabort` and never reads
 * `aborted`.
 */

import type { CancelToken } from './binding.cjs'
import { isWarmswapError } from './errors.js'
import { type NativeFailure, native, unwrap } from './native.js'

/** Runs a native call that can be cancelled. Aborting rejects with the signal's reason. */
export async function abortable<T>(
  signal: AbortSignal | undefined,
  start: (token: CancelToken) => T | NativeFailure | Promise<T | NativeFailure>,
): Promise<T> {
  signal?.throwIfAborted()
  const token = new (native().CancelToken)()
  const stop = (): void => token.cancel()
  signal?.addEventListener('abort', stop, { once: true })
  try {
    return unwrap(await start(token))
  } catch (error) {
    if (signal?.aborted && isWarmswapError(error) && error.code === 'ERR_ABORTED') throw signal.reason
    throw error
  } finally {
    signal?.removeEventListener('abort', stop)
  }
}
