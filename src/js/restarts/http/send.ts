/** Writes the answers of workers that call serveFetch() to the client. node:http frames their bodies. */

import { type ServerResponse, STATUS_CODES } from 'node:http'
import { NodeResponse, sendNodeResponse } from 'srvx/node'
import { WarmswapError } from '../../native/errors.js'
import type { Cancellation } from '../cancellation.js'
import { LongAnswer } from '../long-answer.js'
import type { HttpAnswer } from './carry.js'
import type { AnswerHead, HeaderPairs } from './exchange.js'
import type { FailedAnswer } from './failed-answer.js'

type Sendable = Pick<HttpAnswer, 'head' | 'body'>

/** Sends an answer. Rejects before anything is sent if its content-length is not the length of its body. */
export async function send(
  response: ServerResponse,
  { head: { status, headers, statusText }, body }: Sendable,
  gone?: Cancellation,
): Promise<void> {
  // Like node:http, and unlike srvx: "200 OK" for a Response without a text.
  const head = { status, statusText: statusText || STATUS_CODES[status] || '', headers }
  if (!(body instanceof LongAnswer)) return sendWhole(response, head, body)
  const { stream } = gone ? body.untilCancelled(gone) : body
  try {
    // A body of another length than its content-length is cut: the client would take the rest for its next answer.
    response.strictContentLength = true
    const kept = headers.filter(([name]) => !isOfTransfer(name.toLowerCase()))
    const sent = sendNodeResponse(response, new NodeResponse(stream as ReadableStream, { ...head, headers: kept }))
    // The first part may come much later.
    if (!response.destroyed) response.flushHeaders()
    await sent
  } catch (error) {
    body.cut(error)
    throw error
  }
}

/** Headers of one connection. A handler has them from an answer that it got itself, as with `return fetch(url)`. */
function isOfTransfer(name: string): boolean {
  return name === 'transfer-encoding' || name === 'trailer'
}

/** Up to this length a body is sent in one piece with its head. node:http writes it as a text, in one buffer with the head. */
const ONE_PIECE_BYTES = 16 * 1024

function sendWhole(response: ServerResponse, head: AnswerHead, body: Uint8Array | null): void {
  const { status, statusText } = head
  const { flat, length } = flattened(head.headers)
  if (length !== undefined) checkLength(length, body?.byteLength ?? 0, status, response.req.method)
  else if (body !== null) flat.push('content-length', String(body.byteLength))
  response.writeHead(status, statusText, flat)
  if (body === null) response.end()
  else if (body.byteLength > ONE_PIECE_BYTES) response.end(body)
  else response.end(Buffer.from(body.buffer, body.byteOffset, body.byteLength).toString('latin1'), 'latin1')
}

function flattened(headers: HeaderPairs): { flat: string[]; length: string | undefined } {
  const flat: string[] = []
  let length: string | undefined
  for (const [name, value] of headers) {
    const lower = name.toLowerCase()
    if (isOfTransfer(lower)) continue
    if (lower === 'content-length') length = value
    flat.push(name, value)
  }
  return { flat, length }
}

/** Answers that have no body, whatever their content-length is. */
const WITHOUT_BODY: ReadonlySet<number> = new Set([204, 205, 304])

function checkLength(length: string, bytes: number, status: number, method: string | undefined): void {
  if (Number(length) === bytes || method === 'HEAD' || WITHOUT_BODY.has(status)) return
  const text = `the answer to an HTTP request has the content-length ${length}, and a body of ${bytes} bytes. Expected the length of the body, or no content-length`
  throw new WarmswapError('ERR_INVALID_ARGUMENT', text)
}

/** The bytes of a head, for a socket that has no ServerResponse. */
export function rawHead({ head, body }: FailedAnswer): string {
  const { status, headers } = head
  const lines = headers.map(([name, value]) => `${name}: ${value}\r\n`)
  return `HTTP/1.1 ${status} ${STATUS_CODES[status]}\r\n${lines.join('')}content-length: ${body.byteLength}\r\nconnection: close\r\n\r\n`
}
