/** The answer to bytes that are not an HTTP request. */

import type { Duplex } from 'node:stream'

const STATUSES = new Map([
  ['HPE_HEADER_OVERFLOW', '431 Request Header Fields Too Large'],
  ['HPE_CHUNK_EXTENSIONS_OVERFLOW', '413 Payload Too Large'],
  ['ERR_HTTP_REQUEST_TIMEOUT', '408 Request Timeout'],
])

/** Answers and closes the connection, unless it is broken, or an answer on it has begun. */
export function answerClientError(error: NodeJS.ErrnoException, socket: Duplex): void {
  socket.on('error', () => {})
  const isBroken = error.code === 'ECONNRESET' || error.code === 'EPIPE' || !socket.writable
  const current = (socket as Duplex & { _httpMessage?: { headersSent: boolean } })._httpMessage
  if (isBroken || current?.headersSent) return void socket.destroy()
  const status = STATUSES.get(error.code ?? '') ?? '400 Bad Request'
  const body = `${status}\n`
  socket.end(
    `HTTP/1.1 ${status}\r\ncontent-type: text/plain\r\ncontent-length: ${body.length}\r\nconnection: close\r\n\r\n${body}`,
    () => socket.destroy(),
  )
}
