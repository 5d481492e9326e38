// Writes bench/RESULTS.md: one section per capability, replaced by each run that measures it.
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { cpus, release, totalmem } from 'node:os'
import { join } from 'node:path'
import { root } from '../../scripts/lib/process.js'

const file = join(root, 'bench/RESULTS.md')

/**
 * Prints a table and writes it to RESULTS.md.
 * rows: { what, ours, peer, ratio, reach }. The figures are text; `ratio` and `reach` are numbers (warmswap
 * peer, and the target of the design) or undefined.
 */
export function report(capability, rows, notes = [], command = `npm run bench ${capability}`) {
  const lines = [
    `## ${capability}`,
    '',
    `${new Date().toISOString().slice(0, 10)} · ${cpus()[0].model.trim()}, ${cpus().length} cores, ${Math.round(totalmem() / 2 ** 30)} GiB, Linux ${release()}, Node ${process.version} · \`${command}\``,
    '',
    '| What | warmswap | peer | ratio | reach |',
    '| --- | --- | --- | --- | --- |',
    ...rows.map(
      ({ what, ours, peer, ratio, reach }) =>
        `| ${what} | ${ours} | ${peer ?? '–'} | ${ratio === undefined ? '–' : ratio.toFixed(2)} | ${reach === undefined ? '–' : `≤ ${reach}${ratio === undefined ? '' : ratio <= reach ? ' ✓' : ' ✗'}`} |`,
    ),
    '',
    ...notes.flatMap((note) => [note, '']),
  ]
  console.log(lines.join('\n'))
  replaceSection(capability, lines.join('\n'))
}

function replaceSection(name, text) {
  const begin = `<!-- ${name}:begin -->`
  const end = `<!-- ${name}:end -->`
  const known = existsSync(file)
    ? readFileSync(file, 'utf8')
    : '# Results\n\nWritten by `npm run bench`: warmswap and its peers in one run on the same input. Ratios are ours / peer.\n'
  const section = `${begin}\n${text}\n${end}`
  const from = known.indexOf(begin)
  const next =
    from < 0
      ? `${known.trimEnd()}\n\n${section}\n`
      : known.slice(0, from) + section + known.slice(known.indexOf(end) + end.length)
  writeFileSync(file, next)
}
