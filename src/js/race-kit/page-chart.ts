/** Chart of p(fail | delay) of each probe with Wilson's interval, and its edge as a band. */

import type { Edge } from './edge.js'
import { at, escapeHtml, ticks } from './page-text.js'
import type { SweepPoint } from './types.js'

const WIDTH = 1140
const HEIGHT = 300
const LEFT = 52
const RIGHT = 20
const TOP = 14
const BOTTOM = 44
/** Styles of probes, distinguished by colour and by line shape (Okabe and Ito). */
const SERIES = [
  { colour: '#0072b2', dash: '' },
  { colour: '#d55e00', dash: '6 3' },
  { colour: '#009e73', dash: '2 3' },
  { colour: '#cc79a7', dash: '8 3 2 3' },
  { colour: '#e69f00', dash: '1 2' },
  { colour: '#56b4e9', dash: '10 4' },
]

export function failureChart(points: SweepPoint[], edge: Record<string, Edge>): string {
  const longest = Math.max(1, ...points.map(({ delayMs }) => delayMs))
  const x = (delay: number): number => LEFT + (delay / longest) * (WIDTH - LEFT - RIGHT)
  const y = (share: number): number => TOP + (1 - share) * (HEIGHT - TOP - BOTTOM)
  const probes = [...new Set(points.map(({ probe }) => probe))]
  return `<svg viewBox="0 0 ${WIDTH} ${HEIGHT + 22 * probes.length}" width="100%" role="img" aria-label="probability of failure by delay">
<rect class="panel" x="${LEFT}" y="${TOP}" width="${WIDTH - LEFT - RIGHT}" height="${HEIGHT - TOP - BOTTOM}"/>
${[0, 0.25, 0.5, 0.75, 1].map((share) => `<line class="grid" x1="${LEFT}" x2="${WIDTH - RIGHT}" y1="${at(y(share))}" y2="${at(y(share))}"/><text class="soft" x="${LEFT - 8}" y="${at(y(share) + 4)}" text-anchor="end">${share * 100} %</text>`).join('\n')}
${ticks(longest, 10)
  .map(
    (delay) =>
      `<line class="axis" x1="${at(x(delay))}" x2="${at(x(delay))}" y1="${y(0)}" y2="${y(0) + 4}"/><text class="soft" x="${at(x(delay))}" y="${y(0) + 18}" text-anchor="middle">${at(delay)}</text>`,
  )
  .join('\n')}
<text class="soft" x="${WIDTH - RIGHT}" y="${HEIGHT - 6}" text-anchor="end">delay after ready, ms</text>
${probes
  .map((probe, index) =>
    series(
      points.filter((point) => point.probe === probe),
      edge[probe],
      index,
      x,
      y,
    ),
  )
  .join('\n')}
</svg>`
}

function series(
  points: SweepPoint[],
  edge: Edge | undefined,
  index: number,
  x: (delay: number) => number,
  y: (share: number) => number,
): string {
  const { colour, dash } = SERIES[index % SERIES.length] as (typeof SERIES)[number]
  // Probes often share a delay: shifted by a few pixels, their intervals stay readable.
  const shift = index * 3
  const marks = points.map(
    ({ delayMs, pFail, n, interval: [low, high] }) =>
      `<g stroke="${colour}" fill="${colour}"><line x1="${at(x(delayMs) + shift)}" x2="${at(x(delayMs) + shift)}" y1="${at(y(low))}" y2="${at(y(high))}" class="interval"/><circle cx="${at(x(delayMs) + shift)}" cy="${at(y(pFail))}" r="4"><title>${delayMs} ms: ${Math.round(pFail * n)} of ${n} failed, 95 % ${(low * 100).toFixed(0)}–${(high * 100).toFixed(0)} %</title></circle></g>`,
  )
  const line = points.map(({ delayMs, pFail }) => `${at(x(delayMs) + shift)},${at(y(pFail))}`).join(' ')
  const legendY = HEIGHT + 22 * index + 8
  return `${band(edge, colour, x, y)}<polyline points="${line}" fill="none" stroke="${colour}" stroke-width="1.5" stroke-dasharray="${dash}"/>${marks.join('')}
<line x1="${LEFT}" x2="${LEFT + 30}" y1="${legendY - 4}" y2="${legendY - 4}" stroke="${colour}" stroke-width="2" stroke-dasharray="${dash}"/><text x="${LEFT + 38}" y="${legendY}">${escapeHtml(points[0]?.probe ?? '')}${edgeText(edge)}</text>`
}

function band(
  edge: Edge | undefined,
  colour: string,
  x: (delay: number) => number,
  y: (share: number) => number,
): string {
  if (edge === undefined || edge.lastFailMs === null || edge.firstOkMs === null) return ''
  return `<rect x="${at(x(edge.lastFailMs))}" y="${y(1)}" width="${at(Math.max(1, x(edge.firstOkMs) - x(edge.lastFailMs)))}" height="${at(y(0) - y(1))}" fill="${colour}" class="band"><title>edge: ${edge.lastFailMs}–${edge.firstOkMs} ms</title></rect>`
}

function edgeText(edge: Edge | undefined): string {
  if (edge === undefined) return ''
  if (edge.lastFailMs === null) return ': never failed'
  return edge.firstOkMs === null
    ? `: fails up to the longest delay`
    : `: edge between ${edge.lastFailMs} and ${edge.firstOkMs} ms`
}
