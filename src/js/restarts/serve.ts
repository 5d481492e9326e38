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

/** What is known of a request. */
export interface RequestContext {
  incarnation: number
  /** Raised when nobody waits for the answer any more. */
  signal: AbortSignal
}

/**
 * Answers one request: with a value, or in parts with an async iterable, a ReadableStream or a stream of Node. Parts are
 * taken as fast as the consumer reads them.
 */
export type RequestHandler<Q, R> = (request: Q, context: RequestContext) => R | Promise<R>

/** The way to the host. */
interface Host {
  /** How what is said is copied. */
  readonly how: CopyMethod
  listen(receive: (message: ToWorker) => void): void
  /** Resolves once the message cannot be lost by the end of this worker any more. */
  send(message: FromWorker): Promise<void>
}

let serving = false

/**
 * In a worker that startWorkerThread() or startProcess() started: answers requests, and tells the coordinator that the
 * worker is ready. Requests are handled side by side. When the coordinator stops the worker, it ends itself once it
 * has answered what it began; so does a process whose host is gone.
 *
 * @throws {WarmswapError} ERR_UNSUPPORTED where no coordinator started this thread or process, ERR_REENTRANT when
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
  // Ready means that the generation stays even if the host dies now.
  void keepGeneration().then(() => host.send({ warmswap: 'ready' }))
}

/** For the life of this process. */
const kept: Pin[] = []

/** A thread is covered by its process's pin, and so needs no addon. */
async function keepGeneration(): Promise<void> {
  if (isMainThread) kept.push(await (await import('../bundles/index.js')).takeOver())
}

async function answer<Q, R>(
  host: Host,
  handler: RequestHandler<Q, R>,
  { id, incarnation, request }: ToWorker & { warmswap: 'request' },
  call: Call,
): Promise<void> {
  // Said before the handler runs: what has no 'begun' has not been carried out and may go to another worker.
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

/** The value, if the host gets it as it is. Throws ERR_INVALID_ARGUMENT otherwise. */
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
    // A posted message is in the host's queue, which is emptied also when this thread is terminated.
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
        // The callback comes once the message is in the kernel's pipe. Without a host nobody misses it.
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
    'serveRequests() answers the coordinator that started this worker with startWorkerThread() or startProcess(); nobody did',
  )
}
