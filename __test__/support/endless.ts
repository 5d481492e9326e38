/** Responses that do not end, in each way in which HTTP can state the length of a response. */

import type { ServerResponse } from 'node:http'

/** How the response states its length: not at all, by closing, far too much, or compressed. */
export const FRAMINGS = ['chunked', 'until-close', 'long-length', 'gzip'] as const
export type Framing = (typeof FRAMINGS)[number]

const PIECE = Buffer.alloc(64 << 10, ' ')

/** Bytes that clients received, of all endless responses since the last reset. */
export const taken = { bytes: 0, answers: 0, open: 0 }

export function resetTaken(): void {
  taken.bytes = 0
  taken.answers = 0
}

/** Makes every `response` endless: its status and headers are kept, and its body continues. */
export function makeEndless(response: ServerResponse, framing: Framing): void {
  const writeHead = response.writeHead.bind(response)
  const replaced = (status: number, headers: Record<string, unknown> = {}): ServerResponse => {
    const { 'content-length': _, ...rest } = headers
    if (framing === 'until-close') {
      response.useChunkedEncodingByDefault = false
      response.shouldKeepAlive = false
    }
    return writeHead(status, {
      ...rest,
      ...(framing === 'long-length' ? { 'content-length': 2 ** 40 } : {}),
      ...(framing === 'gzip' ? { 'content-encoding': 'gzip' } : {}),
    } as Record<string, string>)
  }
  response.writeHead = replaced as typeof response.writeHead
  response.end = ((first?: Buffer | string) => {
    if (!response.headersSent) replaced(response.statusCode)
    if (first !== undefined) response.write(first)
    pump(response)
    return response
  }) as typeof response.end
}

function pump(response: ServerResponse): void {
  const { socket } = response
  if (socket === null) return
  taken.answers += 1
  taken.open += 1
  const before = socket.bytesWritten
  // Writing ends with the connection, which the client closes.
  const done = (): void => {
    taken.open -= 1
    taken.bytes += socket.bytesWritten - before
  }
  socket.once('close', done)
  const more = (): void => {
    while (!response.destroyed && !socket.destroyed && response.write(PIECE));
  }
  response.on('drain', more)
  more()
}

/** Bytes at a time, for as long as the client stays. */
export function trickle(response: ServerResponse, status: number, everyMs: number): void {
  response.writeHead(status, { 'content-type': 'application/xml' })
  const timer = setInterval(() => {
    response.write('<')
  }, everyMs)
  response.socket?.once('close', () => clearInterval(timer))
}
