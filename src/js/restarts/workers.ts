/**
 * Workers: one serves, at most one starts, some drain.
 *
 * The incarnation counts starts. A new worker is started concurrently with the old one and takes over when it is ready.
 * Then the old one finishes its requests, up to a deadline. A worker is never stopped before its successor is ready.
 * Callers name the incarnation that they saw fail, so that several callers that saw the same failure cause one start,
 * and so that no request is lost to a worker that is dead but not yet reaped.
 */

import type { BundleStore, Pin } from '../bundles/index.js'
import { invalidArgument, WarmswapError } from '../native/errors.js'
import { isSeeded } from '../native/seeded-bugs.js'
import { checkedHandle, contextOfOne, type WorkerHandle } from './handle.js'
import { LongAnswer } from './long-answer.js'
import { partsOf } from './parts.js'
import type { Answerer, Request, RequestQueue } from './queue.js'
import { type Deferred, deferred, within } from './wait.js'

/** Arguments of a worker's start. */
export interface StartContext {
  incarnation: number
  /** The generation to run. It is kept until the worker has ended. */
  pin: Pin
  /** Aborts when the start takes too long or the coordinator closes. */
  signal: AbortSignal
}

/** Starts a worker on a pinned generation. */
export type Start<Q, R> = (context: StartContext) => Promise<WorkerHandle<Q, R>>

/** Result of a reboot. */
export interface RebootResult {
  incarnation: number
  outcome: 'started' | 'joined' | 'already'
}

/** Minimum time in milliseconds for a worker to end by itself when its draining took all of drainMs. */
const LEAST_STOP_MS = 1_000

/**
 * Time in milliseconds that a handle may take beyond the deadline it was given: it has to kill the worker, and the
 * kernel has to reap it.
 */
const AFTER_STOP_MS = 5_000

interface Starting {
  readonly incarnation: number
  readonly generation: number
  readonly done: Promise<void>
  readonly abandon: AbortController
}

class Worker<Q, R> implements Answerer<Q, R> {
  readonly inFlight = new Set<Request<Q, R>>()
  /** Answers in parts, whose requests are already settled. */
  readonly answers = new Set<LongAnswer>()
  readonly emptied: Deferred<void> = deferred()
  draining = false

  constructor(
    readonly incarnation: number,
    readonly pin: Pin,
    readonly handle: WorkerHandle<Q, R>,
  ) {}

  get busy(): number {
    return this.inFlight.size + (__WARMSWAP_TESTING__ && isSeeded('drain-without-streams') ? 0 : this.answers.size)
  }

  async send(request: Q, signal: AbortSignal): Promise<R | LongAnswer> {
    const answer = await this.handle.send(request, contextOfOne(this.incarnation, signal))
    const parts = partsOf(answer)
    return parts ? this.keep(new LongAnswer(parts)) : answer
  }

  released(): void {
    this.resolveIfEmpty()
  }

  private keep(answer: LongAnswer): LongAnswer {
    this.answers.add(answer)
    void answer.ended.then(() => {
      this.answers.delete(answer)
      this.resolveIfEmpty()
    })
    return answer
  }

  private resolveIfEmpty(): void {
    if (this.draining && this.busy === 0) this.emptied.resolve()
  }
}

/** The workers of one bundle. */
export class Workers<Q, R> {
  private last = 0
  private starting: Starting | undefined
  private serving: Worker<Q, R> | undefined
  private readonly leaving = new Set<Promise<void>>()
  private closed = false

  constructor(
    private readonly store: BundleStore,
    private readonly start: Start<Q, R>,
    private readonly queue: RequestQueue<Q, R>,
    private readonly limits: { drainMs: number; startTimeoutMs: number },
    private readonly report: {
      startFailed(error: unknown): void
      started(): void
      workerFailed(error: Error): void
      cleanUpFailed(error: unknown): void
    },
  ) {}

  /** The incarnation that serves, or served last. */
  get incarnation(): number {
    return this.serving?.incarnation ?? (this.starting ? this.last - 1 : this.last)
  }

  get generation(): number | null {
    return this.serving?.pin.generation.number ?? null
  }

  get phase(): 'starting' | 'draining' | 'ready' | 'none' {
    if (this.starting) return 'starting'
    if (this.leaving.size > 0 && this.serving) return 'draining'
    return this.serving ? 'ready' : 'none'
  }

  async reboot(observed: number | null): Promise<RebootResult> {
    if (observed !== null && observed > this.last)
      throw invalidArgument(
        'request.observed',
        observed,
        `an incarnation that was started (the last is ${this.last}), or null`,
      )
    for (let joined = false; ; joined = true) {
      const { starting, serving } = this
      if (starting) {
        const enough = this.isEnough(starting.incarnation, starting.generation, observed)
        // A worker that starts on an older generation does not contain what this caller built: one more start follows
        // it.
        await (enough ? starting.done : starting.done.catch(() => {}))
        if (enough) return { incarnation: starting.incarnation, outcome: 'joined' }
      } else if (serving && this.isEnough(serving.incarnation, serving.pin.generation.number, observed)) {
        return { incarnation: serving.incarnation, outcome: joined ? 'joined' : 'already' }
      } else {
        const own = this.launch()
        await own.done
        return { incarnation: own.incarnation, outcome: 'started' }
      }
    }
  }

  /** Assigns a request to the serving worker, or to the one that will serve. */
  hand(request: Request<Q, R>): void {
    if (this.closed) return void request.settle({ error: closed() })
    if (this.serving) return void this.queue.assign(request, this.serving)
    this.queue.wait(request)
    this.wake()
  }

