/** The headers that name the client of a proxied request. What a client sends under these names is not trusted: it is replaced. */

import type { IncomingMessage } from 'node:http'
import type { TLSSocket } from 'node:tls'

const NAMES: ReadonlySet<string> = new Set([
  'forwarded',
  'x-forwarded-for',
  'x-forwarded-host',
  'x-forwarded-port',
  'x-forwarded-proto',
  'x-forwarded-server',
  'x-real-ip',
])

export function isForwardingHeader(name: string): boolean {
  return NAMES.has(name.toLowerCase())
}

/** The values for this request. */
export function forwardingHeaders({ socket, headers }: IncomingMessage): Record<string, string> {
  const isSecure = (socket as Partial<TLSSocket>).encrypted === true
  return {
    'x-forwarded-for': socket.remoteAddress ?? '',
    'x-forwarded-proto': isSecure ? 'https' : 'http',
    'x-forwarded-port': String(socket.localPort ?? (isSecure ? 443 : 80)),
    ...(headers.host !== undefined && { 'x-forwarded-host': headers.host }),
  }
}

/** The host for a request of HTTP/1.0 that names none: a worker that listens refuses an HTTP/1.1 request without one. */
export function ownHost({ socket: { localAddress = 'localhost', localPort } }: IncomingMessage): string {
  const name = localAddress.includes(':') ? `[${localAddress}]` : localAddress
  return localPort === undefined ? name : `${name}:${localPort}`
}
