// node examples/prewarm/run.js: starts eight tools and kills the holder with SIGKILL while it prewarms. Today's method
// first, then warmswap.
import { spawn } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'

const tool = join(dirname(fileURLToPath(import.meta.url)), 'tool.js')
const STARTS = 8

function start(way, folder, onPrewarming) {
  const child = spawn(process.execPath, [tool, way, folder], { stdio: ['ignore', 'pipe', 'ignore'] })
  let isReady = false
  createInterface({ input: child.stdout }).on('line', (line) => {
    if (line === 'prewarming') onPrewarming(child)
    isReady ||= line === 'ready'
  })
  return new Promise((resolve) =>
    child.on('close', () => resolve({ isReady, wasKilled: child.signalCode === 'SIGKILL' })),
  )
}

/** How many of the tools got their template, and how long it took after the kill. */
async function attempt(way) {
  const folder = mkdtempSync(join(tmpdir(), 'warmswap-prewarm-'))
  let killedAt
  const onPrewarming = (child) => {
    if (killedAt !== undefined) return
    killedAt = performance.now()
    child.kill('SIGKILL')
  }
  const ended = await Promise.all(Array.from({ length: STARTS }, () => start(way, folder, onPrewarming)))
  const seconds = (performance.now() - killedAt) / 1000
  const runs = readFileSync(join(folder, 'runs'), 'utf8').trim().split('\n').length
  rmSync(folder, { recursive: true })
  return {
    way,
    served: ended.filter(({ isReady }) => isReady).length,
    killed: ended.filter(({ wasKilled }) => wasKilled).length,
    runs,
    seconds,
  }
}

const results = [await attempt('today'), await attempt('warmswap')]
console.log('way        served  of  runs  seconds after the kill')
for (const { way, served, killed, runs, seconds } of results)
  console.log(
    `${way.padEnd(10)} ${String(served).padStart(6)} ${String(STARTS - killed).padStart(3)} ${String(runs).padStart(5)}  ${seconds.toFixed(2).padStart(8)}`,
  )
const [, ours] = results
process.exitCode = ours.served === STARTS - 1 && ours.runs === 2 ? 0 : 1
