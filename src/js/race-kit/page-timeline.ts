/** The merged time line of all processes, restarts and probes. */

import { OUTCOME_COLOURS } from './outcome-colours.js'
import { at, escapeHtml, ticks } from './page-text.js'
import type { TimelineEvent } from './timeline.js'

const LABELS = 200
const ROW = 22
const HEAD = 26
/** Pixels per millisecond, within these widths: short races are stretched, long ones scroll. */
const PIXELS_PER_MS = 0.25
const LEAST_WIDTH = 960
const MOST_WIDTH = 12_000
const LEAST_MARK = 3
const PROCESS = '#56789a'

export function timelineChart(events: readonly TimelineEvent[]): string {
  if (events.length === 0) return '<p class="note">Nothing was recorded.</p>'
  const begin = Math.min(...events.map((event) => event.at))
  const end = Math.max(...events.map((event) => event.until ?? event.at))
  const width = Math.min(MOST_WIDTH, Math.max(LEAST_WIDTH, (end - begin) * PIXELS_PER_MS))
  const x = (time: number): number => LABELS + ((time - begin) / Math.max(end - begin, 1)) * width
  const rows = groupBy(events)
  const height = HEAD + rows.size * ROW + 8
  return `<svg width="${at(LABELS + width + 30)}" height="${height}" role="img" aria-label="time line">
${ticks(end - begin, width / 90)
  .map(
    (time) =>
      `<line class="grid" x1="${at(x(begin + time))}" x2="${at(x(begin + time))}" y1="${HEAD - 6}" y2="${height}"/><text class="soft" x="${at(x(begin + time))}" y="${HEAD - 10}" text-anchor="middle">${at(time / 1000)} s</text>`,
  )
  .join('\n')}
${[...rows].map(([name, row], index) => `<text x="8" y="${HEAD + index * ROW + 15}">${escapeHtml(name.slice(0, 30))}</text>\n${drawRow(row, HEAD + index * ROW, x, end)}`).join('\n')}
</svg>`
}

/** Incarnations of one instance share a row, and so do the points of all processes. */
function rowOf({ who }: TimelineEvent): string {
  return who.startsWith('pid ') ? 'race points' : who.replace(/ \(\d+\)$/, '')
}

function groupBy(events: readonly TimelineEvent[]): Map<string, TimelineEvent[]> {
  const rows = new Map<string, TimelineEvent[]>()
  for (const event of events) {
    const row = rows.get(rowOf(event))
    if (row === undefined) rows.set(rowOf(event), [event])
    else row.push(event)
  }
  return rows
}

function drawRow(events: TimelineEvent[], top: number, x: (time: number) => number, end: number): string {
  const lives = events.filter(({ what }) => what === 'started').map((start) => life(start, events, top, x, end))
  return [...lives, ...events.map((event) => mark(event, top, x))].join('')
}

/** One incarnation: light while it starts, dark from ready to its end. */
function life(
  start: TimelineEvent,
  events: TimelineEvent[],
  top: number,
  x: (time: number) => number,
  end: number,
): string {
  const own = events.filter(({ who, at: time }) => who === start.who && time >= start.at)
  const ready = own.find(({ what }) => what === 'ready')?.until
  const ended = own.find(({ what }) => what.startsWith('ended'))?.at ?? end
  const bar = (from: number, to: number, opacity: number, what: string): string =>
    `<rect x="${at(x(from))}" y="${top + 3}" width="${at(Math.max(LEAST_MARK, x(to) - x(from)))}" height="${ROW - 8}" rx="2" fill="${PROCESS}" opacity="${opacity}"><title>${escapeHtml(`${start.who} ${what}, ${(to - from).toFixed(1)} ms, ${start.detail ?? ''}`)}</title></rect>`
  return bar(start.at, ready ?? ended, 0.35, 'starts') + (ready === undefined ? '' : bar(ready, ended, 0.9, 'is ready'))
}

function mark(
  { at: time, until, who, what, detail, outcome }: TimelineEvent,
  top: number,
  x: (time: number) => number,
): string {
  if (what === 'started' || what === 'ended' || (what === 'ready' && who !== 'driver')) return ''
  const colour =
    outcome === undefined
      ? /gap|missed|void|by itself|did not stop/.test(what)
        ? OUTCOME_COLOURS.hang
        : '#8b8d98'
      : OUTCOME_COLOURS[outcome]
  const width = until === undefined ? LEAST_MARK : Math.max(LEAST_MARK, x(until) - x(time))
  const title = `${who}: ${what}${until === undefined ? '' : `, ${(until - time).toFixed(1)} ms`}${outcome ? `, ${outcome}` : ''}${detail ? `\n${detail}` : ''}`
  return `<rect x="${at(x(time))}" y="${top + 3}" width="${at(width)}" height="${ROW - 8}" rx="1" fill="${colour}"><title>${escapeHtml(title)}</title></rect>`
}
