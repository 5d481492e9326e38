/** Points that other programs reach over HTTP: a request is held, and answered when the test releases it. */

import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { peerOf } from '../keeper/tcp-table.js'
import { WarmswapError } from '../native/errors.js'
import { signalProcess } from './groups.js'
import type { Timeline } from './timeline.js'
import type { Held, Rendezvous } from './types.js'

export class HttpRendezvous implements Rendezvous {
  readonly #server: Server
  readonly #arrived: Held[] = []
  readonly #waiting: { resolve: (held: Held) => void; reject: (error: unknown) => void }[] = []
  #count = 0

  private constructor(
    private readonly name: string,
    private readonly timeline: Timeline,
    signal: AbortSignal,
  ) {
    this.#server = createServer((request, response) => this.#arrive(request, response))
    signal.addEventListener('abort', () => this.#giveUp(signal.reason), { once: true })
  }

  /** Listens on a port of its own; only this machine reaches it. */
  static async open(name: string, timeline: Timeline, signal: AbortSignal): Promise<HttpRendezvous> {
    const rendezvous = new HttpRendezvous(name, timeline, signal)
    await new Promise<void>((resolve, reject) =>
      rendezvous.#server.once('error', reject).listen(0, '127.0.0.1', resolve),
    )
    return rendezvous
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}/${encodeURIComponent(this.name)}`
  }

  reached(): Promise<Held> {
    const held = this.#arrived.shift()
    if (held !== undefined) return Promise.resolve(held)
    const reached = new Promise<Held>((resolve, reject) => this.#waiting.push({ resolve, reject }))
    // Usually requested before the event: until it is awaited, its failure must not be an unhandled rejection.
    reached.catch(() => {})
    return reached
  }

  #arrive(request: IncomingMessage, response: ServerResponse): void {
    request.resume()
    // Find the process while the connection exists: a dead process has none.
    const pid = pidOf(request)
    this.#note('reached', pid)
    const held: Held = {
      release: () => {
        this.#note('released', pid)
        if (!response.headersSent) response.writeHead(204).end()
      },
      kill: () => {
        if (pid === undefined)
          throw new WarmswapError(
            'ERR_UNSUPPORTED',
            `the process that waits at the rendezvous '${this.name}' is not known: add ?pid=<its pid> to the URL`,
          )
        signalProcess(pid, 'SIGKILL')
        this.#note('killed', pid)
        response.destroy()
      },
    }
    this.#count += 1
    const waiting = this.#waiting.shift()
    if (waiting === undefined) this.#arrived.push(held)
    else waiting.resolve(held)
  }

  #note(what: string, pid: number | undefined): void {
    this.timeline.record(
      'driver',
      `rendezvous '${this.name}' ${what}`,
      pid === undefined ? {} : { detail: `pid ${pid}` },
    )
  }

  #giveUp(reason: unknown): void {
    for (const { reject } of this.#waiting.splice(0)) {
      reject(
        new WarmswapError(
          'ERR_TIMEOUT',
          `the rendezvous '${this.name}' was not reached before the test ended; it was reached ${this.#count} times before`,
          { cause: reason },
        ),
      )
    }
  }

  /** Releases all requests that wait there. */
  async close(): Promise<void> {
    this.#giveUp(undefined)
    const closed = new Promise((resolve) => this.#server.close(resolve))
    this.#server.closeAllConnections()
    await closed
  }
}

function pidOf({ url = '', socket }: IncomingMessage): number | undefined {
  // The target of a request can be anything, even something that is not a URL.
  const given = Number(/[?&]pid=(\d+)/.exec(url)?.[1])
  if (Number.isInteger(given) && given > 0) return given
  return peerOf(socket.remotePort ?? 0, socket.localPort ?? 0)
}
