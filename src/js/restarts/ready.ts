/** The ready handshake: a worker is ready when it reports so, not when it answers a health check. */

import { WarmswapError } from '../native/errors.js'
import type { Channel } from './channel.js'
import type { WorkerHandle } from './handle.js'
import { within } from './wait.js'

/** Time limit for a worker to become ready. */
export const READY_TIMEOUT_MS = 30_000

/** Resolves when the worker is ready. If it does not become ready, it is killed before this rejects. */
export async function becomeReady<Q, R>(
  handle: WorkerHandle<Q, R>,
  channel: Channel<Q, R>,
  { entry, readyTimeoutMs, signal }: { entry: string; readyTimeoutMs: number; signal: AbortSignal },
): Promise<void> {
  const late = (): WarmswapError =>
    new WarmswapError(
      'ERR_NOT_READY',
      `'${entry}' did not call serveRequests() within ${readyTimeoutMs} ms (readyTimeoutMs)`,
    )
  try {
    await within(channel.ready.promise, { signal, timeoutMs: readyTimeoutMs, late })
  } catch (error) {
    await handle.stop(0)
    throw error
  }
}
