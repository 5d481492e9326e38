/** The coordinator of one bundle: its builds, its workers, its requests. */

import { assertOpen, type BundleStore, stamp } from '../bundles/index.js'
import { messageOf } from '../native/callbacks.js'
import { invalidArgument, WarmswapError } from '../native/errors.js'
import {
  callback,
  options as checkedOptions,
  milliseconds,
  oneOf,
  signal,
  string,
  wholeNumber,
} from '../native/validate.js'
import { type BuildNeed, type BuildResult, type BuildRun, Builds } from './build.js'
import { type CheckedOptions, type CoordinatorOptions, checkedCoordinatorOptions } from './coordinator-options.js'
import type { WorkerHandle } from './handle.js'
import { type AttachedServer, attach } from './http/attach.js'
import { fetchThrough } from './http/fetch.js'
import { checkedFetchOptions, type Exchanger, type FetchOptions } from './http/options.js'
import { LongAnswer } from './long-answer.js'
import { partsOf } from './parts.js'
import { type Acceptance, type Carry, type DispatchOptions, RequestQueue } from './queue.js'
import { type RebootResult, Workers } from './workers.js'

/** State of a coordinator. */
export interface CoordinatorStatus {
  /**
   * 'building' while a build of this process runs; otherwise the state of the workers. 'failed': there is no worker,
   * because the last build, start or clean-up failed. 'idle': there is no worker, and the next request starts one.
   */
  state: 'idle' | 'building' | 'starting' | 'ready' | 'draining' | 'failed'
  /** The incarnation that serves, or served last. 0 before the first. */
  incarnation: number
  /** The generation that it runs. */
  generation: number | null
  /** Number of requests that are not assigned to a worker. */
  waiting: number
  /**
   * The last failure that nothing has replaced since: of a build, of a start, of the clean-up, or the uncaught error that
   * ended a worker. The error of a worker stays until a worker runs another generation.
   */
  lastError?: Error
}

/** Coordinates one bundle: builds it, publishes it, starts the new worker, then drains the old one. */
export interface Coordinator<Q = unknown, R = unknown> extends AsyncDisposable {
  /**
   * Call it after an input has changed. Returns a stamp that is comparable between the processes of one machine
   * (monotonic microseconds since boot). Takes no lock.
   */
  change(): number
  /**
   * Returns a build that started at or after `atLeast`. Joins or reuses such a build; otherwise exactly one trailing
   * build serves all late callers. The stage is published when `run` resolves. The result of `run` (JSON or undefined)
   * is the generation's `meta`, which every process can read. Resolves with a pin on the generation that contains the
   * change; the caller releases it. After a failed build, the current generation remains in use.
   *
   * @throws {WarmswapError} ERR_TIMEOUT if it takes longer than `timeoutMs`, ERR_CLOSED after close. If the build
   * fails, rejects with the build's error.
   */
  build(need: BuildNeed, run: BuildRun): Promise<BuildResult>
  /**
   * Ensures that a worker newer than `observed` runs the current generation. Concurrent callers share one start, and a
   * worker that is dead but not yet reaped does not delay it. `observed` is the incarnation that the caller saw fail.
   */
  reboot(request: {
    /** Number of the worker that the caller saw fail or wants replaced. `null` before the first worker. */
    observed: number | null
    /** Human-readable reason for the start. */
    reason: string
  }): Promise<RebootResult>
  /**
   * Sends a request to the worker, starting one if there is none. The queue belongs to the bundle, not to a worker:
   * requests are not lost when a worker ends. An answer in parts is a ReadableStream, whatever the worker created it
   * from. It is read as fast as its consumer reads. Cancelling it stops the worker's source. It fails with
   * ERR_WORKER_EXITED if its worker ends, or `drain` milliseconds after its worker was replaced.
   *
   * @throws {WarmswapError} ERR_WORKER_EXITED if a worker ended after it had begun the request, ERR_QUEUE_FULL,
   * ERR_TIMEOUT, ERR_CLOSED.
   */
  dispatch(request: Q, options?: DispatchOptions): Promise<R>
  /**
   * Answers a Fetch request with a worker that calls serveFetch(). Starts a worker if there is none. The bodies of the
   * request and of the answer are streams with back-pressure. An abort of `request.signal` aborts the signal of the
   * `Request` that the worker has.
   *
   * Resolves with a 502, 503 (with Retry-After), 504 or 501 if no worker answers. The header `x-warmswap-error` of that
   * answer has the error's code, or `handler` for an error that the worker's handler threw. In development its body has
   * the message, and the stack of the worker or of the last build. It is HTML if the request accepts that, otherwise text.
   *
   * @throws {WarmswapError} ERR_INVALID_ARGUMENT, ERR_CLOSED. An aborted `request.signal` rejects with its reason.
   */
  fetch(request: Request, options?: FetchOptions): Promise<Response>
  /**
   * Answers all requests of a server of node:http or node:https like fetch(), its `Expect: 100-continue` requests and its
   * malformed requests included. The client's `Host` is kept; forwarding headers (`X-Forwarded-*`, `Forwarded`,
   * `X-Real-IP`) are replaced. A client that disconnects aborts `request.signal` in the worker. The server needs no other
   * listener for requests. Returns a function that stops this; it closes nothing.
   *
   * An upgrade is answered with 501 unless the worker listens (`listen: true`).
   *
   * @throws {WarmswapError} ERR_INVALID_ARGUMENT, ERR_CLOSED.
   */
  attach(server: AttachedServer, options?: FetchOptions): () => void
  /** Returns the state at this moment. Does no I/O. */
  status(): CoordinatorStatus
}

