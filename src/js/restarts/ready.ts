/** The ready handshake: a worker is ready when it says so or listens, not when it answers a health check. */

import { WarmswapError } from '../native/errors.js'
import type { Channel } from './channel.js'
import type { WorkerHandle } from './handle.js'
import type { Listening } from './listening.js'
import { within } from './wait.js'

/** Time limit for a worker to become ready. */
export const READY_TIMEOUT_MS = 30_000

/** The place where a worker listens, and the process that leads its group. */
interface Place {
  readonly listening: Listening
  readonly leader: number
}

/** Resolves when the worker is ready; one that does not become so is killed before this rejects. */
export async function becomeReady<Q, R>(
  handle: WorkerHandle<Q, R>,
  channel: Channel<Q, R>,
  {
    entry,
    readyTimeoutMs,
    signal,
    place,
  }: { entry: string; readyTimeoutMs: number; signal: AbortSignal; place?: Place | undefined },
): Promise<void> {
  const late = (): WarmswapError =>
    new WarmswapError(
      'ERR_NOT_READY',
      place
        ? `'${entry}' did not listen within ${readyTimeoutMs} ms (readyTimeoutMs). ${place.listening.describe()}`
        : `'${entry}' did not call serveRequests() or serveFetch() within ${readyTimeoutMs} ms (readyTimeoutMs)`,
    )
  const end = new AbortController()
  const isReady = place ? listens(place, channel, end.signal) : channel.ready.promise
  try {
    await within(isReady, { signal, timeoutMs: readyTimeoutMs, late })
  } catch (error) {
    await handle.stop(0)
    throw error
  } finally {
    end.abort()
  }
}

/** A worker that ends before it listens rejects; one that calls serveFetch() too is not ready before it listens. */
async function listens<Q, R>({ listening, leader }: Place, channel: Channel<Q, R>, signal: AbortSignal): Promise<void> {
  const ended = new Promise<never>((_, reject) => channel.ready.promise.catch(reject))
  await Promise.race([listening.opened(leader, signal), ended])
}
