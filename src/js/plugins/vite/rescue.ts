/**
 * In-flight rescue: requests that a re-optimization overtakes are answered, not failed.
 *
 * A request that began in the old module graph waits for the new dependency, and gets it from the new graph, together
 * with a second copy of what it already holds. It fails, or answers with the wrong context, and nothing marks its
 * error: the hash that Vite compares is replaced by the commit itself. So every answer that is not complete at a commit
 * with a reload is discarded, as long as no byte of its body was sent. The request runs once more when the runners have
 * reported that they have the new graph. Requests that arrive in between wait as well.
 *
 * The commit itself is never delayed: a request that waits for the discovery would wait forever.
 */

import { AsyncResource } from 'node:async_hooks'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { setImmediate as nextTurn } from 'node:timers/promises'
import type { Connect, DevEnvironment, ViteDevServer } from 'vite'
import { attempt } from '../../native/callbacks.js'
import { isSeeded } from '../../native/seeded-bugs.js'
import { HeldAnswer } from './held-answer.js'
import { pendingDiscovery } from './optimizer.js'
import { isGone, isWhole, remember, reset, type Untouched } from './replay.js'
import type { RescueLimits } from './rescue-options.js'
import { RunnerReports } from './runner-reports.js'
import { refuseOvertaken } from './watched-answer.js'

/** Replays of one request. Each needs a further commit with a reload, so this bounds a server that never settles. */
const MOST_REPLAYS = 8

/** Causes of `fetch failed` when the other side has closed the connection. */
const RESET = new Set<unknown>(['ECONNRESET', 'EPIPE', 'UND_ERR_SOCKET'])

/** A request that can be replayed. */
interface Flight {
  request: IncomingMessage
  response: ServerResponse
  untouched: Untouched
  answer: HeldAnswer
  replays: number
  /** The attempt has ended, and the next one or an answer is on its way: nothing else may begin another. */
  isTaken: boolean
  /** The attempt that begins now is one of the rescue. */
  isReplay: boolean
  /** It was replayed because a connection was reset. */
  wasReset: boolean
  /** Runs the request from the top, in the asynchronous context of its first attempt's begin. */
  again(): void
}

const OVERTAKEN = 'A dependency was optimized while this request ran.'

export class Rescue {
  readonly #server: ViteDevServer
  readonly #limits: RescueLimits
  readonly #methods: readonly string[]
  readonly #flights = new Set<Flight>()
  readonly #flightOf = new WeakMap<IncomingMessage, Flight>()
  /** Whether a request may run twice. Decided at its begin: middlewares rewrite the URL. */
  readonly #repeatable = new WeakMap<IncomingMessage, boolean>()
  /** Number of commits with a reload so far. */
  #commits = 0
  /** When the runners have worked off the latest reload, or when they had to. */
  #reloadedAt = -Infinity
  /** Resolves when the runners have worked off the latest reload. */
  #reloaded: Promise<void> | undefined
  #isWaitingForDiscovery = false
  #isExplained = false
  #isClosed = false

  constructor(server: ViteDevServer, limits: RescueLimits, methods: readonly string[]) {
    this.#server = server
    this.#limits = limits
    this.#methods = methods
  }

