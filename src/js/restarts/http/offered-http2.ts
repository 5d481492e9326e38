/**
 * Requests that offer HTTP/2 (`Upgrade: h2c`): the first one of Java's HttpClient, and those of `curl --http2`. A server that
 * does not accept the offer answers as if it had not been made (RFC 9110, section 7.8). But node:http takes each request
 * with `Upgrade` for an upgrade as soon as a server has a listener for upgrades, and does not parse its body.
 */

import type { IncomingMessage } from 'node:http'

export function offersHttp2({ headers }: IncomingMessage): boolean {
  return headers.upgrade !== undefined && tokensOf(headers.upgrade).every((protocol) => protocol === 'h2c')
}

/** The bytes of the request without the offer. `head` is what the client has sent after its headers. */
export function withoutOffer(request: IncomingMessage, head: Buffer): Buffer {
  const { method, url, httpVersion, rawHeaders } = request
  const lines = [`${method} ${url} HTTP/${httpVersion}`]
  for (let at = 0; at < rawHeaders.length; at += 2) {
    const name = rawHeaders[at] as string
    const value = rawHeaders[at + 1] as string
    const lower = name.toLowerCase()
    if (lower === 'upgrade' || lower === 'http2-settings') continue
    const rest = lower === 'connection' ? tokensOf(value).filter((token) => !IN_CONNECTION.has(token)) : [value]
    if (rest.length > 0) lines.push(`${name}: ${rest.join(', ')}`)
  }
  return Buffer.concat([Buffer.from(`${lines.join('\r\n')}\r\n\r\n`, 'latin1'), head])
}

const IN_CONNECTION: ReadonlySet<string> = new Set(['upgrade', 'http2-settings'])

function tokensOf(value: string): string[] {
  return value.split(',').map((token) => token.trim().toLowerCase())
}
