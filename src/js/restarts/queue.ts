/**
 * Requests belong to the bundle, not to a worker, and so outlive the worker that was to answer them.
 *
 * A request is answered once, by the worker that it was last assigned to. Later messages of earlier workers are
 * refused. A worker reports when it begins a request. If a worker dies, requests that it had not begun go to the next
 * worker; requests that it had begun go there only if the caller declared them idempotent.
 */

import { setMaxListeners } from 'node:events'
import { WarmswapError } from '../native/errors.js'
import { isSeeded } from '../native/seeded-bugs.js'
import { Cancellation } from './cancellation.js'
import { markWaiting } from './failures.js'
import { type SendContext, type WorkerHandle, wasNotBegun } from './handle.js'
import { lastingOf } from './long-answer.js'
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
/**
 * From this number of worker deaths on, a request is sent only while no other suspect is in flight. A worker that was killed
 * once had perhaps 100 requests, and to send those one at a time took 28 s under load.
 */
const DEATHS_OF_A_SUSPECT = 3

/** What is reported about a request while it is carried out. */
export interface Progress {
  /** Starts the time of its answer again: something of it has moved. */
  touch(): void
  /** Whether something of it can have reached the worker. Nobody has to report it: `true` is assumed. */
  begun(isBegun: boolean): void
}

/** How a worker carries out one request. */
export type Carry<T> = (handle: WorkerHandle<never, unknown>, context: SendContext, progress: Progress) => Promise<T>

/** A worker as the queue sees it. */
export interface Answerer {
  readonly incarnation: number
  readonly inFlight: Set<Request>
  carry(request: Request): Promise<unknown>
  /** Called after a request was taken out of `inFlight`. */
  released(): void
}

/** One request until it is answered. */
export interface Request extends Progress {
  readonly carry: Carry<unknown>
  readonly idempotent: boolean
  readonly cancellation: Cancellation
  settle(how: { value: unknown } | { error: unknown }): void
  /** Gets it to a worker. */
  hand(request: Request): void
  settled: boolean
  answerer: Answerer | undefined
  deaths: number
  /** Several workers ended after they had begun this request: perhaps because of it. */
  isSuspect: boolean
}

/** How long a request waits, and whether it may be sent again. */
export interface Acceptance {
  idempotent: boolean
  timeoutMs: number
  signal?: AbortSignal | undefined
  /** The request's own cancellation, for a caller that needs no AbortSignal: one costs 2 µs per request. */
  cancellation?: Cancellation | undefined
}

/** The requests of one bundle. */
export class RequestQueue {
  private readonly waiting: Request[] = []
  /** Requests of which nothing has reached a worker. */
  private readonly mayBeSentAgain = new WeakSet<Request>()

  constructor(private readonly limit: number) {}

  /** Requests that are not assigned to a worker. */
  get length(): number {
    return this.waiting.length
  }

  /** Takes a request; `hand` gets it to a worker. */
  accept<T>(carry: Carry<T>, acceptance: Acceptance, hand: (request: Request) => void): Promise<T> {
    const { idempotent, timeoutMs, signal, cancellation = new Cancellation() } = acceptance
    return new Promise<unknown>((resolve, reject) => {
      if (signal?.aborted) return reject(signal.reason)
      if (cancellation.isCancelled) return reject(cancellation.reason)
      if (this.waiting.length >= this.limit) return reject(this.full())
      const abort = (): void => request.settle({ error: signal?.reason })
      const timer =
        timeoutMs === Infinity
          ? undefined
          : setTimeout(
              () => request.settle({ error: this.late(request, timeoutMs) }),
              Math.min(timeoutMs, LONGEST_TIMER_MS),
            )
      const request: Request = {
        carry,
        idempotent,
        cancellation,
        settled: false,
        answerer: undefined,
        deaths: 0,
        isSuspect: false,
        hand,
        touch: () => void (request.settled || timer?.refresh()),
        begun: (isBegun) => void (isBegun ? this.mayBeSentAgain.delete(request) : this.mayBeSentAgain.add(request)),
        settle: (how) => {
          if (request.settled) return
          request.settled = true
          clearTimeout(timer)
          signal?.removeEventListener('abort', abort)
          this.forget(request)
          if ('value' in how) return resolve(how.value)
          cancellation.cancel(how.error)
          reject(how.error)
        },
      }
      signal?.addEventListener('abort', abort, { once: true })
      if (acceptance.cancellation) cancellation.onCancel(() => request.settle({ error: cancellation.reason }))
      hand(request)
    }) as Promise<T>
  }