  /**
   * Calls `start` when the runners have worked off the latest reload: immediately, if they have. `outer` is called if a
   * replay leaves Vite's middlewares.
   */
  admit(
    request: IncomingMessage,
    response: ServerResponse,
    start: (isReplay: boolean) => void,
    outer: Connect.NextFunction,
  ): void {
    const begin = (): void => {
      if (isGone(response)) return
      this.#begin(request, response, outer)
      start(false)
    }
    const flight = this.#flightOf.get(request)
    if (flight !== undefined) {
      // A replay has waited.
      const { isReplay } = flight
      flight.isReplay = false
      start(isReplay)
    } else if (this.#isClosed || this.#isProxied(request)) start(false)
    else if (this.#reloaded === undefined || this.#isEvaluating()) begin()
    else void this.ready().then(begin)
  }

  /** Resolves when no runner has a reload left to work off. Never rejects. */
  async ready(): Promise<void> {
    if (__WARMSWAP_TESTING__ && isSeeded('rescue-before-ready')) return
    while (this.#reloaded !== undefined) await this.#reloaded
  }

  /** A module graph is thrown away in this turn: its environment was re-optimized, or is linked to one that was. */
  overtake(): void {
    if (this.#isClosed) return
    this.#commits += 1
    for (const flight of this.#flights) this.#overtake(flight)
    const reloaded = this.#afterReload().then(() => {
      if (this.#reloaded !== reloaded) return
      this.#reloaded = undefined
      this.#reloadedAt = performance.now()
      for (const { answer } of this.#flights) answer.runnersAreReady()
    })
    this.#reloaded = reloaded
  }

  /** Ends all waiting: the server is closed. */
  close(): void {
    this.#isClosed = true
    for (const { answer } of this.#flights) answer.discoveryEnded()
  }

  /** Whether the request may be answered a second time. */
  mayReplay(request: IncomingMessage): boolean {
    if (__WARMSWAP_TESTING__ && isSeeded('rescue-replays-post')) return true
    const isRepeatable = this.#repeatable.get(request) ?? this.#isRepeatable(request)
    this.#repeatable.set(request, isRepeatable)
    return isRepeatable && isWhole(request)
  }

  /** Whether nothing of the answer was sent. */
  isUnsent(request: IncomingMessage, response: ServerResponse): boolean {
    return this.#flightOf.get(request)?.answer.isUnsent ?? !response.headersSent
  }

  /** The failed attempt is repeated by the caller: the rescue does not replay it. */
  take(request: IncomingMessage): void {
    const flight = this.#flightOf.get(request)
    if (flight !== undefined) flight.isTaken = true
  }

  /** Ends what `take` began: the caller answers with an error instead. */
  giveBack(request: IncomingMessage): void {
    const flight = this.#flightOf.get(request)
    if (flight !== undefined) flight.isTaken = false
  }

  /** Forgets what the failed attempt has written: the next one begins. */
  forget(request: IncomingMessage): void {
    this.giveBack(request)
    this.#flightOf.get(request)?.answer.reset()
  }

  /** Takes a request whose attempt has ended with an error. Returns whether it is replayed, or was taken before. */
  claim(request: IncomingMessage, error: unknown): boolean {
    const flight = this.#flightOf.get(request)
    if (flight === undefined) return false
    if (flight.isTaken) return true
    if (!flight.answer.isDiscarded && !this.#isResetByOvertaken(flight, error)) return false
    this.#replay(flight)
    return true
  }

  /**
   * Whether the request may have lost its connection because an overtaken attempt failed on it. workerd resets such a
   * connection, and miniflare may have sent the next request on it (5 of 288 requests in Astro at a load of 20).
   */
  #isResetByOvertaken(flight: Flight, error: unknown): boolean {
    const { cause } = (error ?? {}) as { cause?: { code?: unknown } }
    if (!RESET.has(cause?.code) || flight.wasReset || !flight.answer.isUnsent) return false
    // A runner that is evaluating the new graph already gets requests.
    flight.wasReset = this.#reloaded !== undefined || performance.now() - this.#reloadedAt < this.#limits.holdMs
    return flight.wasReset
  }

  /** The request leaves Vite's middlewares. A handler outside them cannot be called again. */
  readonly leave: Connect.NextHandleFunction = (request, response, next) => {
    const flight = this.#flightOf.get(request)
    if (flight === undefined) return next()
    if (flight.isTaken) return
    this.#flights.delete(flight)
    if (!flight.answer.isDiscarded) {
      flight.answer.release()
      return next()
    }
    flight.isTaken = true
    void this.ready().then(() => {
      flight.isTaken = false
      if (isGone(response)) return
      flight.answer.reset()
      flight.answer.release()
      next()
    })
  }

  #overtake(flight: Flight): void {
    const { request, response, answer } = flight
    if (flight.replays >= MOST_REPLAYS) answer.release()
    else if (answer.isDiscarded || isWhole(request)) answer.overtake()
    else {
      // Its body was read since it began.
      this.#flights.delete(flight)
      answer.release()
      this.#watch(request, response, true)
    }
  }

  #isRepeatable(request: IncomingMessage): boolean {
    if (!this.#methods.includes(request.method ?? '')) return false
    let isExcluded = true
    attempt('options.rescue.exclude of staleDepRecovery()', () => {
      isExcluded = this.#limits.exclude(request)
    })
    return !isExcluded
  }

  /** Whether `server.proxy` sends the request to a backend, by Vite's rule. */
  #isProxied({ url = '/' }: IncomingMessage): boolean {
    return Object.keys(this.#server.config.server.proxy ?? {}).some((context) =>
      context.startsWith('^') ? new RegExp(context).test(url) : url.startsWith(context),
    )
  }

  #begin(request: IncomingMessage, response: ServerResponse, outer: Connect.NextFunction): void {
    const { headers } = request
    const mayReplay = this.mayReplay(request)
    // An upgrade, a part of a file and a stream of events are never held.
    const isHandsOff =
      headers.upgrade !== undefined ||
      headers.range !== undefined ||
      /\btext\/event-stream\b/.test(headers.accept ?? '')
    if (isHandsOff || !mayReplay) {
      this.#watch(request, response)
      return
    }
    const flight: Flight = {
      request,
      response,
      untouched: remember(request, response),
      replays: 0,
      isTaken: false,
      isReplay: false,
      wasReset: false,
      again: AsyncResource.bind(() => this.#runFromTop(request, response, outer)),
      answer: new HeldAnswer(response, {
        limits: this.#limits,
        isDiscovering: () => !this.#isClosed && this.#discovery() !== undefined,
        onHold: () => this.#releaseAfterDiscovery(),
        onDiscarded: () => this.#replay(flight),
      }),
    }
    this.#flights.add(flight)
    this.#flightOf.set(request, flight)
    response.once('close', () => this.#flights.delete(flight))
  }

  #watch(request: IncomingMessage, response: ServerResponse, isOvertaken = false): void {
    const began = this.#commits
    const message = `A dependency was optimized while this ${request.method} request ran. It was not retried, because it may have side effects. Retry it if it is idempotent.\n`
    refuseOvertaken(response, message, () => isOvertaken || this.#commits !== began)
  }

  #replay(flight: Flight): void {
    if (flight.isTaken) return
    flight.isTaken = true
    flight.replays += 1
    // A response that cannot be used again is cut.
    this.#runAgain(flight).catch((error: Error) => flight.answer.destroy(error))
  }

  async #runAgain(flight: Flight): Promise<void> {
    const { request, response, untouched, answer } = flight
    await this.ready()
    // A handler can fail right after the end of its answer.
    await nextTurn()
    await this.ready()
    if (isGone(response) || !answer.isUnsent) return
    if (!isWhole(request) && !(__WARMSWAP_TESTING__ && isSeeded('rescue-replays-post')))
      return answer.refuse(`${OVERTAKEN} It was not retried, because its body was read. Retry it if it is idempotent.`)
    this.#explain(request)
    answer.reset()
    flight.isTaken = false
    flight.isReplay = true
    if (!(__WARMSWAP_TESTING__ && isSeeded('rescue-after-a-body-byte'))) reset(request, response, untouched)
    flight.again()
  }

  #runFromTop(request: IncomingMessage, response: ServerResponse, outer: Connect.NextFunction): void {
    this.#server.middlewares(request, response, (error?: unknown) => {
      // The rest of the first pass, and then the application around Vite.
      if (!response.writableEnded) outer(error)
    })
  }

