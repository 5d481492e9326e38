/** The worker's side of fetch() and attach(). */

import { callback } from '../native/validate.js'
import { answerWith, type Work } from './host-link.js'
import { bytesOf, compact, type RawAnswer, rawOf, requestOf, streamOf } from './http/exchange.js'
import { type Parts, partsOf } from './parts.js'
import type { BeginningMessage } from './protocol.js'
import { toRemote } from './remote-error.js'

/** What is known of an HTTP request in addition to the `Request`. */
export interface FetchContext {
  /** The generation that this worker runs. */
  generation: number
  /** The number of this worker among those that its coordinator has started. */
  incarnation: number
  /** Raised when the client has disconnected, or when nobody waits for the answer any more; also `request.signal`. */
  signal: AbortSignal
}

/** Answers one HTTP request. */
export type FetchHandler = (request: Request, context: FetchContext) => Response | Promise<Response>

type FetchWork = Work<Extract<BeginningMessage, { warmswap: 'fetch' }>>

/** Bytes of a body that are sent with its head, if they are there at the same moment. */
const WHOLE_BYTES = 256 * 1024

/**
 * In a worker that startWorkerThread() or startProcess() started: answers the HTTP requests of `coordinator.fetch()` and
 * `coordinator.attach()`, and notifies the coordinator that the worker is ready. Requests are handled concurrently. The
 * bodies of requests and answers are streams, read as fast as their consumer reads. An error of the handler is the
 * answer to that request alone (502).
 *
 * A worker can call serveRequests() too.
 *
 * @param handler Answers one HTTP request.
 * @throws {WarmswapError} ERR_UNSUPPORTED where no coordinator started this thread or process, ERR_REENTRANT when
 * called twice.
 */
export function serveFetch(handler: FetchHandler): void {
  callback('handler', handler)
  answerWith('fetch', async (work) => {
    const { message, call, body } = work
    const { head, generation, incarnation } = message
    const parts = body && partsOf(body)
    const request = requestOf(head, parts ? streamOf(parts) : null, call.signal)
    const response = await handler(request, { generation, incarnation, signal: call.signal })
    await answer(work, rawOf(response, 'the handler of serveFetch()'))
  })
}

async function answer(work: FetchWork, { head, body }: RawAnswer): Promise<void> {
  const { host, message, call } = work
  const { id, incarnation } = message
  if (body === null || body instanceof Uint8Array)
    return await host.send({ warmswap: 'reply', id, incarnation, value: { head, body } })
  if (message.head.method === 'HEAD') {
    body.stop()
    return await host.send({ warmswap: 'reply', id, incarnation, value: { head, body: null } })
  }
  const start = await beginningOf(body)
  if (start.isWhole)
    return await host.send({ warmswap: 'reply', id, incarnation, value: { head, body: joined(start.chunks) } })
  await host.send({ warmswap: 'stream', id, incarnation, head })
  const end = await call
    .pour(start.rest, async (part) => {
      const value = bytesOf(part)
      await host.send({ warmswap: 'part', id, incarnation, value: host.how === 'clone' ? compact(value) : value })
    })
    .then(
      () => ({}),
      (error: unknown) => ({ error: toRemote(error) }),
    )
  await host.send({ warmswap: 'end', id, incarnation, ...end })
}

interface Beginning {
  readonly chunks: Uint8Array[]
  readonly isWhole: boolean
  /** Everything, from the first part on. */
  readonly rest: Parts
}

/**
 * What of a body is there without waiting. Most bodies are there as a whole, and then one message is enough; a stream that
 * says nothing for now must not hold back its head.
 */
function beginningOf(parts: Parts): Promise<Beginning> {
  return new Promise((resolve, reject) => {
    const chunks: Uint8Array[] = []
    let bytes = 0
    let isOver = false
    const end = (settle: () => void): void => {
      isOver = true
      clearImmediate(turn)
      settle()
    }
    const read = (): void => {
      const next = parts.next()
      const goOnLater = (): void => end(() => resolve({ chunks, isWhole: false, rest: chained(chunks, parts, next) }))
      later = goOnLater
      next.then(
        ({ done, value }) => {
          if (isOver) return
          if (done) return end(() => resolve({ chunks, isWhole: true, rest: parts }))
          try {
            const chunk = bytesOf(value)
            chunks.push(chunk)
            bytes += chunk.byteLength
          } catch (error) {
            return end(() => reject(error))
          }
          if (bytes <= WHOLE_BYTES) read()
          else end(() => resolve({ chunks, isWhole: false, rest: chained(chunks, parts) }))
        },
        // Its error is that of the rest.
        () => isOver || goOnLater(),
      )
    }
    let later = (): void => {}
    const turn = setImmediate(() => later())
    read()
  })
}

/** These chunks, then the step that is on its way, then the rest. */
function chained(chunks: Uint8Array[], parts: Parts, pending?: Promise<IteratorResult<unknown, unknown>>): Parts {
  let next = pending
  return {
    next() {
      const value = chunks.shift()
      if (value !== undefined) return Promise.resolve({ done: false, value })
      const step = next ?? parts.next()
      next = undefined
      return step
    },
    stop: (reason) => parts.stop(reason),
  }
}

function joined(chunks: Uint8Array[]): Uint8Array {
  const [first] = chunks
  return chunks.length === 1 && first ? compact(first) : compact(Buffer.concat(chunks))
}
