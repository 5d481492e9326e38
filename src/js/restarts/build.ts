/**
 * Builds shared by concurrent callers, within one process and across processes.
 *
 * A caller may join or reuse only a build that started at or after the change it needs. esbuild's own `rebuild()` joins
 * any running build, and so may return a build without the caller's change. Late callers share exactly one trailing
 * build: the flight that has not started yet.
 *
 * Across processes, the build lock of the store decides which process builds. It is a kernel lock: if the builder is
 * killed, the lock is free and one waiter takes over. Waiters also watch for published and failed builds, because the
 * holder may be building exactly what they need. A failure is shared by all callers whose change was in the build.
 */

import {
  acquireBuildLock,
  type BundleStore,
  buildFacts,
  type Pin,
  publishAndPin,
  type Stage,
  stamp,
} from '../bundles/index.js'
import { isWarmswapError, WarmswapError } from '../native/errors.js'
import { isSeeded } from '../native/seeded-bugs.js'
import { failureSince, lastFailureId, recordFailure } from './failed-build.js'
import { deferred, LONGEST_TIMER_MS, pause, within } from './wait.js'

/** What a build must contain, and how long to wait for it. */
export interface BuildNeed {
  /** The stamp from `change()` of the change that the build must contain. */
  atLeast: number
  /** Stops waiting. The build goes on while another caller waits for it. */
  signal?: AbortSignal
  /**
   * Longest wait of this caller in milliseconds. If a build runs longer than the `timeoutMs` of the caller that started
   * it, it counts as hung: its signal aborts, and another waiter takes over. @default 300_000
   */
  timeoutMs?: number
}

/** Arguments of a build. */
export interface BuildContext {
  /** Stage to write the bundle to. It is published when the build resolves. */
  stage: Stage
  /** Start of this build, comparable with stamps from `change()`. */
  startedAt: number
  /** Aborts when no caller waits for this build any more, or when it hangs. */
  signal: AbortSignal
}

/** Builds into the stage. Its result (JSON or undefined) becomes the generation's `meta`. */
export type BuildRun = (context: BuildContext) => Promise<unknown>

/** A pin on a generation that contains the change, and how the generation was built. */
export interface BuildResult {
  /** A pin on the generation. The caller releases it. */
  pin: Pin
  /**
   * 'ran': this call ran `run`. 'joined': it waited for the build of another caller. 'reused': the current generation
   * contained the change.
   */
  role: 'ran' | 'joined' | 'reused'
}

/**
 * Interval in milliseconds at which a waiter for the build lock checks the current generation: a pin and its release,
 * about 9 µs.
 */
const POLL_MS = 5

type Outcome =
  | { kind: 'published'; generation: number }
  | { kind: 'failed'; error: unknown }
  /** Another process published the needed generation, or this flight was abandoned: check again. */
  | { kind: 'check-again' }

const CHECK_AGAIN: Outcome = { kind: 'check-again' }

/** One build that is pending or running. */
interface Flight {
  readonly run: BuildRun
  /** Time limit of the build in milliseconds, after which it counts as hung. */
  readonly limitMs: number
  readonly abandon: AbortController
  readonly outcome: Promise<Outcome>
  /** The latest change that a caller waits for. */
  needed: number
  /** Undefined until the build starts: until then, every caller may join. */
  startedAt: number | undefined
  waiters: number
}

/** The builds of one store, from the view of one coordinator. */
export class Builds {
  /** In order: at most one running build, then at most one pending build. */
  private readonly flights: Flight[] = []
  private closed: WarmswapError | undefined
  /** The last failure that callers here have received, or that was not theirs. */
  private seenFailure: string | undefined

  /** When the last change was reported, by `performance.now()`. */
  private lastChange = 0

  constructor(
    private readonly store: BundleStore,
    private readonly quiet: { quietMs: number; maxQuietMs: number },
    private readonly report: (error: unknown) => void,
  ) {
    this.seenFailure = lastFailureId(store)
  }

  /** An input has changed. */
  changed(): void {
    this.lastChange = performance.now()
  }

  get running(): boolean {
    return this.flights.some((flight) => flight.startedAt !== undefined)
  }

