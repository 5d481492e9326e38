/** The coordinator of one bundle: its builds, its workers, its requests. */

import { type BundleStore, assertOpen, stamp } from '../bundles/index.js'
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
import { type DispatchOptions, RequestQueue } from './queue.js'
import { type RebootResult, type Start, Workers } from './workers.js'

/** Options of {@link openCoordinator}. */
export interface CoordinatorOptions<Q, R> {
  /** Starts a worker on a pinned generation. Called at most once per incarnation. */
  start: Start<Q, R>
  /** Number of requests that may wait for a worker. @default 1_000 */
  queueLimit?: number
  /**
   * Time limit in milliseconds for an old worker to finish its requests, answers in parts included, after its successor
   * took over. @default 5_000
   */
  drainMs?: number
  /** Time limit of `start` in milliseconds. @default 60_000 */
  startTimeoutMs?: number
}

/** State of a coordinator. */
export interface CoordinatorStatus {
  state: 'idle' | 'building' | 'starting' | 'ready' | 'draining' | 'failed'
  /** The incarnation that serves, or served last. 0 before the first. */
  incarnation: number
  /** The generation that it runs. */
  generation: number | null
  /** Number of requests that are not assigned to a worker. */
  waiting: number
  /**
   * The last failure that was not followed by a success: of a build, of a start, of the clean-up, or the uncaught error
   * that ended a worker.
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
  reboot(request: { observed: number | null; reason: string }): Promise<RebootResult>
  /**
   * Sends a request to the worker, starting one if there is none. The queue belongs to the bundle, not to a worker:
   * requests are not lost when a worker ends. An answer in parts is a ReadableStream, whatever the worker created it
   * from. It is read as fast as its consumer reads. Cancelling it stops the worker's source. It fails with
   * ERR_WORKER_EXITED if its worker ends, or `drainMs` after its worker was replaced.
   *
   * @throws {WarmswapError} ERR_WORKER_EXITED if a worker ended after it had begun the request, ERR_QUEUE_FULL,
   * ERR_TIMEOUT, ERR_CLOSED.
   */
  dispatch(request: Q, options?: DispatchOptions): Promise<R>
  status(): CoordinatorStatus
}

const BUILD_TIMEOUT_MS = 300_000

/**
 * Opens the coordinator of a store. Coordinators of several processes on one store share its builds.
 *
 * @throws {WarmswapError} ERR_INVALID_ARGUMENT for wrong options, ERR_CLOSED if the store was closed.
 */
export function openCoordinator<Q = unknown, R = unknown>(
  store: BundleStore,
  options: CoordinatorOptions<Q, R>,
): Coordinator<Q, R> {
  if (typeof store?.stage !== 'function') throw invalidArgument('store', store, 'a store of openBundles()')
  const {
    start,
    queueLimit = 1_000,
    drainMs = 5_000,
    startTimeoutMs = 60_000,
  } = checkedOptions('options', options, ['start', 'queueLimit', 'drainMs', 'startTimeoutMs'])
  callback('options.start', start)
  wholeNumber('options.queueLimit', queueLimit, 1)
  milliseconds('options.drainMs', drainMs)
  milliseconds('options.startTimeoutMs', startTimeoutMs)
  assertOpen(store)
  return new StoreCoordinator(store, start as Start<Q, R>, { queueLimit, drainMs, startTimeoutMs })
}

type FailedStep = 'build' | 'start' | 'worker' | 'clean-up'

class StoreCoordinator<Q, R> implements Coordinator<Q, R> {
  /** The last failure of each kind, oldest first. */
  private readonly failures = new Map<FailedStep, Error>()
  private readonly queue: RequestQueue<Q, R>
  private readonly builds: Builds
  private readonly workers: Workers<Q, R>
  private closing: Promise<void> | undefined

  constructor(
    store: BundleStore,
    start: Start<Q, R>,
    { queueLimit, ...limits }: { queueLimit: number; drainMs: number; startTimeoutMs: number },
  ) {
    this.queue = new RequestQueue(queueLimit)
    this.builds = new Builds(store, (error) => this.failed('build', error))
    this.workers = new Workers(store, start, this.queue, limits, {
      started: () => {
        this.failures.delete('start')
        this.failures.delete('worker')
      },
      workerFailed: (error) => this.failed('worker', error),
      startFailed: (error) => this.failed('start', error),
      cleanUpFailed: (error) => this.failed('clean-up', error),
    })
  }

  change(): number {
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
    return this.queue.accept(request, checked, (taken) => this.workers.hand(taken))
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
