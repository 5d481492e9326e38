/** Handles one request again, or refuses it. */

import type { IncomingMessage, OutgoingHttpHeaders, ServerResponse } from 'node:http'

/** The state of a request and its response before any middleware changed them. */
export interface Untouched {
  url: string
  headers: OutgoingHttpHeaders
}

export function remember(request: IncomingMessage, response: ServerResponse): Untouched {
  return { url: request.url ?? '/', headers: { ...response.getHeaders() } }
}

/** Undoes what the failed attempt did to a response whose head was not sent. */
export function reset(request: IncomingMessage, response: ServerResponse, { url, headers }: Untouched): void {
  request.url = url
  response.statusCode = 200
  // HTTP/2 has no status message, and warns.
  if (request.httpVersionMajor < 2) response.statusMessage = ''
  for (const name of response.getHeaderNames()) response.removeHeader(name)
  for (const [name, value] of Object.entries(headers)) if (value !== undefined) response.setHeader(name, value)
}

/** Whether the handler can be called again with this request: its body, if any, must be unread. */
export function isWhole(request: IncomingMessage): boolean {
  // HTTP/2 has no Transfer-Encoding.
  const { stream } = request as { stream?: { endAfterHeaders?: boolean } }
  const hasBody =
    request.headers['transfer-encoding'] !== undefined ||
    Number(request.headers['content-length'] ?? 0) > 0 ||
    stream?.endAfterHeaders === false
  return !hasBody || !request.readableDidRead
}

/** Whether the client can no longer be answered. A response of HTTP/2 has no `destroyed`. */
export function isGone(response: ServerResponse): boolean {
  const { stream } = response as { stream?: { destroyed?: boolean } }
  return response.destroyed || stream?.destroyed === true
}

/** Refuses a request that must not be replayed: the client can decide whether it is safe to send it again. */
export function refuse(response: ServerResponse, message: string): void {
  response.writeHead(503, {
    'Content-Type': 'text/plain; charset=utf-8',
    'Cache-Control': 'no-store',
    'Retry-After': '1',
  })
  response.end(message)
}

/** Redirects the client to the same URL, keeping method and body. Returns false if that URL is on another origin. */
export function redirect(request: IncomingMessage, response: ServerResponse): boolean {
  const location = sameOriginLocation((request as { originalUrl?: string }).originalUrl ?? request.url ?? '/')
  if (location === undefined) return false
  response.writeHead(307, { Location: location, 'Cache-Control': 'no-store' })
  response.end()
  return true
}

const SOMEWHERE = 'http://origin.invalid'

/**
 * Path and query of a request target, safe as a Location; undefined for one that a browser would resolve to another
 * origin: `//host/x`, `/\host`, an absolute URL.
 */
export function sameOriginLocation(target: string): string | undefined {
  if (!URL.canParse(target, SOMEWHERE)) return undefined
  const { origin, pathname, search } = new URL(target, SOMEWHERE)
  // `/.//host` is on this origin, and its normal form is not.
  if (origin !== SOMEWHERE || pathname.startsWith('//')) return undefined
  return pathname + search
}
