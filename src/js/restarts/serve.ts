/** The worker's side of dispatch(). */

import { refuseLoss } from '../native/loss.js'
import { callback } from '../native/validate.js'
import { withSignal } from './cancellation.js'
import { answerWith, type Host } from './host-link.js'
import type { Call } from './outgoing.js'
import { type Parts, partsOf } from './parts.js'
import { toRemote } from './remote-error.js'

/** Context of a request. */
export interface RequestContext {
  /** Number of this worker among those that its coordinator has started, from 1. */
  incarnation: number
  /** Aborts when no caller waits for the answer any more. */
  signal: AbortSignal
}

/**
 * Answers one request: with a value, or in parts with an async iterable, a ReadableStream or a stream of Node. Parts
 * are read as fast as the consumer reads them.
 */
export type RequestHandler<Q, R> = (request: Q, context: RequestContext) => R | Promise<R>

/**
 * In a worker that startWorkerThread() or startProcess() started: answers the requests of `coordinator.dispatch()`, and
 * notifies the coordinator that the worker is ready. Requests are handled concurrently. When the coordinator stops the
 * worker, it ends itself once it has answered what it began; so does a process whose host is gone.
 *
 * @param handler Answers one request.
 * @throws {WarmswapError} ERR_UNSUPPORTED if no coordinator started this thread or process, ERR_REENTRANT if it is
 * called twice.
 */
export function serveRequests<Q = unknown, R = unknown>(handler: RequestHandler<Q, R>): void {
  callback('handler', handler)
  answerWith('request', async ({ host, message: { id, incarnation, request }, call }) => {
    const value = await handler(request as Q, withSignal({ incarnation }, call))
    const parts = partsOf(value)
    if (parts) await answerInParts(host, { id, incarnation }, call, parts)
    else await host.send({ warmswap: 'reply', id, incarnation, value: whole(host, value) })
  })
}

async function answerInParts(
  host: Host,
  request: { id: number; incarnation: number },
  call: Call,
  parts: Parts,
): Promise<void> {
  await host.send({ warmswap: 'stream', ...request })
  const end = await call
    .pour(parts, async (value) => host.send({ warmswap: 'part', ...request, value: whole(host, value) }))
    .then(
      () => ({}),
      (error: unknown) => ({ error: toRemote(error) }),
    )
  await host.send({ warmswap: 'end', ...request, ...end })
}

/** Returns the value if the host receives it unchanged. Otherwise throws ERR_INVALID_ARGUMENT. */
function whole<T>(host: Host, value: T): T {
  refuseLoss('the answer', value, host.how)
  return value
}
