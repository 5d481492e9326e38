/** Servers of node:http that a coordinator is attached to, and clients of them. */

import { once } from 'node:events'
import http, { type IncomingMessage, type Server } from 'node:http'
import { type AddressInfo, connect } from 'node:net'
import type { BundleStore, Generation } from 'warmswap'
import { test as base } from './coordinators.js'
import { publish } from './stores.js'

/** With servers that are closed after the test. */
export const test = base.extend<{ serve: (attach: (server: Server) => unknown) => Promise<URL> }>({
  serve: async ({}, use) => {
    const servers: Server[] = []
    await use(async (attach) => {
      const server = http.createServer()
      servers.push(server)
      attach(server)
      server.listen(0, '127.0.0.1')
      await once(server, 'listening')
      return new URL(`http://127.0.0.1:${(server.address() as AddressInfo).port}`)
    })
    for (const server of servers) {
      server.closeAllConnections()
      server.close()
    }
  },
})

/** Publishes a generation whose `server.mjs` is an HTTP server that knows nothing of warmswap (`request`, `response`, `version`, `server`). */
export async function publishServer(
  store: BundleStore,
  version: string,
  body: string,
  { before = '', on = 'process.env.WARMSWAP_LISTEN' } = {},
): Promise<Generation> {
  const program = `import http from 'node:http'
const version = ${JSON.stringify(version)}
const server = http.createServer(async (request, response) => { ${body} })
${before}
server.listen(${on})
`
  return await publish(store, { 'server.mjs': program })
}

/** The answer to one request, over a connection of its own. */
export async function ask(
  url: URL,
  options: http.RequestOptions,
  body?: string,
): Promise<{ response: IncomingMessage; body: string }> {
  const request = http.request(url, { agent: false, ...options }).end(body)
  const [response] = (await once(request, 'response')) as [IncomingMessage]
  return { response, body: await textOf(response) }
}

export async function textOf(response: IncomingMessage): Promise<string> {
  let text = ''
  for await (const chunk of response.setEncoding('utf8')) text += chunk
  return text
}

/** Everything that the server sends until it closes the connection. */
export async function raw(url: URL, text: string): Promise<string> {
  const socket = connect(Number(url.port), url.hostname).setEncoding('latin1')
  socket.on('error', () => {})
  let answer = ''
  socket.on('data', (data) => (answer += data))
  socket.write(text)
  await once(socket, 'close')
  return answer
}
