/** The requests of one server: which attempt each is at, and what becomes of it when that fails. */

import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Connect, DevEnvironment, ViteDevServer } from 'vite'
import { WarmswapError } from '../errors.js'
import { Attempts, hopeless, staleIn } from './attempts.js'
import type { Recovery } from './recovery-options.js'
import { isWhole, redirect, refuse, remember, reset, type Untouched } from './replay.js'

interface Served {
  untouched: Untouched
  attempts: Attempts
}

export class Requests {
  readonly #server: ViteDevServer
  readonly #recovery: Recovery
  readonly #served = new WeakMap<IncomingMessage, Served>()
  #clientIsBehind = false

  constructor(server: ViteDevServer, recovery: Recovery) {
    this.#server = server
    this.#recovery = recovery
  }

  /** The middleware at the top. */
  readonly begin: Connect.NextHandleFunction = (request, response, next) => {
    this.#recall(request, response).attempts.begin(this.#environments())
    next()
  }

  /** The middleware for errors, after the handlers. */
  readonly fail: Connect.ErrorHandleFunction = (error, request, response, next) => {
    const failure = staleIn(this.#environments(), error)
    if (failure === undefined) return next(error)
    // Half of an answer was sent: only a broken connection tells the client so.
    if (response.headersSent) return void response.destroy()
    const { attempts, untouched } = this.#recall(request, response)
    if (!this.#recovery.replay.includes(request.method ?? '') || !isWhole(request)) {
      attempts.last = failure
      return this.#refuse(request, response, attempts)
    }
    const replay = async (): Promise<void> => {
      const isFirst = attempts.last === undefined
      if (!(await attempts.another(failure))) throw this.#giveUp(attempts, request, error)
      this.#recovery.onEvent(attempts.event('retry'))
      if (isFirst) response.once('finish', () => this.#finished(attempts))
      reset(request, response, untouched)
      this.#server.middlewares(request, response, next)
    }
    replay().catch(next)
  }

  /** Takes note of a re-optimization of the client that reloaded it. */
  clientWasReoptimized(): void {
    this.#clientIsBehind = true
  }

  #environments(): DevEnvironment[] {
    return Object.values(this.#server.environments)
  }

  #recall(request: IncomingMessage, response: ServerResponse): Served {
    let served = this.#served.get(request)
    if (served === undefined) {
      served = { untouched: remember(request, response), attempts: new Attempts(this.#recovery.maxAttempts) }
      this.#served.set(request, served)
    }
    return served
  }

  #refuse(request: IncomingMessage, response: ServerResponse, attempts: Attempts): void {
    this.#recovery.onEvent(attempts.event('gave-up'))
    if (this.#recovery.onUnsafe === 'redirect-307' && isWhole(request) && redirect(request, response)) return
    refuse(response, `A dependency was optimized anew while this ${request.method} was served. It was not repeated, because it may have had effects: send it again if it bears that.\n`)
  }

  #giveUp(attempts: Attempts, request: IncomingMessage, cause: unknown): WarmswapError {
    this.#recovery.onEvent(attempts.event('gave-up'))
    return new WarmswapError('ERR_NOT_READY', hopeless(attempts, `${request.method} ${request.url}`), { cause })
  }

  #finished(attempts: Attempts): void {
    if (attempts.exhausted) return
    this.#recovery.onEvent(attempts.event('recovered'))
    if (this.#recovery.reloadClient === 'never' || !this.#clientIsBehind) return
    this.#clientIsBehind = false
    this.#server.environments.client?.hot.send({ type: 'full-reload', path: '*' })
  }
}
