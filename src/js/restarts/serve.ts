/** The worker's side: answers requests. */

import { isMainThread, parentPort } from 'node:worker_threads'
import type { Pin } from '../bundles/index.js'
import { WarmswapError } from '../native/errors.js'
import { type CopyMethod, refuseLoss, uncopyable } from '../native/loss.js'
import { callback } from '../native/validate.js'
import type { FromWorker, ToWorker } from './channel.js'
import { Call } from './outgoing.js'
import { type Parts, partsOf } from './parts.js'
import { toRemote } from './remote-error.js'

/** Context of a request. */
export interface RequestContext {
  incarnation: number
  /** Aborts when no caller waits for the answer any more. */
  signal: AbortSignal
}

/**
 * Answers one request: with a value, or in parts with an async iterable, a ReadableStream or a stream of Node. Parts
 * are read as fast as the consumer reads them.
 */
export type RequestHandler<Q, R> = (request: Q, context: RequestContext) => R | Promise<R>

/** The connection to the host. */
interface Host {
  /** How messages are copied. */
  readonly how: CopyMethod
  listen(receive: (message: ToWorker) => void): void
  /** Resolves once the message can no longer be lost when this worker ends. */
  send(message: FromWorker): Promise<void>
}

let serving = false

/**
 * Answers requests in a worker that startWorkerThread() or startProcess() started, and reports to the coordinator that
 * the worker is ready. Requests are handled concurrently. When the coordinator stops the worker, the worker ends itself
 * after it has answered the requests that it began. A process whose host has ended does the same.
 *
 * @throws {WarmswapError} ERR_UNSUPPORTED if no coordinator started this thread or process, ERR_REENTRANT if it is
 * called twice.
 */
export function serveRequests<Q = unknown, R = unknown>(handler: RequestHandler<Q, R>): void {
  callback('handler', handler)
  if (serving)
    throw new WarmswapError(
      'ERR_REENTRANT',
      'serveRequests() was already called in this worker; one handler answers all its requests',
    )
  const host = isMainThread ? overProcess() : overThread()
  serving = true
  const calls = new Map<number, Call>()
  let stopping = false
  const leave = (): void => {
    if (stopping && calls.size === 0) process.exit(0)
  }

  const receive: Record<ToWorker['warmswap'], (message: never) => void> = {
    async request(message: ToWorker & { warmswap: 'request' }) {
      const call = new Call()
      calls.set(message.id, call)
      await answer(host, handler, message, call)
      calls.delete(message.id)
      leave()
    },
    more: ({ id, count }: ToWorker & { warmswap: 'more' }) => calls.get(id)?.grant(count),
    cancel: ({ id }: ToWorker & { warmswap: 'cancel' }) => calls.get(id)?.cancel(),
    stop() {
      stopping = true
      leave()
    },
  }
  host.listen((message) => {
    const kind = message?.warmswap
    if (Object.hasOwn(receive, kind)) receive[kind](message as never)
  })
  // Ready means that the generation is kept even if the host dies now.
  void keepGeneration().then(() => host.send({ warmswap: 'ready' }))
}

/** Pins that are kept for the life of this process. */
const kept: Pin[] = []

/** A thread is covered by its process's pin, and so does not need the addon. */
async function keepGeneration(): Promise<void> {
  if (isMainThread) kept.push(await (await import('../bundles/index.js')).takeOver())
}

async function answer<Q, R>(
  host: Host,
  handler: RequestHandler<Q, R>,
  { id, incarnation, request }: ToWorker & { warmswap: 'request' },
  call: Call,
): Promise<void> {
  // Sent before the handler runs: a request without 'begun' was not executed and may go to another worker.
  await host.send({ warmswap: 'begun', id })
  try {
    const value = await handler(request as Q, { incarnation, signal: call.signal })
    const parts = partsOf(value)
    if (parts) await answerInParts(host, { id, incarnation }, call, parts)
    else await host.send({ warmswap: 'reply', id, incarnation, value: whole(host, value) })
  } catch (error) {
    await host.send({ warmswap: 'reply', id, incarnation, error: toRemote(error) })
  }
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

/** Only a message with a value can fail to be copied. */
function copied(post: () => unknown): void {
  try {
    post()
  } catch (error) {
    throw uncopyable('the answer', error)
  }
}

function overThread(): Host {
  const port = parentPort
  if (!port) throw notAWorker()
  return {
    how: 'clone',
    listen: (receive) => void port.on('message', receive),
    // A posted message is in the host's queue, which is emptied even when this thread is terminated.
    send: async (message) => copied(() => port.postMessage(message)),
  }
}

function overProcess(): Host {
  if (!process.connected) throw notAWorker()
  return {
    how: 'bytes',
    listen: (receive) => void process.on('message', receive as (message: unknown) => void),
    send: (message) =>
      new Promise((resolve, reject) => {
        // The callback is called once the message is in the kernel's pipe. Without a host, the message has no reader.
        try {
          copied(() => process.send?.(message, undefined, undefined, () => resolve()))
        } catch (error) {
          reject(error)
        }
      }),
  }
}

function notAWorker(): WarmswapError {
  return new WarmswapError(
    'ERR_UNSUPPORTED',
    'serveRequests() answers the coordinator that started this worker with startWorkerThread() or startProcess(); neither of them started this one',
  )
}
