/** Requests of a node:http server for workers that listen. httpxy copies heads and bodies. */

import type { ClientRequest, IncomingMessage, ServerResponse } from 'node:http'
import { createProxyServer } from 'httpxy'
import { messageOf } from '../../native/callbacks.js'
import { isWarmswapError, WarmswapError } from '../../native/errors.js'
import type { SendContext, WorkerHandle } from '../handle.js'
import { LASTING, type Lasting } from '../long-answer.js'
import type { Progress } from '../queue.js'
import { within } from '../wait.js'
import { agentOf, freshAgentOf, isReusable } from './agents.js'
import { forwardingHeaders, isForwardingHeader } from './forwarded.js'

/** An answer that httpxy sends to the client without further help. */
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

interface Hooks {
  /** The connection exists, and the request is about to be written. */
  connected(request: ClientRequest): void
  answered(): void
}

const hooks = new WeakMap<IncomingMessage, Hooks>()
const proxy = createProxyServer()

proxy.on('proxyReq', (upstream, request) => hooks.get(request as IncomingMessage)?.connected(upstream))
proxy.on('proxyRes', ({ headers }, request) => {
  // They describe the connection to the worker, not the one to the client.
  delete headers.connection
  delete headers['keep-alive']
  hooks.get(request as IncomingMessage)?.answered()
})

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
  prepare(request)
  const attempt = (agent: ReturnType<typeof agentOf>): Promise<ProxiedAnswer> =>
    new Attempt(request, response, context, progress, mustContinue).run(agent)
  try {
    return await attempt(agentOf(handle, request.method))
  } catch (error) {
    // The worker closed an idle connection at the same moment, before it sent a byte of an answer.
    if (error instanceof StaleConnection)
      return await attempt(freshAgentOf(handle)).catch((second) => explain(second, handle, context))
    return await explain(error, handle, context)
  }
}

/** Replaces the headers that name the client, and those that apply to this connection only. */
function prepare(request: IncomingMessage): void {
  const { headers } = request
  for (const name of Object.keys(headers)) if (isForwardingHeader(name)) delete headers[name]
  delete headers.expect
  Object.assign(headers, forwardingHeaders(request))
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

  run(agent: unknown): Promise<ProxiedAnswer> {
    const { request, response, context } = this
    return new Promise((resolve, reject) => {
      hooks.set(request, {
        connected: (upstream) => this.connected(upstream),
        answered: () => resolve(new ProxiedAnswer(response)),
      })
      context.signal.addEventListener('abort', () => this.upstream?.destroy(), { once: true })
      // The client's `Connection` header does not apply to the connection to the worker.
      const headers = { connection: isReusable(request.method) ? 'keep-alive' : 'close' }
      proxy.web(request, response, { target: 'http://localhost', agent, headers }).then(
        () => reject(context.signal.reason ?? new Error('the client disconnected')),
        (error) => reject(this.isStale(error) ? new StaleConnection() : error),
      )
    })
  }

  private connected(upstream: ClientRequest): void {
    this.upstream = upstream
    if (this.context.signal.aborted) return void upstream.destroy()
    this.progress.begun(true)
    if (this.mustContinue) this.response.writeContinue()
    this.request.on('data', this.progress.touch)
  }

  private isStale(error: NodeJS.ErrnoException): boolean {
    const { method } = this.request
    const isSafe = method === 'GET' || method === 'HEAD'
    return isSafe && this.upstream?.reusedSocket === true && ['ECONNRESET', 'EPIPE'].includes(error.code ?? '')
  }
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
