/** The page of a run: one file that needs no network and no installation. */

import { mkdir, writeFile } from 'node:fs/promises'
import { dirname } from 'node:path'
import type { Edge, Sample } from './edge.js'
import { OUTCOME_COLOURS } from './outcome-colours.js'
import { failureChart } from './page-chart.js'
import { escapeHtml } from './page-text.js'
import { timelineChart } from './page-timeline.js'
import type { TimelineEvent } from './timeline.js'
import type { Outcome, SweepPoint } from './types.js'

export interface PageFacts {
  title: string
  command: string
  seed: number
  summary: string
  notes: string[]
  points: SweepPoint[]
  edge: Record<string, Edge>
  samples?: Sample[]
  events: TimelineEvent[]
}

export async function writePage(file: string, facts: PageFacts): Promise<void> {
  await mkdir(dirname(file), { recursive: true })
  await writeFile(file, page(facts))
}

function page(facts: PageFacts): string {
  const { title, command, seed, summary, notes, points, edge, samples = [], events } = facts
  return `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>${escapeHtml(title)}</title><style>${STYLE}</style></head><body>
<h1>${escapeHtml(title)}</h1>
${
  summary &&
  `<ul class="summary">${summary
    .split('\n')
    .map((line) => `<li>${escapeHtml(line)}</li>`)
    .join('')}</ul>`
}
<p>Repeat: <code>${escapeHtml(command)}</code> · seed ${seed}</p>
${notes.map((note) => `<p class="note">${escapeHtml(note)}</p>`).join('\n')}
<p class="legend">${Object.entries(OUTCOME_COLOURS)
    .map(([outcome, colour]) => `<span><i style="background:${colour}"></i>${outcome}</span>`)
    .join(' ')}</p>
${points.length === 0 ? '' : `<h2>p(fail | delay after ready)</h2>\n${failureChart(points, edge)}`}
<h2>Time line</h2>
<p class="note">One clock for all processes; a bar is faint while its process starts and solid once it is ready. Scroll sideways for the rest; hold the pointer over anything for its time and detail.</p>
<div class="scroll">${timelineChart(events)}</div>
${points.length === 0 ? '' : `<h2>Points</h2>\n${table(points)}`}
<script type="application/json" id="data">${JSON.stringify({ seed, command, points, edge, samples }).replaceAll('<', '\\u003c')}</script>
</body></html>
`
}

function table(points: SweepPoint[]): string {
  const row = ({ probe, delayMs, n, pFail, interval: [low, high], outcomes }: SweepPoint): string =>
    `<tr><td>${escapeHtml(probe)}<td class="n">${delayMs}<td class="n">${n}<td class="n">${percent(pFail)}<td class="n">${percent(low)} – ${percent(high)}<td>${bar(outcomes, n)} ${Object.entries(
      outcomes,
    )
      .map(([outcome, count]) => `${count} ${outcome}`)
      .join(', ')}`
  return `<table><thead><tr><th>probe<th class="n">delay, ms<th class="n">n<th class="n">p(fail)<th class="n">95 % interval<th>outcomes</thead><tbody>${points.map(row).join('\n')}</tbody></table>`
}

function bar(outcomes: SweepPoint['outcomes'], n: number): string {
  const parts = (Object.entries(outcomes) as [Outcome, number][]).map(
    ([outcome, count]) => `<i style="width:${(100 * count) / n}%;background:${OUTCOME_COLOURS[outcome]}"></i>`,
  )
  return `<span class="bar">${parts.join('')}</span>`
}

function percent(share: number): string {
  return `${(share * 100).toFixed(0)} %`
}

const STYLE = `
:root{color-scheme:light dark;--text:#1c2024;--soft:#60646c;--line:#d9d9e0;--back:#fff;--panel:#f7f7f9}
@media (prefers-color-scheme:dark){:root{--text:#edeef0;--soft:#b0b4ba;--line:#3a3d42;--back:#111113;--panel:#1a1b1e}}
body{font:14px/1.5 system-ui,sans-serif;color:var(--text);background:var(--back);margin:2rem auto;max-width:1180px;padding:0 1rem}
h1{font-size:1.5rem;margin:0 0 .5rem}h2{font-size:1.1rem;margin:2rem 0 .5rem}
.summary{font-size:1.05rem;padding-left:1.2rem}.note{color:var(--soft);margin:.2rem 0}
code{background:var(--panel);padding:.15rem .4rem;border-radius:4px;overflow-wrap:anywhere}
.legend span{margin-right:1rem;white-space:nowrap}.legend i{display:inline-block;width:.8em;height:.8em;border-radius:2px;margin-right:.35em}
.scroll{overflow-x:auto;border:1px solid var(--line);border-radius:6px;background:var(--panel)}
svg{display:block;font:12px system-ui,sans-serif}svg text{fill:var(--text)}svg .soft{fill:var(--soft)}
svg .grid{stroke:var(--line);stroke-width:1}svg .panel{fill:var(--panel)}svg .axis{stroke:var(--soft)}
svg .interval{stroke-width:1.5;opacity:.6}svg .band{opacity:.15}
@media (prefers-color-scheme:dark){svg .interval{opacity:.9}svg .band{opacity:.4}}
table{border-collapse:collapse;width:100%}th,td{padding:.25rem .6rem;border-bottom:1px solid var(--line);text-align:left}
td.n,th.n{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}
.bar{display:inline-flex;width:120px;height:.8em;border-radius:2px;overflow:hidden;vertical-align:middle;margin-right:.5rem}.bar i{display:block;height:100%}
`
