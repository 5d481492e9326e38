/**
 * In-flight rescue: requests that a re-optimization overtakes are answered, not failed.
 *
 * A request that began in the old module graph waits for the new dependency, and gets it from the new graph, together
 * with a second copy of what it already holds. It fails, or answers with the wrong context, and nothing marks its
 * error: the hash that Vite compares is replaced by the commit itself. So every answer that is not complete at a commit
 * with a reload is discarded, as long as no byte of its body was sent, and the request runs once more when the runners
 * have reported that they have the new graph. Requests that arrive in between wait as well.
 *
 * The commit itself is never delayed: a request that waits for the discovery would wait forever.
 */

import type { IncomingMessage, ServerResponse } from 'node:http'
import { setImmediate as nextTurn } from 'node:timers/promises'
import type { Connect, DevEnvironment, ViteDevServer } from 'vite'
import { attempt } from '../../native/callbacks.js'
import { isSeeded } from '../../native/seeded-bugs.js'
import { HeldAnswer } from './held-answer.js'
import { pendingDiscovery } from './optimizer.js'
import { isWhole, remember, reset, type Untouched } from './replay.js'
import type { RescueLimits } from './rescue-options.js'
import { RunnerReports } from './runner-reports.js'
import { refuseOvertaken } from './watched-answer.js'

/** Replays of one request. Each needs a further commit with a reload, so this bounds a server that never settles. */
const MOST_REPLAYS = 8

/** A request that can be replayed. */
interface Flight {
  request: IncomingMessage
  response: ServerResponse
  untouched: Untouched
  answer: HeldAnswer
  replays: number
}

export class Rescue {
  readonly #server: ViteDevServer
  readonly #limits: RescueLimits
  readonly #methods: readonly string[]
  readonly #flights = new Set<Flight>()
  readonly #flightOf = new WeakMap<IncomingMessage, Flight>()
  /** Number of commits with a reload so far. */
  #commits = 0
  /** Resolves when the runners have worked off the latest reload. */
  #reloaded: Promise<void> | undefined
  #isWaitingForDiscovery = false
  #isExplained = false

  constructor(server: ViteDevServer, limits: RescueLimits, methods: readonly string[]) {
    this.#server = server
    this.#limits = limits
    this.#methods = methods
  }