  /** Keeps a request until there is a worker. */
  wait(request: Request): void {
    if (!request.settled) this.waiting.push(request)
  }

  /** Gives a request to a worker. */
  assign(request: Request, answerer: Answerer): void {
    if (request.settled) return
    // One at a time: if it ends this worker too, it takes no other suspect with it.
    if (request.isSuspect && hasSuspect(answerer)) return void this.wait(request)
    request.answerer = answerer
    this.mayBeSentAgain.delete(request)
    answerer.inFlight.add(request)
    // Only the worker to which the request is currently assigned may answer it.
    const isCurrent = (): boolean =>
      request.answerer === answerer || (__WARMSWAP_TESTING__ && isSeeded('accept-late-replies'))
    answerer.carry(request).then(
      (value) => {
        if (isCurrent()) request.settle({ value })
        // Nobody would read it, and its worker would wait for that.
        else lastingOf(value)?.cut(tooLate(answerer.incarnation))
      },
      (error) => isCurrent() && this.unanswered(request, error),
    )
  }

  /** Gives everything that waits to a worker, oldest first. */
  assignAll(answerer: Answerer): void {
    for (const request of this.waiting.splice(0)) this.assign(request, answerer)
  }

  /**
   * The requests of a worker that has ended: those that may be sent again return to the queue, the others fail. `cause`
   * is the error that ended the worker.
   */
  reclaim(answerer: Answerer, cause?: unknown): Request[] {
    const returned: Request[] = []
    for (const request of [...answerer.inFlight]) {
      this.release(request)
      if (__WARMSWAP_TESTING__ && isSeeded('queue-on-the-worker')) continue
      const wasNotBegun = this.mayBeSentAgain.delete(request)
      request.deaths += 1
      if (request.deaths <= LONGEST_ROW_OF_DEATHS && (request.idempotent || wasNotBegun)) {
        request.isSuspect ||= !wasNotBegun && request.deaths >= DEATHS_OF_A_SUSPECT
        // Each worker that has it listens to its signal.
        setMaxListeners(LONGEST_ROW_OF_DEATHS + 2, request.cancellation.signal)
        returned.push(request)
      } else
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

  private unanswered(request: Request, error: unknown): void {
    // Its worker is going: reclaim() decides about it, once the worker is known to be gone.
    if (isWorkerGone(error)) {
      if (wasNotBegun(error)) this.mayBeSentAgain.add(request)
      return
    }
    request.settle({ error })
  }

  private release(request: Request): void {
    const { answerer } = request
    if (answerer === undefined) return
    request.answerer = undefined
    answerer.inFlight.delete(request)
    answerer.released()
    if (request.isSuspect) this.handNextSuspect()
  }

  private handNextSuspect(): void {
    const at = this.waiting.findIndex(({ isSuspect }) => isSuspect)
    if (at >= 0) for (const next of this.waiting.splice(at, 1)) next.hand(next)
  }

  private full(): WarmswapError {
    return new WarmswapError(
      'ERR_QUEUE_FULL',
      `${this.limit} requests already wait for a worker (queueLimit); this one was not taken`,
    )
  }

  private forget(request: Request): void {
    this.release(request)
    const at = this.waiting.indexOf(request)
    if (at >= 0) this.waiting.splice(at, 1)
  }

  private late(request: Request, timeoutMs: number): WarmswapError {
    const { answerer } = request
    const where = answerer ? `worker ${answerer.incarnation} had it` : 'no worker had taken it'
    const error = new WarmswapError('ERR_TIMEOUT', `no answer within ${timeoutMs} ms; ${where}`)
    return answerer ? error : markWaiting(error)
  }
}

function hasSuspect({ inFlight }: Answerer): boolean {
  for (const { isSuspect } of inFlight) if (isSuspect) return true
  return false
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