  #explain({ method, url }: IncomingMessage): void {
    if (this.#isExplained) return
    this.#isExplained = true
    this.#server.config.logger.info(
      `[warmswap] ${method} ${url} was under way when a dependency was optimized and everything was reloaded. Its first answer was discarded and the request was run again. ` +
        `This applies to GET and HEAD requests and is reported once. Use recovery: { rescue: { exclude } } for GET requests with side effects; recovery: { rescue: false } turns it off.`,
      { timestamp: true },
    )
  }

  #environments(): DevEnvironment[] {
    return Object.values(this.#server.environments).filter(({ config }) => config.consumer === 'server')
  }

  /** A runner has the new module graph, and evaluates its entry. The request may be the entry's own: it must not wait. */
  #isEvaluating(): boolean {
    return this.#environments().some((each) => RunnerReports.of(each).isEvaluating)
  }

  async #afterReload(): Promise<void> {
    // Vite sends the reload in the same turn as the commit.
    if (!(__WARMSWAP_TESTING__ && isSeeded('rescue-in-the-old-graph'))) await nextTurn()
    await Promise.allSettled(
      this.#environments().map(async (each) => RunnerReports.of(each).settled(this.#limits.readyMs)),
    )
  }

  /** Settles when the dependencies that wait for the optimizer now no longer do. Undefined if none waits. */
  #discovery(): Promise<unknown> | undefined {
    const pending = this.#environments().flatMap((environment) => pendingDiscovery(environment) ?? [])
    return pending.length > 0 ? Promise.all(pending) : undefined
  }

  async #releaseAfterDiscovery(): Promise<void> {
    if (this.#isWaitingForDiscovery) return
    this.#isWaitingForDiscovery = true
    for (let pending = this.#discovery(); pending !== undefined && !this.#isClosed; pending = this.#discovery()) {
      await pending
      // A commit with a reload has overtaken the answers by now.
      await nextTurn()
    }
    this.#isWaitingForDiscovery = false
    for (const { answer } of this.#flights) answer.discoveryEnded()
  }
}
