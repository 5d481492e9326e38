/** The interface of a worker to the coordinator. */

import type { Socket } from 'node:net'
import { attempt } from '../native/callbacks.js'
import { invalidArgument, WarmswapError } from '../native/errors.js'
import { type Cancellation, withSignal } from './cancellation.js'
import type { RawAnswer, RequestHead } from './http/exchange.js'
import type { Parts } from './parts.js'

/** Where a worker listens: a Unix socket (on Windows a named pipe), or a TCP port of this machine. */
export type WorkerAddress = { socketPath: string } | { host: string; port: number }

/** Answers an HTTP request whose body comes in parts: what the workers of this package have instead of `fetch`. */
export const EXCHANGE = Symbol('warmswap.exchange')

/** A running worker. */
export interface WorkerHandle<Q = unknown, R = unknown> {
  /**
   * Sends a request. Resolves with the worker's reply. A reply in parts is an async iterable or a stream, which fails
   * if the worker ends before its last part.
   */
  send(
    request: Q,
    context: {
      /** Number of the worker among those that its coordinator has started, from 1. */
      incarnation: number
      /** Aborts when no caller waits for the answer any more. */
      signal: AbortSignal
    },
  ): Promise<R>
  /** Resolves once the worker has ended, for any reason. */
  readonly exited: Promise<unknown>
  /** Lets the worker finish for up to `deadlineMs` milliseconds, then kills it. Resolves once it has ended. */
  stop(deadlineMs: number): Promise<void>
  /**
   * Answers a Fetch request, for `coordinator.fetch()` and `coordinator.attach()`. Optional for a handle of your own;
   * without it these answer 501. A rejection that is not ERR_WORKER_EXITED is the failure of this request alone.
   */
  fetch?(
    request: Request,
    context: {
      /** Number of the worker among those that its coordinator has started, from 1. */
      incarnation: number
      /** Aborts when no caller waits for the answer any more. */
      signal: AbortSignal
    },
  ): Promise<Response>
  /**
   * Opens a new connection to the server of a worker that listens. Where it exists, `coordinator.attach()` proxies HTTP
   * and WebSocket upgrades over such connections. A rejection means that no byte of the request was sent.
   */
  connect?(): Promise<Socket>
  /** Where the worker listens, for programs that connect by themselves. */
  readonly address?: WorkerAddress
}

/** A handle of this package: it answers HTTP without a `Request` and a `Response` in between. */
export interface ExchangingHandle<Q = unknown, R = unknown> extends WorkerHandle<Q, R> {
  [EXCHANGE]?(head: RequestHead, body: Parts | null, context: SendContext): Promise<RawAnswer>
}

/**
 * Checks that the handle has every member. A handle without `stop` or `exited` would keep its generation and its
 * requests forever, so it is refused before it serves. If it has a `stop`, it is stopped.
 */
export function checkedHandle<Q, R>(given: WorkerHandle<Q, R>): WorkerHandle<Q, R> {
  const name = 'result of options.start()'
  if (typeof given !== 'object' || given === null)
    throw invalidArgument(name, given, 'an object with send, exited and stop')
  const { send, stop, exited } = given as { send: unknown; stop: unknown; exited?: { then?: unknown } | null }
  const missing =
    typeof send !== 'function'
      ? 'send(request, context)'
      : typeof stop !== 'function'
        ? 'stop(deadlineMs)'
        : typeof exited?.then !== 'function'
          ? 'promise exited'
          : undefined
  if (missing === undefined) return given
  if (typeof stop === 'function') attempt('stop() of a WorkerHandle', () => given.stop(0))
  throw new WarmswapError(
    'ERR_INVALID_ARGUMENT',
    `the ${name} has no ${missing}. Expected an object with send(request, context), stop(deadlineMs) and a promise exited that resolves when the worker has ended.`,
  )
}

const ONE_REQUEST = Symbol('warmswap.one-request')

/** Context of a request to a worker handle. */
export interface SendContext {
  incarnation: number
  readonly signal: AbortSignal
  [ONE_REQUEST]?: Cancellation
}

/** A context whose signal belongs to this request alone. */
export function contextOfOne(incarnation: number, cancellation: Cancellation): SendContext {
  return withSignal({ incarnation, [ONE_REQUEST]: cancellation }, cancellation)
}

/** The cancellation of a context whose signal belongs to one request; undefined if other requests may share the signal. */
export function cancellationOf(context: SendContext): Cancellation | undefined {
  return context?.[ONE_REQUEST]
}

/** Errors of requests that no worker has begun. These can be sent again without the risk of doing the work twice. */
const undelivered = new WeakSet<object>()

/** The worker ended before it began this request. */
export function notBegun(error: WarmswapError): WarmswapError {
  undelivered.add(error)
  return error
}

/** Whether the request of this error can be sent to another worker without the risk of doing the work twice. */
export function wasNotBegun(error: unknown): boolean {
  return typeof error === 'object' && error !== null && undelivered.has(error)
}
