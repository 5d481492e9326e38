/** Samples at delays, and the edge between failing and working delays. */

import type { ProbeResult } from './probes.js'
import { wilson } from './statistics.js'
import type { Outcome, SweepPoint } from './types.js'

export interface Sample extends ProbeResult {
  probe: string
  delayMs: number
  /** The restart after which it was sent: its ready interval. */
  ready: { after: number; before: number }
}

export interface Edge {
  lastFailMs: number | null
  firstOkMs: number | null
}

export function failed({ outcome }: { outcome: Outcome }): boolean {
  return outcome !== 'ok'
}

/** One point for each probe and delay, by probe and then by delay. */
export function pointsOf(samples: readonly Sample[]): SweepPoint[] {
  const groups = new Map<string, Sample[]>()
  for (const sample of samples) {
    const key = `${sample.probe}\0${sample.delayMs}`
    groups.set(key, [...(groups.get(key) ?? []), sample])
  }
  return [...groups.values()]
    .map(pointOf)
    .sort((one, other) => one.probe.localeCompare(other.probe) || one.delayMs - other.delayMs)
}

function pointOf(samples: Sample[]): SweepPoint {
  const { probe, delayMs } = samples[0] as Sample
  const outcomes: Partial<Record<Outcome, number>> = {}
  for (const { outcome } of samples) outcomes[outcome] = (outcomes[outcome] ?? 0) + 1
  const failures = samples.filter(failed).length
  return {
    probe,
    delayMs,
    n: samples.length,
    outcomes,
    pFail: failures / samples.length,
    interval: wilson(failures, samples.length),
  }
}

/** The greatest delay with a failure, and the smallest delay beyond it: neighbours among the delays that were tried. */
export function edgeOf(points: readonly SweepPoint[]): Edge {
  const delays = [...points].sort((one, other) => one.delayMs - other.delayMs)
  const last = delays.findLastIndex(({ pFail }) => pFail > 0)
  return { lastFailMs: delays[last]?.delayMs ?? null, firstOkMs: delays[last + 1]?.delayMs ?? null }
}

/**
 * The next delay to try so that the edge gets narrower. Undefined if it is narrow enough, or not bounded on both sides.
 */
export function nextDelay({ lastFailMs, firstOkMs }: Edge, edgeMs: number): number | undefined {
  if (lastFailMs === null || firstOkMs === null || firstOkMs - lastFailMs <= edgeMs) return undefined
  return Math.round(((lastFailMs + firstOkMs) / 2) * 100) / 100
}
