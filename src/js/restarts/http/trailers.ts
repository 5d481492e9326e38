/** Parts of an HTTP message that are not its head or its body: interim answers (1xx) and trailers. */

import type { IncomingMessage, InformationEvent, OutgoingMessage, ServerResponse } from 'node:http'
import { isForwardingHeader } from './forwarded.js'

/** Names that a trailer cannot have: they frame the message, or choose who gets it (RFC 9110, section 6.5.1). */
const NOT_IN_TRAILERS: ReadonlySet<string> = new Set(['content-length', 'host', 'connection', 'trailer'])

/** Passes the trailers on. `from` has ended; `to` has not. Without chunks there is no place for them. */
export function passTrailers({ rawTrailers }: IncomingMessage, to: OutgoingMessage): void {
  const pairs: [string, string][] = []
  for (let at = 0; at < rawTrailers.length; at += 2) {
    const name = rawTrailers[at] as string
    const lower = name.toLowerCase()
    if (!NOT_IN_TRAILERS.has(lower) && lower !== 'transfer-encoding' && !isForwardingHeader(name))
      pairs.push([name, rawTrailers[at + 1] as string])
  }
  if (pairs.length > 0) to.addTrailers(pairs)
}

/** Whether a header `Trailer` is refused by node:http, because the message is not sent in chunks. */
export function hasNoTrailers({ headers }: IncomingMessage, httpVersion: string): boolean {
  return headers['transfer-encoding'] === undefined || httpVersion === '1.0'
}

/** Passes "102 Processing" and "103 Early Hints" on. "100 Continue" is sent when the worker has the request. */
export function passInformation({ statusCode, rawHeaders }: InformationEvent, response: ServerResponse): void {
  if (response.headersSent || response.req.httpVersion === '1.0') return
  if (statusCode === 102) response.writeProcessing()
  if (statusCode !== 103) return
  const hints: Record<string, string[]> = {}
  for (let at = 0; at < rawHeaders.length; at += 2) {
    const name = (rawHeaders[at] as string).toLowerCase()
    if (name !== 'link') continue
    // node:http takes one link in each text.
    hints[name] = [...(hints[name] ?? []), ...(rawHeaders[at + 1] as string).split(/,\s*(?=<)/)]
  }
  try {
    if (hints.link) response.writeEarlyHints(hints)
  } catch {
    // A link that node:http refuses. A hint can be left out.
  }
}
