/** The requests of one server: the current attempt of each, and what happens when it fails. */

import { AsyncResource } from 'node:async_hooks'
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Connect, DevEnvironment, ViteDevServer } from 'vite'
import { attempt } from '../../native/callbacks.js'
import { WarmswapError } from '../../native/errors.js'
import { Attempts, hopeless, type StaleIn, staleIn } from './attempts.js'
import type { OptimizerMetadata } from './optimizer.js'
import type { Recovery } from './recovery-options.js'
import { isGone, isWhole, redirect, refuse, remember, reset, type Untouched } from './replay.js'
import { Rescue } from './rescue.js'

interface Served {
  untouched: Untouched
  attempts: Attempts
  /** Runs the request from the top, in the asynchronous context of its first attempt's begin. */
  again(next: Connect.NextFunction): void
  /** An error that is not caused by a stale dependency was passed on. */
  failed: boolean
}

export class Requests {
  readonly #server: ViteDevServer
  readonly #recovery: Recovery
  readonly #served = new WeakMap<IncomingMessage, Served>()
  /** How often a client was redirected because of a stale dependency since the commit that made it stale. */
  readonly #redirects = new WeakMap<OptimizerMetadata, Map<string | undefined, number>>()
  #clientIsBehind = false
  /** Undefined if it is disabled. */
  readonly rescue: Rescue | undefined

  constructor(server: ViteDevServer, recovery: Recovery) {
    this.#server = server
    this.#recovery = recovery
    this.rescue = recovery.rescue === false ? undefined : new Rescue(server, recovery.rescue, recovery.replay)
  }

  /** The middleware in front of all others. */
  readonly begin: Connect.NextHandleFunction = (request, response, next) => {
    const start = (isRescue: boolean): void => {
      this.#recall(request, response).attempts.begin(this.#environments(), !isRescue)
      next()
    }
    if (this.rescue === undefined) start(false)
    else this.rescue.admit(request, response, start, next)
  }

  /** The error middleware, after the handlers. */
  readonly fail: Connect.ErrorHandleFunction = (error, request, response, next) => {
    const served = this.#recall(request, response)
    const { attempts } = served
    const failure = staleIn(this.#environments(), error)
    if (this.rescue?.claim(request, error)) {
      if (failure !== undefined) this.#noteRetry(served, failure, response)
      return
    }
    if (failure === undefined) {
      served.failed = true
      return next(error)
    }
    // Half of the response was sent: only closing the connection shows the client that it is incomplete.
    if (!this.#isUnsent(request, response)) return void response.destroy()
    if (!this.#mayReplay(request)) {
      attempts.last = failure
      return this.#refuse(request, response, attempts)
    }
    this.#retry(served, failure, request, response, error, next).catch(next)
  }

  async #retry(
    served: Served,
    failure: StaleIn,
    request: IncomingMessage,
    response: ServerResponse,
    error: unknown,
    next: Connect.NextFunction,
  ): Promise<void> {
    const { attempts, untouched, again } = served
    const wasStale = attempts.last !== undefined
    this.rescue?.take(request)
    if (!(await attempts.another(failure))) {
      this.rescue?.giveBack(request)
      throw this.#giveUp(attempts, request, error)
    }
    this.#noteRetry(served, failure, response, !wasStale)
    await this.rescue?.ready()
    if (isGone(response)) return
    if (!this.#isUnsent(request, response)) {
      // The failed attempt continued to write: a complete response is left as it is.
      if (!response.writableEnded) response.destroy()
      return
    }
    this.rescue?.forget(request)
    reset(request, response, untouched)
    again(next)
  }

  #noteRetry(
    served: Served,
    failure: StaleIn,
    response: ServerResponse,
    isFirst = served.attempts.last === undefined,
  ): void {
    served.attempts.last = failure
    this.#recovery.onEvent(served.attempts.event('retry'))
    if (isFirst) response.once('finish', () => this.#finished(served, response))
  }

  /** Records a re-optimization of the client that reloaded it. */
  clientWasReoptimized(): void {
    this.#clientIsBehind = true
  }

  #mayReplay(request: IncomingMessage): boolean {
    if (this.rescue !== undefined) return this.rescue.mayReplay(request)
    return this.#recovery.replay.includes(request.method ?? '') && isWhole(request)
  }

  #isUnsent(request: IncomingMessage, response: ServerResponse): boolean {
    return this.rescue?.isUnsent(request, response) ?? !response.headersSent
  }

  #environments(): DevEnvironment[] {
    return Object.values(this.#server.environments)
  }

  #recall(request: IncomingMessage, response: ServerResponse): Served {
    let served = this.#served.get(request)
    if (served === undefined) {
      served = {
        untouched: remember(request, response),
        attempts: new Attempts(this.#recovery.maxAttempts),
        failed: false,
        again: AsyncResource.bind((next: Connect.NextFunction) => this.#server.middlewares(request, response, next)),
      }
      this.#served.set(request, served)
    }
    return served
  }

  #refuse(request: IncomingMessage, response: ServerResponse, attempts: Attempts): void {
    this.#recovery.onEvent(attempts.event('gave-up'))
    if (
      this.#recovery.onUnsafe === 'redirect-307' &&
      isWhole(request) &&
      this.#mayRedirect(attempts.last as StaleIn) &&
      redirect(request, response)
    )
      return
    refuse(
      response,
      `A dependency was optimized while this ${request.method} request ran. It was not retried, because it may have side effects. Retry it if it is idempotent.\n`,
    )
  }

  /**
   * A redirect is a new request, which does not count earlier attempts: a permanently stale dependency would redirect
   * endlessly.
   */
  #mayRedirect({ environment, stale }: StaleIn): boolean {
    const metadata = environment.depsOptimizer?.metadata as OptimizerMetadata
    const counts = this.#redirects.get(metadata) ?? new Map<string | undefined, number>()
    this.#redirects.set(metadata, counts)
    const count = counts.get(stale.id) ?? 0
    counts.set(stale.id, count + 1)
    return count + 1 < this.#recovery.maxAttempts
  }

  #giveUp(attempts: Attempts, request: IncomingMessage, cause: unknown): WarmswapError {
    this.#recovery.onEvent(attempts.event('gave-up'))
    return new WarmswapError('ERR_NOT_READY', hopeless(attempts, `${request.method} ${request.url}`), { cause })
  }

  #finished({ attempts, failed }: Served, { statusCode }: ServerResponse): void {
    if (attempts.exhausted || failed || statusCode >= 500) return
    this.#recovery.onEvent(attempts.event('recovered'))
    if (this.#recovery.reloadClient === 'never' || !this.#clientIsBehind) return
    this.#clientIsBehind = false
    attempt('the reload of the browser', () =>
      this.#server.environments.client?.hot.send({ type: 'full-reload', path: '*' }),
    )
  }
}