  /** Calls `start` when the runners have worked off the latest reload: immediately, if they have. */
  admit(request: IncomingMessage, response: ServerResponse, start: () => void): void {
    const begin = (): void => {
      if (response.destroyed) return
      this.#begin(request, response)
      start()
    }
    // A replay has waited.
    if (this.#flightOf.has(request)) start()
    else if (this.#reloaded === undefined) begin()
    else void this.ready().then(begin)
  }

  /** Resolves when no runner has a reload left to work off. Never rejects. */
  async ready(): Promise<void> {
    if (__WARMSWAP_TESTING__ && isSeeded('rescue-before-ready')) return
    while (this.#reloaded !== undefined) await this.#reloaded
  }

  /** An environment was re-optimized, and its module graph is thrown away. */
  overtake(): void {
    this.#commits += 1
    for (const flight of this.#flights) {
      if (flight.replays >= MOST_REPLAYS) flight.answer.release()
      else flight.answer.overtake()
    }
    const reloaded = this.#afterReload().then(() => {
      if (this.#reloaded !== reloaded) return
      this.#reloaded = undefined
      for (const { answer } of this.#flights) answer.runnersAreReady()
    })
    this.#reloaded = reloaded
  }

  /** Whether the request may be answered a second time. */
  mayReplay(request: IncomingMessage): boolean {
    if (__WARMSWAP_TESTING__ && isSeeded('rescue-replays-post')) return true
    if (!this.#methods.includes(request.method ?? '') || !isWhole(request)) return false
    let isExcluded = true
    attempt('options.rescue.exclude of staleDepRecovery()', () => {
      isExcluded = this.#limits.exclude(request)
    })
    return !isExcluded
  }

  /** Whether nothing of the answer was sent. */
  isUnsent(request: IncomingMessage, response: ServerResponse): boolean {
    return this.#flightOf.get(request)?.answer.isUnsent ?? !response.headersSent
  }

  /** Forgets what the failed attempt has written. */
  forget(request: IncomingMessage): void {
    this.#flightOf.get(request)?.answer.reset()
  }

  /** Takes a request whose attempt has ended with an error. Returns whether it is replayed. */
  claim(request: IncomingMessage): boolean {
    const flight = this.#flightOf.get(request)
    if (flight === undefined || !flight.answer.isDiscarded) return false
    this.#replay(flight)
    return true
  }

  /** The request leaves Vite's middlewares. A handler outside them cannot be called again. */
  readonly leave: Connect.NextHandleFunction = (request, _response, next) => {
    const flight = this.#flightOf.get(request)
    if (flight !== undefined && !flight.answer.isDiscarded) {
      this.#flights.delete(flight)
      flight.answer.release()
    }
    next()
  }

  #begin(request: IncomingMessage, response: ServerResponse): void {
    const { headers } = request
    // An upgrade, a part of a file and a stream of events are never held.
    const isHandsOff =
      headers.upgrade !== undefined ||
      headers.range !== undefined ||
      /\btext\/event-stream\b/.test(headers.accept ?? '')
    if (isHandsOff || !this.mayReplay(request)) {
      this.#watch(request, response)
      return
    }
    const flight: Flight = {
      request,
      response,
      untouched: remember(request, response),
      replays: 0,
      answer: new HeldAnswer(response, {
        limits: this.#limits,
        isDiscovering: () => this.#discovery() !== undefined,
        onHold: () => this.#releaseAfterDiscovery(),
        onDiscarded: () => this.#replay(flight),
      }),
    }
    this.#flights.add(flight)
    this.#flightOf.set(request, flight)
    response.once('close', () => this.#flights.delete(flight))
  }

  #watch(request: IncomingMessage, response: ServerResponse): void {
    const began = this.#commits
    const message = `A dependency was optimized while this ${request.method} request ran. It was not retried, because it may have side effects. Retry it if it is idempotent.\n`
    refuseOvertaken(response, message, () => this.#commits !== began)
  }

  #replay(flight: Flight): void {
    flight.replays += 1
    // A response that cannot be used again is cut.
    this.#runAgain(flight).catch((error: Error) => flight.response.destroy(error))
  }

  async #runAgain({ request, response, untouched, answer }: Flight): Promise<void> {
    await this.ready()
    if (response.destroyed || !answer.isUnsent) return
    this.#explain(request)
    answer.reset()
    if (!(__WARMSWAP_TESTING__ && isSeeded('rescue-after-a-body-byte'))) reset(request, response, untouched)
    this.#server.middlewares(request, response, (error?: unknown) => {
      if (response.writableEnded) return
      response.statusCode = error === undefined ? 404 : 500
      response.end()
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

  async #afterReload(): Promise<void> {
    // Vite sends the reload in the same turn as the commit; a link passes it on in the next one.
    if (!(__WARMSWAP_TESTING__ && isSeeded('rescue-in-the-old-graph'))) await nextTurn()
    await Promise.all(this.#environments().map((each) => RunnerReports.of(each).settled(this.#limits.readyMs)))
  }

  /** Settles when the dependencies that wait for the optimizer now no longer do. Undefined if none waits. */
  #discovery(): Promise<unknown> | undefined {
    const pending = this.#environments().flatMap((environment) => pendingDiscovery(environment) ?? [])
    return pending.length > 0 ? Promise.allSettled(pending) : undefined
  }

  async #releaseAfterDiscovery(): Promise<void> {
    if (this.#isWaitingForDiscovery) return
    this.#isWaitingForDiscovery = true
    for (let pending = this.#discovery(); pending !== undefined; pending = this.#discovery()) {
      await pending
      // A commit with a reload has overtaken the answers by now.
      await nextTurn()
    }
    this.#isWaitingForDiscovery = false
    for (const { answer } of this.#flights) answer.discoveryEnded()
  }
}
