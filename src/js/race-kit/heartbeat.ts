/**
 * Traffic that is independent of the measured target. It shows whether the rest of the system kept working during a
 * restart.
 */

import { callback, options as checkOptions, milliseconds } from '../native/validate.js'
import { now, sleepUntil } from './clock.js'
import type { Timeline } from './timeline.js'
import type { Heartbeat } from './types.js'

/** A beat that takes longer than this many periods is abandoned, so that one that hangs does not hide the next. */
const LIMIT_PERIODS = 4
/** But not before this many milliseconds: short periods are for precision, not for slow answers. */
const LEAST_LIMIT_MS = 250

export class RunningHeartbeat implements Heartbeat {
  readonly #gaps: { from: number; to: number }[] = []
  readonly #stop = new AbortController()
  readonly #every: number
  /** The last beat that succeeded, or the start. */
  #last = now()
  #ended: number | undefined

  constructor(
    options: { every: number; beat(signal: AbortSignal): Promise<void> },
    private readonly timeline: Timeline,
    /** Its row in the time line. */
    private readonly name: string,
  ) {
    checkOptions('options', options, ['every', 'beat'])
    this.#every = Math.max(1, milliseconds('options.every', options.every))
    callback('options.beat', options.beat)
    void this.#run(options.beat)
  }

  get gaps(): { from: number; to: number }[] {
    return [...this.#gaps, ...this.#gapUntil(this.#ended ?? now())]
  }

  stop(): void {
    if (this.#ended !== undefined) return
    this.#ended = now()
    this.#stop.abort()
  }

  async #run(beat: (signal: AbortSignal) => Promise<void>): Promise<void> {
    const limit = Math.max(LEAST_LIMIT_MS, LIMIT_PERIODS * this.#every)
    for (let next = now(); this.#ended === undefined; next = Math.max(next + this.#every, now())) {
      await sleepUntil(next, this.#stop.signal).catch(() => {})
      if (this.#ended !== undefined) return
      await within(beat, AbortSignal.any([this.#stop.signal, AbortSignal.timeout(limit)])).then(
        () => this.#succeeded(),
        (error: unknown) =>
          this.timeline.record(this.name, 'missed', { detail: error instanceof Error ? error.message : String(error) }),
      )
    }
  }

  #succeeded(): void {
    if (this.#ended !== undefined) return
    const at = now()
    for (const gap of this.#gapUntil(at)) {
      this.#gaps.push(gap)
      this.timeline.record(this.name, 'gap', { at: gap.from, until: gap.to })
    }
    this.#last = at
  }

  #gapUntil(at: number): { from: number; to: number }[] {
    return at - this.#last > 2 * this.#every ? [{ from: this.#last, to: at }] : []
  }
}

/** A beat that ignores its signal is abandoned. */
async function within(beat: (signal: AbortSignal) => Promise<void>, signal: AbortSignal): Promise<void> {
  const aborted = new Promise<never>((_, reject) =>
    signal.addEventListener('abort', () => reject(signal.reason), { once: true }),
  )
  // Async, so that a beat that throws is raced too. Otherwise the abort that follows would be an unhandled rejection.
  const beating = async (): Promise<void> => beat(signal)
  await Promise.race([beating(), aborted])
}
