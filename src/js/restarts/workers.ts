/**
 * Workers: one serves, at most one starts, some drain.
 *
 * The incarnation counts starts. With 'start-first' a new worker is started next to the old one and takes over when it is
 * ready; then the old one finishes what it has, up to a limit. With 'stop-first' the old one has ended before the new one is
 * started, and requests wait. A
 * caller says which incarnation it saw fail, so that many who saw the same failure cause one start, and so that a
 * worker that is dead but not yet reaped swallows nobody's request.
 */

import type { BundleStore, Pin } from '../bundles/index.js'
import { invalidArgument, WarmswapError } from '../native/errors.js'
import { isSeeded } from '../native/seeded-bugs.js'
import { BootPause } from './boot-pause.js'
import { type Drain, drainWorker, STOP_MS } from './drain.js'
import { markBoot } from './failures.js'
import { checkedHandle, type WorkerHandle } from './handle.js'
import type { Request, RequestQueue } from './queue.js'
import { pause, within } from './wait.js'
import { Worker } from './worker-state.js'

/** Arguments of a worker's start. */
export interface StartContext {
  /** Number of the worker to start, from 1. */
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
  /** Number of the worker that serves now. */
  incarnation: number
  /**
   * 'started': this call started a worker. 'joined': it waited for the start of another caller. 'already': a worker that
   * is new enough was serving.
   */
  outcome: 'started' | 'joined' | 'already'
}

/** How workers follow one another. */
export interface Succession {
  order: 'start-first' | 'stop-first'
  drain: Drain
  /** Old workers that may drain at the same time. */
  maxDraining: number
  startTimeoutMs: number
}

interface Starting {
  readonly incarnation: number
  readonly generation: number
  readonly done: Promise<void>
  readonly abandon: AbortController
}

/** The workers of one bundle. */
export class Workers<Q, R> {
  private last = 0
  private starting: Starting | undefined
  private serving: Worker<Q, R> | undefined
  private readonly leaving = new Set<Promise<void>>()
  /** Starts that took too long, or failed: resolved once nothing of them is there. */
  private readonly late = new Set<Promise<void>>()
  /** Oldest first. */
  private readonly draining = new Set<Worker<Q, R>>()
  private readonly bootPause = new BootPause()
  /** The generation of the last worker that served. */
  private lastGeneration: number | undefined
  private closed = false

  constructor(
    private readonly store: BundleStore,
    private readonly start: Start<Q, R>,
    private readonly queue: RequestQueue,
    private readonly succession: Succession,
    private readonly report: {
      startFailed(error: unknown): void
      /** `isNew`: it runs another generation than the one before. */
      started(isNew: boolean): void
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

  /** Gets a request to the worker that serves, or to the one that will. */
  hand(request: Request): void {
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
    const { drain } = this.succession
    const limit = setTimeout(() => this.cutAll(), drain === 'until-quiet' ? STOP_MS : drain)
    await Promise.all(this.leaving)
    clearTimeout(limit)
  }

  /** How long the next start waits, in milliseconds. */
  get pauseMs(): number {
    return this.bootPause.leftMs(this.store.current()?.number)
  }

  private cutAll(): void {
    for (const worker of this.draining) worker.cutOff.abort()
  }

  private isEnough(incarnation: number, generation: number, observed: number | null): boolean {
    return incarnation > (observed ?? 0) && generation === (this.store.current()?.number ?? generation)
  }

  private wake(): void {
    if (this.starting || this.serving || this.closed || this.queue.length === 0) return
    // A start that fails has an error for everybody who waited for it.
    if (this.pauseMs > 0) return void this.queue.rejectAll(this.bootPause.lastError)
    try {
      this.launch()
    } catch (error) {
      this.report.startFailed(error)
      this.queue.rejectAll(markBoot(error))
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
    const { number } = pin.generation
    try {
      if (__WARMSWAP_TESTING__ && isSeeded('stop-before-build') && this.serving) await this.retire(this.serving)
      await this.mayStart(context)
      const handle = await this.startInTime(context, abandon)
      this.starting = undefined
      this.bootPause.succeeded()
      const isNew = number !== this.lastGeneration
      this.lastGeneration = number
      this.serveWith(new Worker(incarnation, pin, handle))
      this.report.started(isNew)
    } catch (error) {
      this.starting = undefined
      this.bootPause.failed(number, markBoot(error))
      this.report.startFailed(error)
      if (!this.serving) this.queue.rejectAll(markBoot(error))
      throw error
    }
  }

  /** Waits until a worker may be started. Only here does an order of the workers exist. */
  private async mayStart({ pin, signal, incarnation }: StartContext): Promise<void> {
    try {
      const leftMs = this.bootPause.leftMs(pin.generation.number)
      if (leftMs > 0) await pause(leftMs, signal)
      if (this.succession.order === 'stop-first') await this.stopFirst(incarnation, signal)
      signal.throwIfAborted()
    } catch (error) {
      pin.release()
      throw error
    }
  }

  /** Resolves once no earlier worker exists: neither the one that serves nor one whose start took too long. */
  private async stopFirst(incarnation: number, signal: AbortSignal): Promise<void> {
    if (__WARMSWAP_TESTING__ && isSeeded('start-before-stop')) return
    const old = this.serving
    if (old) this.retire(old)
    const { startTimeoutMs, drain } = this.succession
    const late = (): WarmswapError =>
      new WarmswapError(
        'ERR_TIMEOUT',
        `an earlier worker has not ended, so that worker ${incarnation} was not started (order: 'stop-first')`,
      )
    const timeoutMs = startTimeoutMs + (drain === 'until-quiet' ? 0 : drain)
    await within(Promise.all([...this.leaving, ...this.late]), { signal, timeoutMs, late })
    if (old && !old.hasEnded) throw late()
  }

  private async startInTime(context: StartContext, abandon: AbortController): Promise<WorkerHandle<Q, R>> {
    // In a turn of its own, so that `starting` is set before code of the caller runs.
    const started = Promise.resolve()
      .then(() => this.start(context))
      .then(checkedHandle)
    const { startTimeoutMs: timeoutMs } = this.succession
    const late = (): WarmswapError =>
      new WarmswapError(
        'ERR_NOT_READY',
        `worker ${context.incarnation} was not ready within ${timeoutMs} ms (startTimeoutMs)`,
      )
    try {
      return await within(started, { signal: abandon.signal, timeoutMs, late })
    } catch (error) {
      abandon.abort(error)
      // One that turns up after all has nobody to serve; until it is gone it needs its generation.
      const gone = started
        .then((handle) => handle.stop(0))
        .catch(() => {})
        .finally(() => {
          context.pin.release()
          this.late.delete(gone)
        })
      this.late.add(gone)
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
    worker.hasEnded = true
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
    const gone = drainWorker(worker, this.succession.drain)
      .catch((error: unknown) => {
        // Its end may never be reported: what it had must not wait for that.
        this.letGo(worker)
        this.report.cleanUpFailed(error)
      })
      .finally(() => {
        this.leaving.delete(gone)
        this.draining.delete(worker)
      })
    this.leaving.add(gone)
    this.draining.add(worker)
    if (this.succession.drain === 'until-quiet')
      for (const oldest of [...this.draining].slice(0, -this.succession.maxDraining)) oldest.cutOff.abort()
    return gone
  }
}

/** Resolves once the worker has ended, even if the handle's promise comes from another library. */
async function exited(handle: WorkerHandle<never, unknown>): Promise<unknown> {
  return await handle.exited
}

function closed(): WarmswapError {
  return new WarmswapError('ERR_CLOSED', 'the coordinator is closed')
}