  /** Stops everything. Resolves once all workers have ended. */
  async close(): Promise<void> {
    this.closed = true
    this.starting?.abandon.abort(closed())
    await this.starting?.done.catch(() => {})
    if (this.serving) this.retire(this.serving)
    await Promise.all(this.leaving)
  }

  private isEnough(incarnation: number, generation: number, observed: number | null): boolean {
    return incarnation > (observed ?? 0) && generation === (this.store.current()?.number ?? generation)
  }

  private wake(): void {
    if (this.starting || this.serving || this.closed || this.queue.length === 0) return
    // The error of a failed start is passed to all its waiters.
    try {
      this.launch()
    } catch (error) {
      this.report.startFailed(error)
      this.queue.rejectAll(error)
    }
  }

  private launch(): Starting {
    if (this.closed) throw closed()
    const pin = this.store.pin()
    const incarnation = ++this.last
    const abandon = new AbortController()
    const done = this.bringUp({ incarnation, pin, signal: abandon.signal }, abandon)
    const starting: Starting = { incarnation, generation: pin.generation.number, done, abandon }
    this.starting = starting
    done.catch(() => {})
    return starting
  }

  private async bringUp(context: StartContext, abandon: AbortController): Promise<void> {
    const { incarnation, pin } = context
    try {
      if (__WARMSWAP_TESTING__ && isSeeded('stop-before-build') && this.serving) await this.retire(this.serving)
      const handle = await this.startInTime(context, abandon)
      this.starting = undefined
      this.serveWith(new Worker(incarnation, pin, handle))
      this.report.started()
    } catch (error) {
      this.starting = undefined
      this.report.startFailed(error)
      if (!this.serving) this.queue.rejectAll(error)
      throw error
    }
  }

  private async startInTime(context: StartContext, abandon: AbortController): Promise<WorkerHandle<Q, R>> {
    // In a turn of its own, so that `starting` is set before code of the caller runs.
    const started = Promise.resolve()
      .then(() => this.start(context))
      .then(checkedHandle)
    const { startTimeoutMs: timeoutMs } = this.limits
    const late = (): WarmswapError =>
      new WarmswapError(
        'ERR_NOT_READY',
        `worker ${context.incarnation} was not ready within ${timeoutMs} ms (startTimeoutMs)`,
      )
    try {
      return await within(started, { signal: abandon.signal, timeoutMs, late })
    } catch (error) {
      abandon.abort(error)
      // A worker that becomes ready too late has no requests to serve. Its generation is kept until it has ended.
      void started
        .then((handle) => handle.stop(0))
        .catch(() => {})
        .finally(() => context.pin.release())
      throw error
    }
  }

  private serveWith(worker: Worker<Q, R>): void {
    const old = this.serving
    this.serving = worker
    void this.follow(worker)
    if (old) this.retire(old)
    if (this.closed) this.retire(worker)
    else this.queue.assignAll(worker)
  }

  /** Waits for the worker's end, for whatever reason, and takes its requests back. */
  private async follow(worker: Worker<Q, R>): Promise<void> {
    const end = await exited(worker.handle).catch(this.report.cleanUpFailed)
    const error = (end as { error?: unknown } | undefined)?.error
    if (error instanceof Error) this.report.workerFailed(error)
    // The queue knows one turn after the worker's end which requests it had answered or not begun.
    await new Promise(setImmediate)
    this.letGo(worker, error)
  }

  /** The worker has ended, or is considered ended. */
  private letGo(worker: Worker<Q, R>, error?: unknown): void {
    if (this.serving === worker) this.serving = undefined
    worker.emptied.resolve()
    worker.pin.release()
    for (const request of this.queue.reclaim(worker, error)) this.hand(request)
    this.wake()
  }

  /** Lets the worker finish what it has, then stops it. Never rejects. */
  private retire(worker: Worker<Q, R>): Promise<void> {
    if (this.serving === worker) this.serving = undefined
    const gone = this.drain(worker)
      .catch(this.report.cleanUpFailed)
      .finally(() => this.leaving.delete(gone))
    this.leaving.add(gone)
    return gone
  }

  private async drain(worker: Worker<Q, R>): Promise<void> {
    const { drainMs } = this.limits
    const started = performance.now()
    worker.draining = true
    if (worker.busy > 0) {
      const late = (): WarmswapError =>
        new WarmswapError(
          'ERR_WORKER_EXITED',
          `worker ${worker.incarnation} was replaced and had not finished its answer after ${drainMs} ms (drainMs)`,
        )
      await within(worker.emptied.promise, { timeoutMs: drainMs, late }).catch((error: unknown) =>
        worker.answers.forEach((answer) => answer.cut(error)),
      )
    }
    const deadlineMs = Math.max(LEAST_STOP_MS, drainMs - (performance.now() - started))
    const late = (): WarmswapError =>
      new WarmswapError(
        'ERR_TIMEOUT',
        `worker ${worker.incarnation} had not ended ${AFTER_STOP_MS} ms after the deadline of its stop(${deadlineMs})`,
      )
    try {
      await within(stopped(worker.handle, deadlineMs), { timeoutMs: deadlineMs + AFTER_STOP_MS, late })
    } catch (error) {
      // Its end may never be reported: its requests must not wait for that.
      this.letGo(worker)
      throw error
    }
  }
}

/** Resolves once the worker has ended, even if the handle's promise comes from another library. */
async function exited(handle: WorkerHandle<never, unknown>): Promise<unknown> {
  return await handle.exited
}

async function stopped(handle: WorkerHandle<never, unknown>, deadlineMs: number): Promise<void> {
  await handle.stop(deadlineMs)
  await handle.exited
}

function closed(): WarmswapError {
  return new WarmswapError('ERR_CLOSED', 'the coordinator is closed')
}
