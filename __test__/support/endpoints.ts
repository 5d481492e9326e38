/** Endpoints that respond, are silent, or do not exist. */

import { once } from 'node:events'
import { request as ask, createServer as createHttpServer, type IncomingMessage, type RequestListener } from 'node:http'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import { start } from './children.js'

export interface Endpoint {
  readonly url: string
  stop(): Promise<void>
}

export async function httpEndpoint(answer: RequestListener): Promise<Endpoint> {
  const server = createHttpServer(answer).listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    stop: async () => {
      server.closeAllConnections()
      server.close()
      await once(server, 'close')
    },
  }
}

/** Accepts connections, and never responds. */
export async function silentEndpoint(): Promise<Endpoint> {
  const sockets: Socket[] = []
  const server = createServer((socket) => void sockets.push(socket.on('error', () => {}))).listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    stop: async () => {
      for (const socket of sockets) socket.destroy()
      server.close()
      await once(server, 'close')
    },
  }
}

/**
 * A black hole, like a firewall: packets vanish and no connection is ever made. A stopped process whose connection
 * queue is full.
 */
export async function blackHole(): Promise<Endpoint> {
  const program = `const server = require('node:net').createServer().listen({ port: 0, host: '127.0.0.1', backlog: 1 }, () => console.log('port', server.address().port))`
  const child = start(process.execPath, ['-e', program])
  const port = Number((await child.line(/^port \d+$/)).split(' ')[1])
  child.signal('SIGSTOP')
  const sockets: Socket[] = []
  // Connects until a connection is not accepted: from then on, none is.
  for (;;) {
    const socket = connect(port, '127.0.0.1').on('error', () => {})
    sockets.push(socket)
    const isQueued = await Promise.race([
      once(socket, 'connect').then(() => true),
      new Promise<false>((resolve) => setTimeout(resolve, 500, false)),
    ])
    if (!isQueued) break
  }
  return {
    url: `http://127.0.0.1:${port}`,
    stop: async () => {
      for (const socket of sockets) socket.destroy()
      child.signal('SIGKILL')
      await child.ended
    },
  }
}

/** An HTTP connection to a server on which requests can be held back. */
export interface HeldLine extends Endpoint {
  /** Resolves when the next matching request has arrived, with a function that releases it. */
  hold(matches: (request: IncomingMessage) => boolean): Promise<() => void>
}

export async function heldLine(server: string): Promise<HeldLine> {
  const { hostname, port } = new URL(server)
  let holding: { matches: (request: IncomingMessage) => boolean; arrived: (release: () => void) => void } | undefined
  const endpoint = await httpEndpoint(async (request, response) => {
    if (holding?.matches(request)) {
      const { arrived } = holding
      holding = undefined
      await new Promise<void>((release) => arrived(release))
    }
    const { method, url: path, headers } = request
    const onward = ask({ hostname, port, method, path, headers }, (answer) => {
      response.writeHead(answer.statusCode ?? 500, answer.headers)
      answer.pipe(response)
    })
    onward.on('error', () => response.destroy())
    request.pipe(onward)
  })
  return { ...endpoint, hold: (matches) => new Promise((arrived) => (holding = { matches, arrived })) }
}