const BUILD_TIMEOUT_MS = 300_000

/**
 * Opens the coordinator of a store. Coordinators of several processes on one store share its builds.
 *
 * @param store Store of the bundle. It stays open when the coordinator is closed.
 * @param options How to start a worker, and how workers follow one another.
 * @returns The coordinator. Close it with `await using`, or with `[Symbol.asyncDispose]()`.
 * @throws {WarmswapError} ERR_INVALID_ARGUMENT for wrong options, ERR_CLOSED if the store was closed.
 */
export function openCoordinator<Q = unknown, R = unknown>(
  store: BundleStore,
  options: CoordinatorOptions<Q, R>,
): Coordinator<Q, R> {
  if (typeof store?.stage !== 'function') throw invalidArgument('store', store, 'a store of openBundles()')
  const checked = checkedCoordinatorOptions(options)
  assertOpen(store)
  return new StoreCoordinator(store, checked)
}

type FailedStep = 'build' | 'start' | 'worker' | 'clean-up'

class StoreCoordinator<Q, R> implements Coordinator<Q, R> {
  /** The last failure of each kind, oldest first. */
  private readonly failures = new Map<FailedStep, Error>()
  private readonly queue: RequestQueue
  private readonly exchanger: Exchanger = {
    accept: (carry, acceptance) => {
      this.assertOpen()
      return this.accept(carry, acceptance)
    },
    buildError: () => this.failures.get('build'),
    retryAfter: () => Math.max(1, Math.ceil(this.workers.pauseMs / 1_000)),
  }
  private readonly builds: Builds
  private readonly workers: Workers<Q, R>
  private closing: Promise<void> | undefined

  constructor(store: BundleStore, { start, queueLimit, succession, quiet }: CheckedOptions<Q, R>) {
    this.queue = new RequestQueue(queueLimit)
    this.builds = new Builds(store, quiet, (error) => this.failed('build', error))
    this.workers = new Workers(store, start, this.queue, succession, {
      started: (isNew) => {
        this.failures.delete('start')
        // The same code can fail again: its error stays until other code runs.
        if (isNew) this.failures.delete('worker')
      },
      workerFailed: (error) => this.failed('worker', error),
      startFailed: (error) => this.failed('start', error),
      cleanUpFailed: (error) => this.failed('clean-up', error),
    })
  }

  change(): number {
    this.builds.changed()
    // Later than the start of each build before this call, also of one in the same microsecond.
    return stamp() + 1
  }