  async build(need: BuildNeed & { timeoutMs: number }, run: BuildRun): Promise<BuildResult> {
    const until = performance.now() + need.timeoutMs
    let waited = false
    for (;;) {
      if (this.closed) throw this.closed
      const pin = this.pinIfNewEnough(need.atLeast)
      if (pin) return { pin, role: waited ? 'joined' : 'reused' }
      const joinable = this.flights.find((flight) => mayJoin(flight, need.atLeast))
      const flight = joinable ?? this.launch(run, need.timeoutMs)
      const outcome = await this.join(flight, need, until - performance.now())
      waited = true
      if (outcome.kind === 'failed') throw outcome.error
      const published = outcome.kind === 'published' && this.pin(outcome.generation)
      if (published) return { pin: published, role: joinable ? 'joined' : 'ran' }
    }
  }

  /**
   * Ends all builds. Their waiters reject with `reason`. Resolves once their stages are removed and the build lock is
   * released.
   */
  async close(reason: WarmswapError): Promise<void> {
    this.closed = reason
    for (const flight of this.flights) flight.abandon.abort(reason)
    await Promise.all(this.flights.map(({ outcome }) => outcome))
  }

  private async join(flight: Flight, need: BuildNeed, timeoutMs: number): Promise<Outcome> {
    flight.needed = Math.max(flight.needed, need.atLeast)
    flight.waiters += 1
    const late = (): WarmswapError => this.hung(timeoutMs)
    try {
      return await within(flight.outcome, { signal: need.signal, timeoutMs: Math.max(0, timeoutMs), late })
    } catch (error) {
      // The build continues for other callers. Its own time limit decides whether it hangs, not the time limit of a
      // caller that joined.
      if (flight.waiters === 1) flight.abandon.abort(error)
      throw error
    } finally {
      flight.waiters -= 1
    }
  }

  private launch(run: BuildRun, limitMs: number): Flight {
    const { promise, resolve } = deferred<Outcome>()
    const flight: Flight = {
      run,
      limitMs,
      abandon: new AbortController(),
      outcome: promise,
      needed: 0,
      startedAt: undefined,
      waiters: 0,
    }
    const previous = this.flights.at(-1)
    this.flights.push(flight)
    void (previous?.outcome ?? Promise.resolve())
      .then(() => this.fly(flight))
      .catch((error: unknown): Outcome => ({ kind: 'failed', error }))
      .then((outcome) => {
        this.flights.splice(this.flights.indexOf(flight), 1)
        if (outcome.kind === 'failed') this.report(outcome.error)
        resolve(outcome)
      })
    return flight
  }

  /** Waits until there was no change for a while. Everybody may still join. */
  private async waitForQuiet({ abandon }: Flight): Promise<void> {
    const { quietMs, maxQuietMs } = this.quiet
    const until = performance.now() + maxQuietMs
    while (quietMs > 0 && !abandon.signal.aborted) {
      const now = performance.now()
      const left = Math.min(this.lastChange + quietMs, until) - now
      if (left <= 0) return
      await pause(left, abandon.signal)
    }
  }

  private async fly(flight: Flight): Promise<Outcome> {
    await this.waitForQuiet(flight)
    const turn = await this.waitForTurn(flight)
    if ('kind' in turn) return turn
    try {
      return await this.buildAndPublish(flight)
    } finally {
      turn.release()
    }
  }

  /** Waits for the build lock, or for an outcome that makes it unnecessary. */
  private async waitForTurn(flight: Flight): Promise<{ release(): void } | Outcome> {
    const enough = new AbortController()
    const signal = AbortSignal.any([flight.abandon.signal, enough.signal])
    const polling = this.pollElsewhere(flight, enough)
    polling.catch(() => {})
    try {
      const lock = await acquireBuildLock(this.store, { timeoutMs: Infinity, signal })
      return await this.unlessElsewhere(lock, async () =>
        signal.aborted ? ((await polling) ?? CHECK_AGAIN) : this.elsewhere(flight),
      )
    } catch (error) {
      if (signal.aborted) return (await polling) ?? CHECK_AGAIN
      throw error
    } finally {
      enough.abort()
      await polling
    }
  }

  /** The holder may have ended between the last check and the acquisition. */
  private async unlessElsewhere(
    lock: { release(): void },
    check: () => Promise<Outcome | undefined>,
  ): Promise<{ release(): void } | Outcome> {
    let outcome: Outcome | undefined
    try {
      outcome = await check()
    } catch (error) {
      lock.release()
      throw error
    }
    if (!outcome) return lock
    lock.release()
    return outcome
  }

