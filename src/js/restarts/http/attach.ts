/**
 * `coordinator.attach()`: passes the requests of a node:http server to the workers. srvx converts between node:http and
 * Fetch. It creates a `Request`, `Response` or `Headers` object only when one is used: all three take 30 µs per request.
 */

import type { IncomingMessage, Server, ServerResponse } from 'node:http'
import type { Server as SecureServer } from 'node:https'
import type { Duplex } from 'node:stream'
import type { TLSSocket } from 'node:tls'
import { NodeRequest } from 'srvx/node'
import { invalidArgument, WarmswapError } from '../../native/errors.js'
import { isSeeded } from '../../native/seeded-bugs.js'
import { Cancellation } from '../cancellation.js'
import type { Parts } from '../parts.js'
import type { Carry } from '../queue.js'
import { hasBody } from './agents.js'
import { carryHttp, type HttpAnswer } from './carry.js'
import { answerClientError } from './client-error.js'
import { type HeaderPairs, isFetchMethod, type RequestHead } from './exchange.js'
import { type FailedAnswer, failedAnswer } from './failed-answer.js'
import { forwardingHeaders, isForwardingHeader } from './forwarded.js'
import { type CheckedFetchOptions, type Exchanger, isReplayable } from './options.js'
import { offersHttp2, withoutOffer } from './offered-http2.js'
import { ProxiedAnswer, proxied } from './proxy.js'
import { rawHead, send } from './send.js'
import { carryUpgrade } from './upgrade.js'

/** A server that attach() accepts: one of node:http or node:https. */
export type AttachedServer = Server | SecureServer

const attached = new WeakSet<AttachedServer>()

/** Answers the server's requests. Returns a function that stops doing so. */
export function attach(server: AttachedServer, exchanger: Exchanger, options: CheckedFetchOptions): () => void {
  if (typeof server?.on !== 'function' || typeof server.listen !== 'function')
    throw invalidArgument('server', server, 'a server of node:http or node:https')
  // Only a server of node:http2 has it. Its requests have pseudo-headers, and its answers no connection.
  if (typeof (server as { updateSettings?: unknown }).updateSettings === 'function')
    throw invalidArgument('server', server, 'a server of node:http or node:https, not of node:http2')
  if (attached.has(server)) throw invalidArgument('server', server, 'a server that no coordinator is attached to')
  attached.add(server)
  const attachment = new Attachment(exchanger, options)
  const listeners = {
    request: (request: IncomingMessage, response: ServerResponse) => void attachment.answer(request, response, false),
    checkContinue: (request: IncomingMessage, response: ServerResponse) =>
      void attachment.answer(request, response, true),
    upgrade(request: IncomingMessage, socket: Duplex, head: Buffer) {
      if (!offersHttp2(request)) return void attachment.upgrade(request, socket, head)
      socket.unshift(withoutOffer(request, head))
      server.emit('connection', socket)
    },
    clientError: answerClientError,
  }
  for (const [event, listener] of Object.entries(listeners)) server.on(event, listener)
  return () => {
    attached.delete(server)
    for (const [event, listener] of Object.entries(listeners)) server.off(event, listener)
  }
}

class Attachment {
  constructor(
    private readonly exchanger: Exchanger,
    private readonly options: CheckedFetchOptions,
  ) {}

  /** Answers one request. Never rejects. */
  async answer(request: IncomingMessage, response: ServerResponse, expectsContinue: boolean): Promise<void> {
    const cancellation = new Cancellation()
    // Not `cancellation.isCancelled`: a request that fails is cancelled too.
    let isGone = false
    response.once('close', () => {
      if (response.writableFinished) return
      isGone = true
      cancellation.cancel(disconnected())
    })
    response.on('error', () => {})
    try {
      const answer = await this.exchange(request, response, expectsContinue, cancellation)
      if (!(answer instanceof ProxiedAnswer)) await send(response, answer, cancellation)
      else if (__WARMSWAP_TESTING__ && isSeeded('replay-after-the-head')) this.replayCut(request, response, answer)
    } catch (error) {
      if (isGone) return
      if (response.headersSent) response.destroy()
      else await this.fail(request, response, error)
    }
  }

  /** Passes an upgrade to a worker that listens. Never rejects. */
  async upgrade(request: IncomingMessage, socket: Duplex, head: Buffer): Promise<void> {
    const cancellation = new Cancellation()
    socket.on('error', () => {})
    socket.once('close', () => cancellation.cancel(disconnected()))
    try {
      checkHost(request)
      const { timeoutMs } = this.options
      const acceptance = { idempotent: isReplayable(this.options, 'GET', false), timeoutMs, cancellation }
      await this.exchanger.accept(carryUpgrade(request, socket, head), acceptance)
    } catch (error) {
      if (socket.destroyed) return
      const { head, body } = this.failedAnswer(request, error)
      socket.end(Buffer.concat([Buffer.from(rawHead({ head, body })), body]), () => socket.destroy())
    }
  }

