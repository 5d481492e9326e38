/** What the coordinator asks of a worker, whatever it is made of. */

import { WarmswapError } from '../errors.js'

/** A running worker. */
export interface WorkerHandle<Q = unknown, R = unknown> {
  /**
   * Sends a request; resolves with the worker's reply. One that comes in parts is an async iterable or a stream; it fails
   * if the worker ends before its last part.
   */
  send(request: Q, context: { incarnation: number; signal: AbortSignal }): Promise<R>
  /** Resolves once the worker is gone, however it ended. */
  readonly exited: Promise<unknown>
  /** Lets the worker finish for up to `deadlineMs`, then kills it. Resolves once it is gone. */
  stop(deadlineMs: number): Promise<void>
}

/** Errors of requests that no worker has begun: these can be sent again without the risk of doing the work twice. */
const undelivered = new WeakSet<object>()

/** The worker went away before it began this request. */
export function notBegun(error: WarmswapError): WarmswapError {
  undelivered.add(error)
  return error
}

/** Whether the request of this error can be sent to another worker without the risk of doing the work twice. */
export function wasNotBegun(error: unknown): boolean {
  return typeof error === 'object' && error !== null && undelivered.has(error)
}
