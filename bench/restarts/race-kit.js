// Rows of the race kit: its fixture needs vitest, so they are measured in a run of it.
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { run } from '../../scripts/lib/process.js'

export function raceKitRows() {
  const folder = mkdtempSync(join(tmpdir(), 'warmswap-bench-'))
  const file = join(folder, 'figures.json')
  try {
    run('npx', ['vitest', 'run', '--root', 'bench/restarts'], { env: { FIGURES: file } })
    const { late, edge } = JSON.parse(readFileSync(file, 'utf8'))
    const times = ({ median, p90, most }) => `${median.toFixed(1)} / ${p90.toFixed(1)} / ${most.toFixed(1)} ms`
    return [
      {
        what: 'Ready seen late, p50 / p90 / max: interval against a 500 ms poll',
        ours: times(late.ours),
        peer: times(late.peer),
        ratio: late.ours.median / late.peer.median,
      },
      {
        what: 'Error of the edge: sweep against one poll and all delays at once',
        ours: `${edge.error.toFixed(1)} ms`,
        peer: `${edge.peerError.toFixed(1)} ms`,
        ratio: edge.error / edge.peerError,
      },
      {
        what: 'Width of the edge after a sweep',
        ours: `${edge.width.toFixed(1)} ms in ${edge.minutes.toFixed(2)} min`,
      },
    ]
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}