  private exchange(
    request: IncomingMessage,
    response: ServerResponse,
    expectsContinue: boolean,
    cancellation: Cancellation,
  ): Promise<HttpAnswer | ProxiedAnswer> {
    checkHost(request)
    const { method = 'GET' } = request
    const carry: Carry<HttpAnswer | ProxiedAnswer> = (handle, context, progress) => {
      if (typeof handle.connect === 'function')
        return proxied(request, response, handle, context, progress, expectsContinue)
      const isRead = hasBody(request) && method !== 'GET' && method !== 'HEAD'
      const body = isRead ? partsOfRequest(request, response, expectsContinue) : null
      return carryHttp(headOf(request, response), body)(handle, context, progress)
    }
    const idempotent = isReplayable(this.options, method, hasBody(request))
    return this.exchanger.accept(carry, { idempotent, timeoutMs: this.options.timeoutMs, cancellation })
  }

  /** A seeded bug. */
  private replayCut(request: IncomingMessage, response: ServerResponse, { ended }: ProxiedAnswer): void {
    const again = (): unknown =>
      response.writableFinished || this.exchange(request, response, false, new Cancellation())
    void ended.then(again).catch(() => {})
  }

  private async fail(request: IncomingMessage, response: ServerResponse, error: unknown): Promise<void> {
    const answer = this.failedAnswer(request, error)
    // The rest of an unread body would be parsed as the next request.
    if (!request.complete) answer.head.headers.push(['connection', 'close'])
    await send(response, answer).catch(() => response.destroy())
  }

  private failedAnswer({ headers }: IncomingMessage, error: unknown): FailedAnswer {
    if (error instanceof BadRequest) return badRequest(error)
    return failedAnswer(error, headers.accept, this.options, this.exchanger)
  }
}

function disconnected(): WarmswapError {
  return new WarmswapError('ERR_ABORTED', 'the client disconnected before its answer was complete')
}

class BadRequest extends Error {}

/** RFC 9112 has such a request refused: this server and the worker may each take another one of the hosts. */
function checkHost({ rawHeaders }: IncomingMessage): void {
  let hosts = 0
  for (let at = 0; at < rawHeaders.length; at += 2) {
    const name = rawHeaders[at] as string
    if (name.length === 4 && name.toLowerCase() === 'host') hosts += 1
  }
  if (hosts > 1) throw new BadRequest('The request has more than one Host.')
}

function badRequest({ message }: BadRequest): FailedAnswer {
  const headers: HeaderPairs = [['content-type', 'text/plain; charset=utf-8']]
  return { head: { status: 400, statusText: '', headers }, body: Buffer.from(`400 Bad Request\n\n${message}\n`) }
}

function headOf(request: IncomingMessage, response: ServerResponse): RequestHead {
  const { method = 'GET', rawHeaders } = request
  if (!isFetchMethod(method)) throw new WarmswapError('ERR_UNSUPPORTED', `a handler cannot get a ${method} request`)
  const url = urlOf(request, response)
  if (!URL.canParse(url)) throw new BadRequest(`The host or the target of the request is no part of a URL.`)
  const headers: HeaderPairs = []
  for (let at = 0; at < rawHeaders.length; at += 2) {
    const name = rawHeaders[at] as string
    if (!isForwardingHeader(name)) headers.push([name, rawHeaders[at + 1] as string])
  }
  for (const pair of Object.entries(forwardingHeaders(request))) headers.push(pair)
  return { method, url, headers }
}

/** Hosts and targets of almost all requests. srvx handles the others. */
const USUAL_HOST = /^[a-z0-9.:-]+$/i

function urlOf(request: IncomingMessage, response: ServerResponse): string {
  const { headers, url: target = '/' } = request
  if (!target.startsWith('/') || headers.host === undefined || !USUAL_HOST.test(headers.host))
    return new NodeRequest({ req: request, res: response }).url
  const isSecure = (request.socket as Partial<TLSSocket>).encrypted === true
  return `${isSecure ? 'https' : 'http'}://${headers.host}${target}`
}

/**
 * The parts of a request's body. If the client waits for "100 Continue", it gets that when the worker reads the first
 * part.
 */
function partsOfRequest(request: IncomingMessage, response: ServerResponse, expectsContinue: boolean): Parts {
  // Destroying a request destroys its connection, which the answer still needs.
  const iterator = request.iterator({ destroyOnReturn: false })
  let mustContinue = expectsContinue
  return {
    next() {
      if (mustContinue && !response.headersSent) response.writeContinue()
      mustContinue = false
      return iterator.next()
    },
    stop: () => void iterator.return?.().catch(() => {}),
  }
}
