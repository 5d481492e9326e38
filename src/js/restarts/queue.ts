/**
 * Requests belong to the bundle, not to a worker, and so outlive the worker that was to answer them.
 *
 * A request is answered once, by the worker that it was last assigned to. Later messages of earlier workers are
 * refused. A worker reports when it begins a request. If a worker dies, requests that it had not begun go to the next
 * worker; requests that it had begun go there only if the caller declared them idempotent.
 */

import { WarmswapError } from '../native/errors.js'
import { isSeeded } from '../native/seeded-bugs.js'
import { wasNotBegun } from './handle.js'
import { LongAnswer } from './long-answer.js'
import { LONGEST_TIMER_MS } from './wait.js'

/** How a request may be handled. */
export interface DispatchOptions {
  /** Whether to send a request again if its worker had begun it and died. @default 'never' */
  replay?: 'never' | 'idempotent'
  /** Time limit in milliseconds until the answer, or the beginning of an answer in parts. @default 30_000 */
  timeoutMs?: number
  /** Cancels the request, even in the middle of an answer in parts. The worker is notified. */
  signal?: AbortSignal
}

/** Number of worker deaths that one request survives: a request that kills its worker must not be retried forever. */
const LONGEST_ROW_OF_DEATHS = 10

/** A worker as the queue needs it. */
export interface Answerer<Q, R> {
  readonly incarnation: number
  readonly inFlight: Set<Request<Q, R>>
  send(request: Q, signal: AbortSignal): Promise<R | LongAnswer>
  /** Called after a request was removed from `inFlight`. */
  released(): void
}

/** One request, until it is answered. */
export interface Request<Q, R> {
  readonly value: Q
  readonly idempotent: boolean
  readonly given: AbortController
  settle(how: { value: R | LongAnswer } | { error: unknown }): void
  settled: boolean
  answerer: Answerer<Q, R> | undefined
  deaths: number
}

/** The requests of one bundle. */
export class RequestQueue<Q, R> {
  private readonly waiting: Request<Q, R>[] = []

  constructor(private readonly limit: number) {}

  /** Requests that are not assigned to a worker. */
  get length(): number {
    return this.waiting.length
  }

  /** Accepts a request. `hand` assigns it to a worker. */
  accept(
    value: Q,
    { replay = 'never', timeoutMs = 30_000, signal }: DispatchOptions,
    hand: (request: Request<Q, R>) => void,
  ): Promise<R> {
    return new Promise((resolve, reject) => {
      if (signal?.aborted) return reject(signal.reason)
      if (this.waiting.length >= this.limit) {
        return reject(
          new WarmswapError(
            'ERR_QUEUE_FULL',
            `${this.limit} requests already wait for a worker (queueLimit); this one was not accepted`,
          ),
        )
      }
      const abort = (): void => request.settle({ error: signal?.reason })
      const timer =
        timeoutMs === Infinity
          ? undefined
          : setTimeout(
              () => request.settle({ error: this.late(request, timeoutMs) }),
              Math.min(timeoutMs, LONGEST_TIMER_MS),
            )
      const request: Request<Q, R> = {
        value,
        idempotent: replay === 'idempotent',
        given: new AbortController(),
        settled: false,
        answerer: undefined,
        deaths: 0,
        settle: (how) => {
          if (request.settled) return
          request.settled = true
          clearTimeout(timer)
          signal?.removeEventListener('abort', abort)
          this.forget(request)
          if ('value' in how)
            resolve(how.value instanceof LongAnswer ? (how.value.until(signal).stream as R) : how.value)
          else {
            request.given.abort(how.error)
            reject(how.error)
          }
        },
      }
      signal?.addEventListener('abort', abort, { once: true })
      hand(request)
    })
  }

  /** Queues a request until there is a worker. */
  wait(request: Request<Q, R>): void {
    if (!request.settled) this.waiting.push(request)
  }

