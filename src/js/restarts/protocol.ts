/**
 * The messages between the coordinator and a worker that calls serveRequests() or serveFetch().
 *
 * host → worker   { warmswap: 'request', id, incarnation, request }   { warmswap: 'cancel', id }   { warmswap: 'stop' }
 * worker → host   { warmswap: 'ready' }   { warmswap: 'begun', id }   { warmswap: 'reply', id, incarnation, value | error }
 *                 { warmswap: 'uncaught', error }
 *
 * 'begun' is on its way before the handler is called, so a request without it has not been carried out. 'cancel' says
 * that nobody waits for the answer any more; it is answered all the same. 'uncaught' comes from a process that has an
 * uncaught error (process-guard.ts); the error of a thread comes as an event of Node.
 *
 * host → worker   { warmswap: 'begun-in', last }
 *
 * A thread that has this shared memory stores there the id of the last request that it has begun, and sends no 'begun'. It
 * begins requests in the order of their ids. A worker of an earlier release ignores the message.
 *
 * An answer in parts takes the place of the reply:
 *
 * worker → host   { warmswap: 'stream', id, incarnation, head? }   { warmswap: 'part', id, incarnation, value }   { warmswap: 'end', id, incarnation, error? }
 * host → worker   { warmswap: 'more', id, count }
 *
 * An HTTP request for serveFetch() is a 'fetch'. Its answer is a reply with head and body, or a stream with the head. The
 * body of the request goes the other way, and only as far as the worker asks for it:
 *
 * host → worker   { warmswap: 'fetch', id, incarnation, generation, head, hasBody }
 *                 { warmswap: 'chunk', id, value }   { warmswap: 'close', id, error? }
 * worker → host   { warmswap: 'pull', id, count }   { warmswap: 'drop', id }
 */

import type { AnswerHead, RequestHead } from './http/exchange.js'
import type { RemoteError } from './remote-error.js'

/** A message of a worker about one of its requests. */
export type RequestMessage = { id: number; incarnation: number } & (
  | { warmswap: 'reply'; value: unknown }
  | { warmswap: 'reply'; error: RemoteError }
  | { warmswap: 'stream'; head?: AnswerHead }
  | { warmswap: 'part'; value: unknown }
  | { warmswap: 'end'; error?: RemoteError }
)

/** A message of a worker. */
export type FromWorker =
  | { warmswap: 'ready' }
  | { warmswap: 'begun'; id: number }
  | { warmswap: 'pull'; id: number; count: number }
  | { warmswap: 'drop'; id: number }
  | { warmswap: 'uncaught'; error: RemoteError }
  | RequestMessage

/** A message to a worker. */
export type ToWorker =
  | { warmswap: 'request'; id: number; incarnation: number; request: unknown }
  | {
      warmswap: 'fetch'
      id: number
      incarnation: number
      generation: number
      head: RequestHead
      hasBody: boolean
    }
  | { warmswap: 'chunk'; id: number; value: Uint8Array }
  | { warmswap: 'close'; id: number; error?: RemoteError }
  | { warmswap: 'more'; id: number; count: number }
  | { warmswap: 'cancel'; id: number }
  | { warmswap: 'stop' }
  | { warmswap: 'begun-in'; last: BigInt64Array }

/** A message that begins a request. */
export type BeginningMessage = Extract<ToWorker, { warmswap: 'request' | 'fetch' }>
