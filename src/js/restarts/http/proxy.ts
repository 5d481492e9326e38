/**
 * Requests of a node:http server for workers that listen. Not with httpxy: it took a third to half of the processor time
 * of a request, and sent the head of an answer only with the first part of its body.
 */

import { type ClientRequest, type IncomingMessage, request as requestUpstream, type ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import { messageOf } from '../../native/callbacks.js'
import { isWarmswapError, WarmswapError } from '../../native/errors.js'
import { cancellationOf, type SendContext, type WorkerHandle } from '../handle.js'
import { LASTING, type Lasting } from '../long-answer.js'
import type { Progress } from '../queue.js'
import { within } from '../wait.js'
import { agentOf, freshAgentOf, hasBody, isReusable, readAfterFailedWrites } from './agents.js'
import { forwardingHeaders, isForwardingHeader, ownHost } from './forwarded.js'
import { hasNoTrailers, passInformation, passTrailers } from './trailers.js'

/** An answer that is sent to the client without further help. */
export class ProxiedAnswer implements Lasting {
  readonly [LASTING]: Lasting = this
  readonly ended: Promise<void>

  constructor(private readonly response: ServerResponse) {
    this.ended = new Promise((resolve) => {
      if (response.destroyed || response.writableFinished) resolve()
      response.once('close', resolve)
    })
  }

  cut(): void {
    if (!this.response.writableFinished) this.response.destroy()
  }
}

/**
 * Milliseconds to wait for the end of a worker after it broke off a connection. If it ends in this time, its end is
 * reported as the reason.
 */
const END_MS = 500

/** Carries out a request on a worker that listens. `mustContinue`: the client waits for "100 Continue". */
export async function proxied(
  request: IncomingMessage,
  response: ServerResponse,
  handle: WorkerHandle<never, unknown>,
  context: SendContext,
  progress: Progress,
  mustContinue: boolean,
): Promise<ProxiedAnswer> {
  progress.begun(false)
  const attempt = (agent: ReturnType<typeof agentOf>): Promise<ProxiedAnswer> =>
    new Attempt(request, response, context, progress, mustContinue).run(agent)
  try {
    return await attempt(agentOf(handle, request))
  } catch (error) {
    // The worker closed an idle connection at the same moment, before it sent a byte of an answer.
    if (error instanceof StaleConnection)
      return await attempt(freshAgentOf(handle)).catch((second) => explain(second, handle, context))
    return await explain(error, handle, context)
  }
}

class StaleConnection extends Error {}

class Attempt {
  private upstream: ClientRequest | undefined

  constructor(
    private readonly request: IncomingMessage,
    private readonly response: ServerResponse,
    private readonly context: SendContext,
    private readonly progress: Progress,
    private readonly mustContinue: boolean,
  ) {}

  run(agent: ReturnType<typeof agentOf>): Promise<ProxiedAnswer> {
    const { request, response, context } = this
    return new Promise((resolve, reject) => {
      const { method, url: path } = request
      const headers = headersForWorker(request)
      // Without a name the agent would derive one from the headers, for TLS.
      const upstream = requestUpstream({ agent, method, path, headers, servername: '' } as object)
      this.upstream = upstream
      const destroy = (): void => void upstream.destroy()
      const one = cancellationOf(context)
      if (one) one.onCancel(destroy)
      else context.signal.addEventListener('abort', destroy, { once: true })
      response.once('close', () => response.writableFinished || destroy())
      upstream.on('error', (error) => reject(this.isStale(error) ? new StaleConnection() : error))
      let hasAnswer = false
      upstream.once('close', () => hasAnswer || reject(new Error('the connection was closed')))
      upstream.once('socket', (socket) => this.connected(upstream, socket))
      upstream.on('information', (interim) => passInformation(interim, response))
      upstream.once('response', (answer) => {
        hasAnswer = true
        try {
          this.forward(answer)
          resolve(new ProxiedAnswer(response))
        } catch (error) {
          upstream.destroy()
          reject(error)
        }
      })
      if (!hasBody(request)) upstream.end()
    })
  }

  /** The connection exists, and the request is about to be written. */
  private connected(upstream: ClientRequest, socket: Socket): void {
    const { request } = this
    if (upstream.destroyed) return
    this.progress.begun(true)
    if (this.mustContinue) this.response.writeContinue()
    if (!hasBody(request)) return
    readAfterFailedWrites(socket)
    // The client may send its body only after it has an answer. Otherwise the head goes with the first part.
    setImmediate(() => upstream.destroyed || upstream.flushHeaders())
    request.on('data', this.progress.touch)
    // Before pipe(), which ends it.
    request.once('end', () => passTrailers(request, upstream))
    request.pipe(upstream)
    // A worker may answer before it has read everything. The rest would be parsed as the client's next request.
    upstream.once('close', () => {
      request.unpipe(upstream)
      request.resume()
    })
  }

  private forward(answer: IncomingMessage): void {
    const { request, response } = this
    const headers = headersForClient(answer, request.httpVersion)
    response.writeHead(answer.statusCode as number, answer.statusMessage, headers)
    let hasContent = false
    answer.on('data', (bytes: Buffer) => {
      hasContent = true
      if (response.write(bytes)) return
      answer.pause()
      response.once('drain', () => answer.resume())
    })
    answer.once('end', () => {
      hasContent = true
      passTrailers(answer, response)
      response.end()
    })
    answer.on('error', () => {})
    answer.once('close', () => answer.complete || response.destroy())
    // A head whose body comes later is not held back.
    setImmediate(() => hasContent || response.destroyed || response.flushHeaders())
  }

  private isStale(error: NodeJS.ErrnoException): boolean {
    const isReused = isReusable(this.request) && this.upstream?.reusedSocket === true
    return isReused && ['ECONNRESET', 'EPIPE'].includes(error.code ?? '')
  }
}

/** Headers of the client's connection, and the one that this server answers itself. */
const OF_THE_CONNECTION: ReadonlySet<string> = new Set(['connection', 'keep-alive', 'proxy-connection', 'expect'])

/** The client's headers as it sent them, without those that name the client and those of its connection. */
function headersForWorker(request: IncomingMessage): string[] {
  const { rawHeaders, method, headers } = request
  const named = namedBy(headers.connection)
  const isWithoutTrailers = headers.trailer !== undefined && hasNoTrailers(request, '1.1')
  const kept: string[] = []
  for (let at = 0; at < rawHeaders.length; at += 2) {
    const name = (rawHeaders[at] as string).toLowerCase()
    const isDropped = OF_THE_CONNECTION.has(name) || (isWithoutTrailers && name === 'trailer')
    if (!isDropped && !isForwardingHeader(name) && !named?.includes(name))
      kept.push(rawHeaders[at] as string, rawHeaders[at + 1] as string)
  }
  if (headers.host === undefined) kept.push('host', ownHost(request))
  kept.push('connection', isReusable(request) ? 'keep-alive' : 'close')
  for (const [name, value] of Object.entries(forwardingHeaders(request))) kept.push(name, value)
  const isBodyless = method === 'GET' || method === 'HEAD'
  if (!isBodyless && headers['content-length'] === undefined && headers['transfer-encoding'] === undefined)
    kept.push('content-length', '0')
  return kept
}

/** The worker's headers, without those of its connection. node:http chooses the encoding of the transfer. */
function headersForClient(answer: IncomingMessage, httpVersion: string): string[] {
  const { rawHeaders, headers } = answer
  const isWithoutTrailers = headers.trailer !== undefined && hasNoTrailers(answer, httpVersion)
  const named = namedBy(headers.connection)
  const isChunked = headers['transfer-encoding']?.toLowerCase() === 'chunked'
  const kept: string[] = []
  for (let at = 0; at < rawHeaders.length; at += 2) {
    const name = (rawHeaders[at] as string).toLowerCase()
    const isOfConnection =
      OF_THE_CONNECTION.has(name) ||
      (isChunked && name === 'transfer-encoding') ||
      (isWithoutTrailers && name === 'trailer')
    if (!isOfConnection && !named?.includes(name)) kept.push(rawHeaders[at] as string, rawHeaders[at + 1] as string)
  }
  return kept
}

/** Headers that `Connection` names: they belong to the connection too. Undefined if there are none, as usual. */
function namedBy(connection: string | undefined): string[] | undefined {
  if (connection === undefined || connection === 'keep-alive' || connection === 'close') return undefined
  const names = connection.split(',').map((name) => name.trim().toLowerCase())
  // A client cannot remove what frames the body, or the name of the host.
  return names.filter((name) => !['content-length', 'transfer-encoding', 'host'].includes(name))
}

/** Rejects with an error that the queue and the client can interpret. */
export async function explain(
  error: unknown,
  handle: WorkerHandle<never, unknown>,
  { incarnation, signal }: SendContext,
): Promise<never> {
  if (signal.aborted) throw signal.reason
  if (isWarmswapError(error)) throw error
  const hasEnded = await within(Promise.resolve(handle.exited), { timeoutMs: END_MS, late }).then(
    () => true,
    () => false,
  )
  const text = `worker ${incarnation} ${hasEnded ? 'ended' : 'broke off the connection'} before it had answered: ${messageOf(error)}`
  throw new WarmswapError(hasEnded ? 'ERR_WORKER_EXITED' : 'ERR_IO', text, { cause: error })
}

const late = (): WarmswapError => new WarmswapError('ERR_TIMEOUT', 'the worker goes on')
