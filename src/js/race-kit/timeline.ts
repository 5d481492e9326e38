/** The events of a race on one clock: every process, restart, probe and point. */

import { now } from './clock.js'
import type { Outcome } from './types.js'

export interface TimelineEvent {
  /** Milliseconds of the monotonic clock. */
  at: number
  /** End of an event that took a while. */
  until?: number
  /** Row of the event: 'server (1)', 'heartbeat', 'probe read'. */
  who: string
  what: string
  detail?: string
  outcome?: Outcome
}

/** Highest number of events. The oldest are dropped: a run of hours must not fill the memory. */
const MOST_EVENTS = 20_000

export class Timeline {
  #events: TimelineEvent[] = []

  record(who: string, what: string, facts: Partial<Omit<TimelineEvent, 'who' | 'what'>> = {}): void {
    this.#events.push({ at: now(), who, what, ...facts })
    if (this.#events.length > MOST_EVENTS) this.#events.splice(0, MOST_EVENTS / 10)
  }

  /** All events with those of other sources, sorted by time. */
  merged(others: readonly TimelineEvent[] = []): TimelineEvent[] {
    return [...this.#events, ...others].sort((one, other) => one.at - other.at)
  }
}

/** One line per event: seconds since the start, row, description. */
export function describe(events: readonly TimelineEvent[], started: number): string {
  const line = ({ at, until, who, what, detail, outcome }: TimelineEvent): string => {
    const took = until === undefined ? '' : ` (${(until - at).toFixed(1)} ms)`
    return `${((at - started) / 1000).toFixed(4).padStart(10)} s  ${who.padEnd(14)} ${what}${took}${outcome ? ` → ${outcome}` : ''}${detail ? `: ${detail}` : ''}`
  }
  return events.map(line).join('\n')
}
