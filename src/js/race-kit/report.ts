/** The results of a sweep: as values, as text, as a page. */

import { string } from '../native/validate.js'
import { type Edge, edgeOf, failed, pointsOf, type Sample } from './edge.js'
import type { ProbeResult } from './probes.js'
import { writePage } from './report-page.js'
import { quantile, supportedConfidence } from './statistics.js'
import type { TimelineEvent } from './timeline.js'
import type { SweepPoint, SweepReport } from './types.js'

export interface ReportFacts {
  /** All requested probes and delays: time may run out before each was tried. */
  probes: string[]
  delays: number[]
  samples: Sample[]
  controls: ProbeResult[]
  voided: number
  /** Whether the edges are as narrow as requested. Otherwise time ran out. */
  complete: boolean
  edgeMs: number
  tookMs: number
  restarts: number
  command: string
  seed: number
  /** Where the page of this run is. */
  page: string
  events: TimelineEvent[]
}

export class Report implements SweepReport {
  readonly points: SweepPoint[]
  readonly edge: Record<string, Edge>
  readonly command: string

  constructor(readonly facts: ReportFacts) {
    this.points = pointsOf(facts.samples)
    this.command = facts.command
    this.edge = Object.fromEntries(
      facts.probes.map((name) => [name, edgeOf(this.points.filter(({ probe }) => probe === name))]),
    )
  }

  async html(file: string): Promise<void> {
    const { command, seed, samples, events } = { ...this.facts, command: this.command }
    await writePage(string('file', file), {
      title: 'Restart sweep',
      command,
      seed,
      events,
      samples,
      points: this.points,
      edge: this.edge,
      summary: this.#summary(),
      notes: this.#notes(),
    })
  }

  toString(): string {
    return [
      this.#summary(),
      ...this.#table(),
      ...this.#notes(),
      `page: ${this.facts.page}`,
      `repeat: ${this.command}`,
    ].join('\n')
  }

  #summary(): string {
    return Object.entries(this.edge)
      .map(([probe, edge]) => `${probe}: ${this.#describeEdge(probe, edge)}`)
      .join('\n')
  }

  #describeEdge(probe: string, { lastFailMs, firstOkMs }: Edge): string {
    if (firstOkMs === null && lastFailMs === null) return 'was not tried'
    if (firstOkMs === null) return `still fails at ${lastFailMs} ms, the longest delay: try longer ones`
    const beyond = this.points
      .filter((point) => point.probe === probe && point.delayMs >= firstOkMs)
      .reduce((sum, { n }) => sum + n, 0)
    const trust = `0 of ${beyond} failed there: works in at least ${(supportedConfidence(beyond) * 100).toFixed(1)} % with that confidence`
    if (lastFailMs === null) return `never failed (${trust})`
    return `fails up to ${lastFailMs} ms, works from ${firstOkMs} ms on (${trust})`
  }

  #table(): string[] {
    const rows = this.points.map(({ probe, delayMs, n, outcomes, pFail, interval: [low, high] }) => [
      probe,
      `${delayMs} ms`,
      `${n}`,
      `${(pFail * 100).toFixed(0)} %`,
      `${(low * 100).toFixed(0)}–${(high * 100).toFixed(0)} %`,
      Object.entries(outcomes)
        .map(([outcome, count]) => `${count} ${outcome}`)
        .join(', '),
    ])
    const all = [['probe', 'delay', 'n', 'p(fail)', '95 %', 'outcomes'], ...rows]
    const widths = (all[0] as string[]).map((_, column) =>
      Math.max(...all.map((row) => (row[column] as string).length)),
    )
    return all.map((row) =>
      row
        .map((cell, column) => cell.padEnd(widths[column] as number))
        .join('  ')
        .trimEnd(),
    )
  }

  #notes(): string[] {
    const { samples, controls, voided, complete, edgeMs, tookMs, restarts } = this.facts
    const late = samples.map(({ sentAt, ready, delayMs }) => sentAt - ready.before - delayMs)
    const widths = samples.map(({ ready }) => ready.before - ready.after)
    const bad = controls.filter(failed).length
    return [
      `${samples.length} samples over ${restarts} restarts in ${(tookMs / 1000).toFixed(1)} s; sent ${quantile(late, 0.5).toFixed(1)} ms late in the median, ${Math.max(0, ...late).toFixed(1)} at most; ready known to ${quantile(widths, 0.5).toFixed(1)} ms`,
      ...(controls.length > 0
        ? [
            bad === 0
              ? `control: ${controls.length} of ${controls.length} ok without a restart`
              : `control failed ${bad} of ${controls.length} times without a restart: the restart does not cause all of these failures`,
          ]
        : []),
      ...(voided > 0 ? [`${voided} samples void: their target could not be warmed`] : []),
      ...(complete ? [] : [`the time was up before every edge was known to ${edgeMs} ms`]),
      ...this.facts.probes.flatMap((probe) => this.#lastFailure(probe)),
    ]
  }

  /** 'server-error' only says that something is wrong; this is the error itself. */
  #lastFailure(name: string): string[] {
    const last = this.facts.samples.findLast((sample) => sample.probe === name && failed(sample))
    return last?.detail === undefined ? [] : [`${name} failed last, at ${last.delayMs} ms, with: ${last.detail}`]
  }
}
