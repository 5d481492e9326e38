// A dev server under load with three methods: warmswap, careful code by hand, and today's common method. Prints a table.
//   node demo.js                 20 s per method
//   node demo.js --seconds 5     shorter
//   node demo.js --patience 4    deletes today's orphaned lock after 4 s, instead of 8 s
//   node demo.js --serve         keeps warmswap's server running, with a page
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { openBundles } from 'warmswap'
import { buildFolders } from '../ways/careful.js'
import { bold, red } from './colours.js'
import { startLoad } from './load.js'
import { freshApp, prepareSnapshots } from './prepare.js'
import { startProgress } from './progress.js'
import { ServerProcess } from './server-process.js'
import { printTable, printVerdict } from './table.js'
import { makeTrouble, timeBetweenEdits } from './trouble.js'

const { values } = parseArgs({
  options: {
    seconds: { type: 'string', default: '20' },
    patience: { type: 'string', default: '8' },
    serve: { type: 'boolean', default: false },
    port: { type: 'string', default: '5173' },
  },
})
const work = fileURLToPath(new URL('../../../.cache/demo', import.meta.url))
/** Today's lock is stale after 30 minutes. After this time, the demo deletes it by hand, as users do. */
const patienceMs = Number(values.patience) * 1000

/** A run lasts at least as long as this many edits, also on a slow machine. */
const LEAST_EDITS = 4

async function orphanLock(way, app) {
  const holder = spawn(process.execPath, [fileURLToPath(new URL('./hold-lock.js', import.meta.url)), way, app], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  await once(holder.stdout, 'data')
  holder.kill('SIGKILL')
  await once(holder, 'close')
}

/** Runs one method. `editMs` is the time between two edits; the first run measures it. */
async function runWay(way, { snapshot, seconds, editMs }) {
  const app = await freshApp(work, way)
  await orphanLock(way, app)
  const server = new ServerProcess({ way, app, snapshot })
  const impatience = setTimeout(() => rm(join(app, 'prewarm.lock'), { recursive: true, force: true }), patienceMs)
  const { waitedMs } = await server.next('prewarmed')
  clearTimeout(impatience)
  const restored = await server.next('restored')
  const { port } = await server.next('ready')

  const load = startLoad(server, port)
  editMs ??= await timeBetweenEdits({ app, server })
  const runSeconds = Math.max(seconds, (LEAST_EDITS * editMs) / 1000)
  const progress = startProgress(way, Math.round(runSeconds), load.counts)
  const signal = AbortSignal.timeout(runSeconds * 1000)
  const startSecond = () => new ServerProcess({ way, app, snapshot })
  const trouble = await makeTrouble({ app, port, signal, startSecond, editMs })
  await servesRevision(server, trouble.revision, way === 'today' ? patienceMs : 10_000)
  await load.stop()
  progress.stop()
  await server.kill('SIGTERM')
  return {
    ...load.counts,
    ...trouble.happened,
    editMs,
    served: server.published,
    wanted: trouble.revision,
    lockSeconds: waitedMs / 1000,
    restoreSeconds: restored.ms / 1000,
    litter: await litter(way, app),
  }
}

/** Waits until the last edit is served, at most `timeoutMs`: today's method may never serve it. */
async function servesRevision(server, revision, timeoutMs) {
  const patience = AbortSignal.timeout(timeoutMs)
  while (server.published < revision && !patience.aborted)
    await once(server, 'published', { signal: patience }).catch(() => {})
}

/** Number of build folders left over when all processes have ended: all but the current one and the previous one. */
async function litter(way, app) {
  if (way === 'today') return 0
  if (way === 'careful') return Math.max(0, (await buildFolders(app)) - 2)
  const store = await openBundles(join(app, '.warmswap/bundles'))
  await store.collect()
  const left = await store.list()
  await store.close()
  return Math.max(0, left.length - 2)
}

/** The guarantees of warmswap that did not hold in this run. */
function brokenGuarantees({ failed, missing, torn, stale, lockSeconds, answered, litter: left, served, wanted }) {
  return [
    answered === 0 && 'no request was answered',
    failed > 0 && `${failed} requests failed`,
    missing > 0 && `${missing} bundles were missing`,
    torn > 0 && `${torn} bundles were torn`,
    stale > 0 && `${stale} answers were stale`,
    lockSeconds > 1 && `it waited ${lockSeconds.toFixed(1)} s for a dead lock holder`,
    left > 0 && `${left} generations were not removed`,
    served < wanted && `the last edit (${wanted}) was not served (${served})`,
  ].filter(Boolean)
}

async function serve() {
  const { snapshots } = await prepareSnapshots(work)
  const app = await freshApp(work, 'serve')
  const server = new ServerProcess({ way: 'warmswap', app, snapshot: snapshots.warmswap, port: Number(values.port) })
  const { port } = await server.next('ready')
  console.log(
    `${bold(`http://127.0.0.1:${port}/`)} shows the generation that answers, builds and restarts.\nEdit the files in ${join(app, 'src')}, or use the buttons of the page. Ctrl-C ends the server.`,
  )
  for (const name of ['SIGINT', 'SIGTERM']) process.on(name, () => server.child.kill('SIGTERM'))
  await server.ended
}

async function compare() {
  const seconds = Number(values.seconds)
  const { snapshots, files } = await prepareSnapshots(work)
  console.log(
    `A dev server with a second process on the same directory, and 6 clients: ${seconds} s for each of three methods.\nDependencies: ${files} real files, restored from a snapshot that the first run created.\n`,
  )
  const results = {}
  for (const way of ['warmswap', 'careful', 'today'])
    results[way] = await runWay(way, { snapshot: snapshots[way], seconds, editMs: results.warmswap?.editMs })
  printTable(results, patienceMs)
  const broken = brokenGuarantees(results.warmswap)
  for (const example of results.warmswap.examples) console.error(red(`  ${example}`))
  printVerdict(results, broken)
  process.exitCode = broken.length > 0 ? 1 : 0
}

await (values.serve ? serve() : compare())
