/**
 * The sweep: p(fail | delay after ready) of each probe, and the delay at which it becomes zero.
 *
 * Every sample has its own target, which is warmed before the restart and probed once, so that a probe that hangs
 * cannot affect a later one. All delays are tried `repeats` times in shuffled order. Then the edge of each probe is
 * bisected. Then the first good delay is tried as many times again, because p = 0.3 looks good in one of six runs of
 * five.
 */

import { invalidArgument } from '../native/errors.js'
import { callback, options as checkOptions, milliseconds, oneOf, string, wholeNumber } from '../native/validate.js'
import { now, sleepUntil } from './clock.js'
import { edgeOf, nextDelay, pointsOf, type Sample } from './edge.js'
import { closeAfterUse, dropIdleSockets } from './fresh-sockets.js'
import { type Identify, type ProbeResult, runProbe } from './probes.js'
import { type Random, shuffled } from './random.js'
import { Report } from './report.js'
import type { Timeline, TimelineEvent } from './timeline.js'
import type { Interval, Probe, SweepOptions } from './types.js'

export interface SweepSurroundings {
  random: Random
  signal: AbortSignal
  timeline: Timeline
  identify: Identify
  budgetMs: number
  command: string
  seed: number
  artifacts: string
  events(): TimelineEvent[]
}

const DEFAULT_REPEATS = 5
const DEFAULT_EDGE_MS = 10
/** A sweep that is shorter than this needs no progress on the terminal. */
const QUIET_MS = 5000
/** A target that cannot be warmed voids its sample. This many in a row are not chance. */
const MOST_VOID_IN_A_ROW = 3

/** One restart: which probes, at which delay. */
interface Turn<T> {
  delayMs: number
  probes: Probe<T>[]
}

export async function runSweep<T>(options: SweepOptions<T>, surroundings: SweepSurroundings): Promise<Report> {
  checkSweep(options)
  const sweep = new Sweep(options, surroundings)
  const report = await sweep.run()
  // The findings do not depend on a folder that can be written.
  await report
    .html(`${surroundings.artifacts}/sweep.html`)
    .catch((error: unknown) => console.error(`the page of this sweep could not be written: ${String(error)}`))
  return report
}

class Sweep<T> {
  readonly #samples: Sample[] = []
  readonly #controls: ProbeResult[] = []
  readonly #started = now()
  readonly #repeats: number
  readonly #edgeMs: number
  /** Probes that may share a restart, each array one restart. */
  readonly #groups: Probe<T>[][]
  #targets = 0
  #void = 0
  #turns = 0
  #planned = 0
  #lastSaid = now()

