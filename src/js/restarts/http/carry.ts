/** How a worker carries out one HTTP request that is given as head and body. */

import { WarmswapError } from '../../native/errors.js'
import { EXCHANGE, type ExchangingHandle, type SendContext } from '../handle.js'
import { LASTING, type Lasting, LongAnswer } from '../long-answer.js'
import type { Parts } from '../parts.js'
import type { Carry, Progress } from '../queue.js'
import { type AnswerHead, type RawAnswer, type RequestHead, rawOf, requestOf, streamOf } from './exchange.js'
import { fetchOver } from './fetch-over.js'

/** An answer whose head can be sent. */
export interface HttpAnswer {
  readonly head: AnswerHead
  readonly body: Uint8Array | LongAnswer | null
  readonly [LASTING]: Lasting | undefined
}

/** Carries out this request. The body is read only after the worker has begun it. */
export function carryHttp(head: RequestHead, body: Parts | null): Carry<HttpAnswer> {
  return async (handle, context, progress) => {
    const raw = await rawAnswer(handle, head, body && touching(body, progress.touch), context, progress)
    const long = raw.body === null || raw.body instanceof Uint8Array ? undefined : new LongAnswer(raw.body)
    return { head: raw.head, body: long ?? (raw.body as Uint8Array | null), [LASTING]: long }
  }
}

async function rawAnswer(
  handle: ExchangingHandle<never, unknown>,
  head: RequestHead,
  body: Parts | null,
  context: SendContext,
  progress: Progress,
): Promise<RawAnswer> {
  if (typeof handle.connect === 'function') return await fetchOver(handle, head, body, context, progress)
  const exchange = handle[EXCHANGE]
  if (exchange) return await exchange.call(handle, head, body, context)
  if (typeof handle.fetch !== 'function')
    throw new WarmswapError(
      'ERR_UNSUPPORTED',
      'this WorkerHandle has no fetch(request, context) and no connect(), so it cannot answer HTTP requests',
    )
  const request = requestOf(head, body && streamOf(body), context.signal)
  return rawOf(await handle.fetch(request, context), 'fetch() of the WorkerHandle')
}

/** The same parts. Each part that arrives restarts the time limit of the request. */
function touching(parts: Parts, touch: () => void): Parts {
  return {
    async next() {
      const step = await parts.next()
      touch()
      return step
    },
    stop: (reason) => parts.stop(reason),
  }
}