  /** Assigns a request to a worker. */
  assign(request: Request<Q, R>, answerer: Answerer<Q, R>): void {
    if (request.settled) return
    request.answerer = answerer
    answerer.inFlight.add(request)
    // Only the worker to which the request is currently assigned may answer it.
    const isCurrent = (): boolean =>
      request.answerer === answerer || (__WARMSWAP_TESTING__ && isSeeded('accept-late-replies'))
    answerer.send(request.value, request.given.signal).then(
      (value) => {
        if (isCurrent()) request.settle({ value })
        // No caller would read it, and its worker would wait for that.
        else if (value instanceof LongAnswer) value.cut(tooLate(answerer.incarnation))
      },
      (error) => isCurrent() && this.unanswered(request, error),
    )
  }

  /** Assigns all waiting requests to a worker, oldest first. */
  assignAll(answerer: Answerer<Q, R>): void {
    for (const request of this.waiting.splice(0)) this.assign(request, answerer)
  }

  /**
   * The requests of a worker that has ended: those that may be sent again return to the queue, the others fail. `cause`
   * is the error that ended the worker.
   */
  reclaim(answerer: Answerer<Q, R>, cause?: unknown): Request<Q, R>[] {
    const returned: Request<Q, R>[] = []
    for (const request of [...answerer.inFlight]) {
      this.release(request)
      if (__WARMSWAP_TESTING__ && isSeeded('queue-on-the-worker')) continue
      if (this.mayGoOn(request)) returned.push(request)
      else
        request.settle({
          error:
            request.deaths > LONGEST_ROW_OF_DEATHS
              ? killedTooMany(answerer.incarnation, cause)
              : exitedWhileBusy(answerer.incarnation, cause),
        })
    }
    return returned
  }

  /** Fails all waiting requests with an error. */
  rejectAll(error: unknown): void {
    for (const request of this.waiting.splice(0)) request.settle({ error })
  }

  private readonly mayBeSentAgain = new WeakSet<Request<Q, R>>()

  private mayGoOn(request: Request<Q, R>): boolean {
    request.deaths += 1
    return request.deaths <= LONGEST_ROW_OF_DEATHS && (request.idempotent || this.mayBeSentAgain.delete(request))
  }

  private unanswered(request: Request<Q, R>, error: unknown): void {
    // Its worker is going: reclaim() decides about it, once the worker is known to be gone.
    if (isWorkerGone(error)) {
      if (wasNotBegun(error)) this.mayBeSentAgain.add(request)
      return
    }
    request.settle({ error })
  }

  private release(request: Request<Q, R>): void {
    const { answerer } = request
    if (answerer === undefined) return
    request.answerer = undefined
    answerer.inFlight.delete(request)
    answerer.released()
  }

  private forget(request: Request<Q, R>): void {
    this.release(request)
    const at = this.waiting.indexOf(request)
    if (at >= 0) this.waiting.splice(at, 1)
  }

  private late(request: Request<Q, R>, timeoutMs: number): WarmswapError {
    const where = request.answerer ? `worker ${request.answerer.incarnation} had it` : 'no worker had accepted it'
    return new WarmswapError('ERR_TIMEOUT', `no answer within ${timeoutMs} ms; ${where}`)
  }
}

function isWorkerGone(error: unknown): boolean {
  return error instanceof WarmswapError && error.code === 'ERR_WORKER_EXITED'
}

function tooLate(incarnation: number): WarmswapError {
  return new WarmswapError(
    'ERR_WORKER_EXITED',
    `worker ${incarnation} began to answer a request that was no longer its own`,
  )
}

function killedTooMany(incarnation: number, cause: unknown): WarmswapError {
  return new WarmswapError(
    'ERR_WORKER_EXITED',
    `${LONGEST_ROW_OF_DEATHS + 1} workers in a row ended while they had this request, the last one was ${incarnation}: it is not sent again`,
    { cause },
  )
}

function exitedWhileBusy(incarnation: number, cause: unknown): WarmswapError {
  return new WarmswapError(
    'ERR_WORKER_EXITED',
    `worker ${incarnation} ended while it had this request, which may or may not have been carried out; declare it replay: 'idempotent' to have it sent again`,
    { cause },
  )
}