  constructor(
    private readonly options: SweepOptions<T>,
    private readonly surroundings: SweepSurroundings,
  ) {
    this.#repeats = options.repeats ?? DEFAULT_REPEATS
    this.#edgeMs = options.edgeMs ?? DEFAULT_EDGE_MS
    const shares = (probe: Probe<T>): boolean => probe.sideEffects === 'none' && probe.reuse !== true
    const shared = options.probes.filter(shares)
    this.#groups = [
      ...(shared.length > 0 ? [shared] : []),
      ...options.probes.filter((probe) => !shares(probe)).map((probe) => [probe]),
    ]
  }

  async run(): Promise<Report> {
    const { delays, order = 'shuffled' } = this.options
    const repeated = Array.from({ length: this.#repeats }, () => delays).flat()
    const turns = repeated.flatMap((delayMs) => this.#groups.map((probes) => ({ delayMs, probes })))
    const complete =
      (await this.#run(order === 'shuffled' ? shuffled(turns, this.surroundings.random) : turns)) &&
      (await this.#findEdges())
    return new Report({
      probes: this.options.probes.map(({ name }) => name),
      delays,
      samples: this.#samples,
      controls: this.#controls,
      voided: this.#void,
      complete,
      edgeMs: this.#edgeMs,
      tookMs: now() - this.#started,
      restarts: this.#turns,
      command: this.surroundings.command,
      seed: this.surroundings.seed,
      page: `${this.surroundings.artifacts}/sweep.html`,
      events: this.surroundings.events(),
    })
  }

  /** Bisects and confirms until every edge is narrow enough. Returns false if time ran out. */
  async #findEdges(): Promise<boolean> {
    const confirmed = new Set<string>()
    for (;;) {
      const turns = this.#groups.flatMap((probes) => this.#nextTurns(probes, confirmed))
      if (turns.length === 0) return true
      if (!(await this.#run(turns))) return false
    }
  }

  #nextTurns(probes: Probe<T>[], confirmed: Set<string>): Turn<T>[] {
    const edges = probes.map(({ name }) => edgeOf(pointsOf(this.#samples.filter(({ probe }) => probe === name))))
    const bisecting = edges.map((edge) => nextDelay(edge, this.#edgeMs)).find((delay) => delay !== undefined)
    // An edge that was never seen to fail has been confirmed by every delay beyond it.
    const toConfirm = edges.find(
      ({ lastFailMs, firstOkMs }) =>
        lastFailMs !== null && firstOkMs !== null && !confirmed.has(`${probes[0]?.name} ${firstOkMs}`),
    )?.firstOkMs
    const delayMs = bisecting ?? toConfirm ?? undefined
    if (delayMs === undefined) return []
    if (bisecting === undefined) confirmed.add(`${probes[0]?.name} ${delayMs}`)
    return Array.from({ length: this.#repeats }, () => ({ delayMs, probes }))
  }

  /** Takes all samples. Returns false if time ran out. */
  async #run(turns: Turn<T>[]): Promise<boolean> {
    this.#planned += turns.length
    for (const turn of turns) {
      const elapsed = now() - this.#started
      const each = this.#turns === 0 ? 0 : elapsed / this.#turns
      if (elapsed + each > this.surroundings.budgetMs) return false
      await this.#turn(turn)
      this.#turns += 1
      await this.#reportProgress()
    }
    return true
  }

  async #turn({ delayMs, probes }: Turn<T>): Promise<void> {
    const { signal, timeline, identify } = this.surroundings
    const targets: T[] = []
    const fresh = probes.every(({ reuse }) => reuse !== true)
    const restoreFetch = fresh ? closeAfterUse() : undefined
    try {
      for (const _ of probes) targets.push(await this.#warm())
      await this.#runControl()
      const ready = checkInterval(await this.options.restart(signal))
      timeline.record('driver', 'restart ready', { at: ready.after, until: ready.before })
      if (fresh) dropIdleSockets()
      await sleepUntil(ready.before + delayMs, signal)
      const results = await Promise.all(
        probes.map((probe, index) => runProbe(probe, targets[index] as T, identify, signal)),
      )
      results.forEach((result, index) => this.#record(probes[index] as Probe<T>, delayMs, ready, result))
    } finally {
      restoreFetch?.()
      for (const target of targets) await dispose(target)
    }
  }

  #record({ name }: Probe<T>, delayMs: number, ready: Interval, result: ProbeResult): void {
    this.#samples.push({ probe: name, delayMs, ready, ...result })
    const { outcome, sentAt, endedAt, detail } = result
    this.surroundings.timeline.record(`probe ${name}`, `+${delayMs} ms`, {
      at: sentAt,
      until: endedAt,
      outcome,
      ...(detail === undefined ? {} : { detail }),
    })
  }

  /** A new target that works. */
  async #warm(): Promise<T> {
    for (let attempt = 1; ; attempt += 1) {
      try {
        return await this.options.target(this.#targets++)
      } catch (error) {
        this.surroundings.signal.throwIfAborted()
        this.#void += 1
        this.surroundings.timeline.record('driver', 'sample void', {
          detail: `its target could not be warmed: ${String(error)}`,
        })
        if (attempt === MOST_VOID_IN_A_ROW) throw error
      }
    }
  }

  async #runControl(): Promise<void> {
    const { control } = this.options
    if (control === undefined) return
    const target = await this.#warm()
    try {
      const result = await runProbe(control, target, this.surroundings.identify, this.surroundings.signal)
      this.#controls.push(result)
      this.surroundings.timeline.record(`control ${control.name}`, 'no restart', {
        at: result.sentAt,
        until: result.endedAt,
        outcome: result.outcome,
      })
    } finally {
      await dispose(target)
    }
  }

  async #reportProgress(): Promise<void> {
    await this.options.onProgress?.(this.#turns, this.#planned)
    if (this.options.onProgress !== undefined || now() - this.#lastSaid < QUIET_MS) return
    this.#lastSaid = now()
    console.error(
      `sweep: ${this.#turns} of ${this.#planned} restarts, ${Math.round((now() - this.#started) / 1000)} s of at most ${Math.round(this.surroundings.budgetMs / 1000)} s`,
    )
  }
}

function checkInterval(ready: Interval): Interval {
  const { after, before } = (ready ?? {}) as Partial<Interval>
  if (typeof after !== 'number' || typeof before !== 'number')
    throw invalidArgument(
      'result of options.restart()',
      ready,
      "{ after, before } in ms of process.hrtime, as an instance's restart() gives it",
    )
  return ready
}

async function dispose(target: unknown): Promise<void> {
  if (typeof target !== 'object' || target === null) return
  const { [Symbol.asyncDispose]: later, [Symbol.dispose]: sync } = target as Partial<AsyncDisposable & Disposable>
  await (later ?? sync)?.call(target)
}

function checkSweep<T>(given: SweepOptions<T>): void {
  const { delays, repeats, order, edgeMs, target, restart, probes, control, onProgress } = checkOptions(
    'options',
    given,
    ['delays', 'repeats', 'order', 'edgeMs', 'budgetMs', 'target', 'restart', 'probes', 'control', 'onProgress'],
  )
  if (!Array.isArray(delays) || delays.length === 0)
    throw invalidArgument('options.delays', delays, 'an array of milliseconds after ready, at least one')
  delays.forEach((delay, index) => milliseconds(`options.delays[${index}]`, delay))
  if (repeats !== undefined) wholeNumber('options.repeats', repeats, 1)
  if (order !== undefined) oneOf('options.order', order, ['shuffled', 'given'])
  if (edgeMs !== undefined && milliseconds('options.edgeMs', edgeMs) === 0)
    throw invalidArgument('options.edgeMs', edgeMs, 'more than 0 ms')
  callback('options.target', target)
  callback('options.restart', restart)
  if (onProgress !== undefined) callback('options.onProgress', onProgress)
  if (!Array.isArray(probes) || probes.length === 0)
    throw invalidArgument('options.probes', probes, 'an array of probes, at least one')
  probes.forEach((probe, index) => checkProbe(`options.probes[${index}]`, probe))
  if (new Set(probes.map(({ name }) => name)).size < probes.length)
    throw invalidArgument('options.probes', probes, 'probes with a name of its own each')
  if (control !== undefined) checkProbe('options.control', control)
}

function checkProbe<T>(name: string, probe: Probe<T>): void {
  const {
    name: label,
    sideEffects,
    timeoutMs,
    status,
    run,
  } = checkOptions(name, probe, ['name', 'sideEffects', 'timeoutMs', 'reuse', 'status', 'run'])
  string(`${name}.name`, label)
  oneOf(`${name}.sideEffects`, sideEffects, ['none', 'activity', 'write'])
  milliseconds(`${name}.timeoutMs`, timeoutMs)
  if (status !== undefined) wholeNumber(`${name}.status`, status, 100)
  callback(`${name}.run`, run)
}
