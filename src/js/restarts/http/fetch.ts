/** `coordinator.fetch()`: answers a `Request` with a `Response`. */

import { invalidArgument, isWarmswapError } from '../../native/errors.js'
import { LongAnswer } from '../long-answer.js'
import { partsOf } from '../parts.js'
import { carryHttp } from './carry.js'
import { headOf, isFetchMethod, responseOf } from './exchange.js'
import { failedAnswer } from './failed-answer.js'
import { type CheckedFetchOptions, type Exchanger, isReplayable } from './options.js'

export async function fetchThrough(
  exchanger: Exchanger,
  request: Request,
  options: CheckedFetchOptions,
): Promise<Response> {
  check(request)
  const { signal } = request
  signal.throwIfAborted()
  const head = headOf(request)
  const body = request.body === null ? null : (partsOf(request.body) ?? null)
  const idempotent = isReplayable(options, head.method, body !== null)
  try {
    const { timeoutMs } = options
    const answer = await exchanger.accept(carryHttp(head, body), { idempotent, timeoutMs, signal })
    return responseOf(answer.head, answer.body instanceof LongAnswer ? answer.body.until(signal).stream : answer.body)
  } catch (error) {
    body?.stop(error)
    if (signal.aborted || (isWarmswapError(error) && error.code === 'ERR_CLOSED')) throw error
    const failed = failedAnswer(error, request.headers.get('accept') ?? undefined, options, exchanger)
    return responseOf(failed.head, head.method === 'HEAD' ? null : failed.body)
  }
}

/** A `Request` of another library is accepted too. */
function check(request: Request): void {
  const { url, method, headers, signal, body, bodyUsed } = (request ?? {}) as Partial<Request>
  const isRequest = typeof url === 'string' && typeof method === 'string' && signal !== undefined
  if (!isRequest || typeof headers?.[Symbol.iterator] !== 'function')
    throw invalidArgument('request', request, 'a Request')
  if (bodyUsed || body?.locked) throw invalidArgument('request', request, 'a Request whose body was not read')
  if (!isFetchMethod(method)) throw invalidArgument('request.method', method, 'a method that Fetch allows')
}