  async build(need: BuildNeed, run: BuildRun): Promise<BuildResult> {
    const {
      atLeast,
      timeoutMs = BUILD_TIMEOUT_MS,
      signal: abort,
    } = checkedOptions('need', need, ['atLeast', 'signal', 'timeoutMs'])
    wholeNumber('need.atLeast', atLeast)
    if ((atLeast as number) > this.change())
      throw invalidArgument('need.atLeast', atLeast, 'a stamp of change() from this boot')
    milliseconds('need.timeoutMs', timeoutMs)
    signal('need.signal', abort)?.throwIfAborted()
    callback('run', run)
    this.assertOpen()
    const result = await this.builds.build(
      { atLeast: atLeast as number, timeoutMs, ...(abort && { signal: abort }) },
      run,
    )
    this.failures.delete('build')
    return result
  }

  async reboot(request: { observed: number | null; reason: string }): Promise<RebootResult> {
    const { observed, reason } = checkedOptions('request', request, ['observed', 'reason'])
    if (observed !== null) wholeNumber('request.observed', observed)
    string('request.reason', reason)
    this.assertOpen()
    return this.workers.reboot(observed as number | null)
  }

  async dispatch(request: Q, options?: DispatchOptions): Promise<R> {
    const checked = checkedOptions('options', options, ['replay', 'timeoutMs', 'signal'])
    oneOf('options.replay', checked.replay ?? 'never', ['never', 'idempotent'])
    if (checked.timeoutMs !== undefined) milliseconds('options.timeoutMs', checked.timeoutMs, { infinity: true })
    signal('options.signal', checked.signal)
    this.assertOpen()
    const { replay, timeoutMs = 30_000, signal: abort } = checked
    const carry: Carry<unknown> = async (handle, context) => {
      const answer = await (handle as WorkerHandle<Q, R>).send(request, context)
      const parts = partsOf(answer)
      return parts ? new LongAnswer(parts) : answer
    }
    const answer = await this.accept(carry, { idempotent: replay === 'idempotent', timeoutMs, signal: abort })
    return (answer instanceof LongAnswer ? answer.until(abort).stream : answer) as R
  }

  async fetch(request: Request, options?: FetchOptions): Promise<Response> {
    const checked = checkedFetchOptions(options)
    this.assertOpen()
    return await fetchThrough(this.exchanger, request, checked)
  }

  attach(server: AttachedServer, options?: FetchOptions): () => void {
    const checked = checkedFetchOptions(options)
    this.assertOpen()
    return attach(server, this.exchanger, checked)
  }

  status(): CoordinatorStatus {
    const { incarnation, generation } = this.workers
    const lastError = [...this.failures.values()].at(-1)
    return { state: this.state(), incarnation, generation, waiting: this.queue.length, ...(lastError && { lastError }) }
  }

  [Symbol.asyncDispose](): Promise<void> {
    this.closing ??= this.close()
    return this.closing
  }

  private async close(): Promise<void> {
    const closed = new WarmswapError('ERR_CLOSED', 'the coordinator was closed')
    const built = this.builds.close(closed)
    this.queue.rejectAll(closed)
    await this.workers.close()
    await built
    this.queue.rejectAll(closed)
  }

  private accept<T>(carry: Carry<T>, acceptance: Acceptance): Promise<T> {
    return this.queue.accept(carry, acceptance, (taken) => this.workers.hand(taken))
  }

  private assertOpen(): void {
    if (this.closing) throw new WarmswapError('ERR_CLOSED', 'the coordinator is closed')
  }

  private state(): CoordinatorStatus['state'] {
    if (this.builds.running) return 'building'
    const { phase } = this.workers
    if (phase !== 'none') return phase
    // After a crash the next request starts a worker as if there had been none.
    return [...this.failures.keys()].some((step) => step !== 'worker') ? 'failed' : 'idle'
  }

  private failed(kind: FailedStep, error: unknown): void {
    this.failures.delete(kind)
    this.failures.set(kind, error instanceof Error ? error : new Error(messageOf(error)))
  }
}
