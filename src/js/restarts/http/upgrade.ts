/**
 * Upgrades of a node:http server, for workers that listen. Not with httpxy: it closes the client's socket without an answer
 * if the worker ends during the handshake, and then no other worker could get the request.
 */

import { type IncomingMessage, request as requestUpstream } from 'node:http'
import type { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { WarmswapError } from '../../native/errors.js'
import { isSeeded } from '../../native/seeded-bugs.js'
import type { SendContext } from '../handle.js'
import { LASTING, type Lasting } from '../long-answer.js'
import type { Carry, Progress } from '../queue.js'
import { deferred } from '../wait.js'
import { freshAgentOf } from './agents.js'
import { forwardingHeaders, isForwardingHeader, ownHost } from './forwarded.js'
import { explain } from './proxy.js'
import { closeFrame, SERVICE_RESTART, WebSocketFrames } from './web-socket-frames.js'

/** A socket between a worker and a client, or the answer to an upgrade that the worker refused. */
export class Upgraded implements Lasting {
  readonly [LASTING]: Lasting | undefined = __WARMSWAP_TESTING__ && isSeeded('drain-without-sockets') ? undefined : this
  private readonly end = deferred<void>()
  private readonly frames: WebSocketFrames | undefined
  private isCut = false

  constructor(
    private readonly client: Duplex,
    private readonly worker: Duplex,
    isWebSocket: boolean,
  ) {
    this.frames = isWebSocket ? new WebSocketFrames() : undefined
    for (const [one, other] of [
      [client, worker],
      [worker, client],
    ] as const) {
      one.on('error', () => other.destroy())
      one.once('close', () => {
        this.end.resolve()
        // What this one has sent is still on its way if the other one reads slowly.
        closeAfterWrites(other)
      })
    }
    client.pipe(worker)
    worker.on('data', (bytes: Buffer) => this.forward(bytes))
    worker.once('end', () => this.isCut || client.end())
  }

  get ended(): Promise<void> {
    return this.end.promise
  }

  /** A WebSocket gets "1012 Service Restart" after the frame that is being sent. */
  cut(): void {
    this.isCut = true
    if (this.frames === undefined) this.client.destroy()
    else if (this.frames.isBetweenFrames) this.closeWebSocket()
  }

  private forward(bytes: Buffer): void {
    this.frames?.push(bytes)
    if (!this.client.write(bytes)) {
      this.worker.pause()
      this.client.once('drain', () => this.worker.resume())
    }
    if (this.isCut && this.frames?.isBetweenFrames) this.closeWebSocket()
  }

  private closeWebSocket(): void {
    this.worker.removeAllListeners('data').resume()
    this.client.unpipe(this.worker)
    this.client.end(closeFrame(SERVICE_RESTART, 'the server was replaced'), () => this.client.destroy())
  }
}

/** The answer of a worker that refused an upgrade. */
class Refused implements Lasting {
  readonly [LASTING]: Lasting = this
  readonly ended: Promise<void>

  constructor(
    private readonly client: Duplex,
    answer: IncomingMessage,
  ) {
    this.ended = new Promise((resolve) => void client.once('close', resolve))
    client.on('error', () => answer.destroy())
    answer.on('error', () => client.destroy())
    answer.pipe(client)
    // The client may keep its side open forever, and its worker would wait for that.
    client.once('finish', () => closeAfterWrites(client))
  }

  cut(): void {
    this.client.destroy()
  }
}

/** Closes a socket once everything that was written to it is sent. */
function closeAfterWrites(socket: Duplex): void {
  if (typeof (socket as Partial<Socket>).destroySoon === 'function') (socket as Socket).destroySoon()
  else socket.end(() => socket.destroy())
}

/** Carries out an upgrade. `head` is what the client has sent after its request. */
export function carryUpgrade(request: IncomingMessage, client: Duplex, head: Buffer): Carry<Lasting> {
  return async (handle, context, progress) => {
    if (typeof handle.connect !== 'function')
      throw new WarmswapError('ERR_UNSUPPORTED', 'an upgrade needs a worker that listens: start it with listen: true')
    progress.begun(false)
    try {
      return await handshake(request, client, head, freshAgentOf(handle), context, progress)
    } catch (error) {
      return await explain(error, handle, context)
    }
  }
}

function handshake(
  request: IncomingMessage,
  client: Duplex,
  head: Buffer,
  agent: ReturnType<typeof freshAgentOf>,
  { signal }: SendContext,
  progress: Progress,
): Promise<Lasting> {
  const { method, url: path } = request
  // Without a name the agent would derive one from the headers, for TLS.
  const upstream = requestUpstream({ method, path, headers: headersOf(request), agent, servername: '' } as object)
  const abort = (): void => void upstream.destroy()
  signal.addEventListener('abort', abort, { once: true })
  return new Promise((resolve, reject) => {
    upstream.once('error', reject)
    upstream.once('socket', () => progress.begun(true))
    upstream.once('upgrade', (answer, worker, first) => {
      signal.removeEventListener('abort', abort)
      client.write(rawHead(answer))
      if (head.length > 0) worker.write(head)
      const isWebSocket = request.headers.upgrade?.toLowerCase() === 'websocket'
      if (first.length > 0) worker.unshift(first)
      resolve(new Upgraded(client, worker, isWebSocket))
    })
    upstream.once('response', (answer) => {
      signal.removeEventListener('abort', abort)
      client.write(rawHead(answer, 'connection: close\r\n'))
      resolve(new Refused(client, answer))
    })
    upstream.end()
  })
}

/** Header names keep the case in which the client sent them, because WebSocket libraries may compare it. */
function headersOf(request: IncomingMessage): string[] {
  const { rawHeaders } = request
  const kept: string[] = []
  for (let at = 0; at < rawHeaders.length; at += 2) {
    const name = rawHeaders[at] as string
    if (!isForwardingHeader(name)) kept.push(name, rawHeaders[at + 1] as string)
  }
  if (request.headers.host === undefined) kept.push('host', ownHost(request))
  return [...kept, ...Object.entries(forwardingHeaders(request)).flat()]
}

function rawHead({ statusCode, statusMessage, rawHeaders }: IncomingMessage, more = ''): string {
  const lines: string[] = []
  for (let at = 0; at < rawHeaders.length; at += 2) {
    const name = rawHeaders[at] as string
    if (more === '' || !['connection', 'keep-alive', 'transfer-encoding'].includes(name.toLowerCase()))
      lines.push(`${name}: ${rawHeaders[at + 1]}\r\n`)
  }
  return `HTTP/1.1 ${statusCode} ${statusMessage}\r\n${lines.join('')}${more}\r\n`
}
