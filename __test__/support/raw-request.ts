/** A request as bytes, which an HTTP client would not send. */

import { connect } from 'node:net'

/** Sends one request with this target unchanged, and returns the whole response. */
export function rawRequest(
  url: string,
  { method = 'GET', target = '/', headers = {} as Record<string, string>, body = '' },
): Promise<string> {
  const { hostname, port } = new URL(url)
  return new Promise((resolve, reject) => {
    const socket = connect(Number(port), hostname)
    let answer = ''
    socket.setEncoding('latin1').on('data', (text: string) => (answer += text))
    socket.on('close', () => resolve(answer)).on('error', reject)
    const lines = [`${method} ${target} HTTP/1.1`, 'Host: localhost', 'Connection: close']
    for (const [name, value] of Object.entries(headers)) lines.push(`${name}: ${value}`)
    socket.write(`${lines.join('\r\n')}\r\n\r\n${body}`)
  })
}

export const header = (answer: string, name: string): string | undefined =>
  new RegExp(`^${name}: ([^\\r]*)`, 'im').exec(answer)?.[1]