  /** The outcome of another process's build, if it applies to this flight too. */
  private elsewhere(flight: Flight): Outcome | undefined {
    if (this.isPublished(flight.needed)) return CHECK_AGAIN
    const failure =
      __WARMSWAP_TESTING__ && isSeeded('failed-builds-unshared')
        ? undefined
        : failureSince(this.store, this.seenFailure, flight.needed)
    if (!failure) return undefined
    this.seenFailure = failure.id
    return { kind: 'failed', error: failure.error }
  }

  /** Aborts `enough` with the first outcome of another process. */
  private async pollElsewhere(flight: Flight, enough: AbortController): Promise<Outcome | undefined> {
    try {
      for (; !enough.signal.aborted; await pause(POLL_MS, enough.signal)) {
        const outcome = this.elsewhere(flight)
        if (outcome) return outcome
      }
      return undefined
    } finally {
      enough.abort()
    }
  }

  private async buildAndPublish(flight: Flight): Promise<Outcome> {
    const { signal } = flight.abandon
    // Before the stage: no input is read for this build before this moment.
    const startedAt = stamp()
    const stage = await this.store.stage({ fenced: true, signal })
    try {
      flight.startedAt = startedAt
      const givenUp = deferred<never>()
      signal.addEventListener('abort', () => givenUp.reject(signal.reason), { once: true })
      const clock = setTimeout(
        () => flight.abandon.abort(this.hung(flight.limitMs)),
        Math.min(flight.limitMs, LONGEST_TIMER_MS),
      )
      // Async, so that a `run` that throws before its first await also becomes a rejection.
      const run = async (): Promise<unknown> => flight.run({ stage, startedAt, signal })
      const meta = await Promise.race([run(), givenUp.promise]).finally(() => clearTimeout(clock))
      signal.throwIfAborted()
      const { pin } = await publishAndPin(stage, meta === undefined ? {} : { meta })
      // The waiters pin it before the next turn of the event loop.
      setImmediate(() => setImmediate(() => pin.release()))
      return { kind: 'published', generation: pin.generation.number }
    } catch (error) {
      if (signal.aborted || (isWarmswapError(error) && error.code === 'ERR_FENCED')) return CHECK_AGAIN
      this.shareFailure(startedAt, error)
      return { kind: 'failed', error }
    } finally {
      // An error of the clean-up must not replace the first one.
      await stage.discard().catch(this.report)
    }
  }

  private hung(afterMs: number): WarmswapError {
    return new WarmswapError(
      'ERR_TIMEOUT',
      `the build of '${this.store.root}' did not end within ${Math.round(afterMs)} ms; the current generation is unchanged`,
      { path: this.store.root },
    )
  }

  /** If it cannot be written, each waiter tries for itself. */
  private shareFailure(startedAt: number, error: unknown): void {
    try {
      this.seenFailure = recordFailure(this.store, startedAt, error)
    } catch (problem) {
      this.report(problem)
    }
  }

  private isPublished(atLeast: number): boolean {
    const pin = this.pinIfNewEnough(atLeast)
    pin?.release()
    return pin !== undefined
  }

  private pinIfNewEnough(atLeast: number): Pin | undefined {
    const pin = this.pin()
    if (!pin) return undefined
    // Undefined: published before the last boot, and so older than every stamp.
    const startedAt = usable(() => buildFacts(pin.generation).startedAt)
    if (startedAt !== undefined && startedAt >= atLeast) return pin
    pin.release()
    return undefined
  }

  private pin(generation?: number): Pin | undefined {
    return usable(() => this.store.pin(generation === undefined ? {} : { generation }))
  }
}

/** A missing or damaged generation is no obstacle: the build repairs it. */
function usable<T>(open: () => T): T | undefined {
  try {
    return open()
  } catch (error) {
    if (
      isWarmswapError(error) &&
      ['ERR_NO_GENERATION', 'ERR_GENERATION_GONE', 'ERR_GENERATION_CORRUPT'].includes(error.code)
    )
      return undefined
    throw error
  }
}

function mayJoin(flight: Flight, atLeast: number): boolean {
  return (
    (__WARMSWAP_TESTING__ && isSeeded('join-in-flight')) ||
    flight.startedAt === undefined ||
    flight.startedAt >= atLeast
  )
}
