// warmswap's main job on real input, then the same load the way it is done today, and one table of both.
//   node demo.js                 about 30 s each
//   node demo.js --seconds 5     shorter
//   node demo.js --patience 4    deletes today's orphaned lock after 4 s, instead of 8 s
//   node demo.js --serve         warmswap's server stays up for a person
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { openBundles } from 'warmswap'
import { startLoad } from './load.js'
import { freshApp, prepareSnapshots } from './prepare.js'
import { startProgress } from './progress.js'
import { ServerProcess } from './server-process.js'
import { printTable } from './table.js'
import { makeTrouble } from './trouble.js'

const { values } = parseArgs({
  options: {
    seconds: { type: 'string', default: '30' },
    patience: { type: 'string', default: '8' },
    serve: { type: 'boolean', default: false },
    port: { type: 'string', default: '5173' },
  },
})
const work = fileURLToPath(new URL('../../../.cache/demo', import.meta.url))
/** Today's lock is stale after 30 minutes; after this time the demo does what users do and deletes it by hand. */
const patienceMs = Number(values.patience) * 1000

async function orphanLock(way, app) {
  const holder = spawn(process.execPath, [fileURLToPath(new URL('./hold-lock.js', import.meta.url)), way, app], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  await once(holder.stdout, 'data')
  holder.kill('SIGKILL')
  await once(holder, 'close')
}

async function runWay(way, { snapshot, seconds }) {
  const app = await freshApp(work, way)
  await orphanLock(way, app)
  const server = new ServerProcess({ way, app, snapshot })
  const impatience = setTimeout(() => rm(join(app, 'prewarm.lock'), { recursive: true, force: true }), patienceMs)
  const { waitedMs } = await server.next('prewarmed')
  clearTimeout(impatience)
  const restored = await server.next('restored')
  const { port } = await server.next('ready')

  const load = startLoad(server, port)
  const progress = startProgress(way, seconds, load.counts)
  const signal = AbortSignal.timeout(seconds * 1000)
  const trouble = await makeTrouble({ app, port, signal, startSecond: () => new ServerProcess({ way, app, snapshot }) })
  await servesRevision(server, trouble.revision, way === 'today' ? patienceMs : 10_000)
  await load.stop()
  progress.stop()
  await server.kill('SIGTERM')
  return {
    ...load.counts,
    ...trouble.happened,
    served: server.published,
    wanted: trouble.revision,
    lockSeconds: waitedMs / 1000,
    restoreSeconds: restored.ms / 1000,
    litter: await litter(way, app),
  }
}

/** Waits until the last edit is served, at most `timeoutMs`: today's way may never serve it. */
async function servesRevision(server, revision, timeoutMs) {
  const patience = AbortSignal.timeout(timeoutMs)
  while (server.published < revision && !patience.aborted)
    await once(server, 'published', { signal: patience }).catch(() => {})
}

/** Generations that are left over once everybody has gone: all but the current one and the one kept behind it. */
async function litter(way, app) {
  if (way !== 'warmswap') return 0
  const store = await openBundles(join(app, '.warmswap/bundles'))
  await store.collect()
  const left = await store.list()
  await store.close()
  return Math.max(0, left.length - 2)
}

function brokenPromises({ failed, missing, torn, stale, lockSeconds, answered, litter: left, served, wanted }) {
  return [
    answered === 0 && 'nothing was answered',
    failed > 0 && `${failed} requests failed`,
    missing > 0 && `${missing} bundles were missing`,
    torn > 0 && `${torn} bundles were torn`,
    stale > 0 && `${stale} answers were stale`,
    lockSeconds > 1 && `${lockSeconds.toFixed(1)} s were lost behind a dead holder`,
    left > 0 && `${left} generations were left over`,
    served < wanted && `the last edit (${wanted}) was not served (${served})`,
  ].filter(Boolean)
}

async function serve() {
  const { snapshots } = await prepareSnapshots(work)
  const app = await freshApp(work, 'serve')
  const server = new ServerProcess({ way: 'warmswap', app, snapshot: snapshots.warmswap, port: Number(values.port) })
  const { port } = await server.next('ready')
  console.log(
    `warmswap demo: http://127.0.0.1:${port}/ shows which generation answers.\nEdit ${join(app, 'src')} and watch. Ctrl-C ends it.`,
  )
  for (const name of ['SIGINT', 'SIGTERM']) process.on(name, () => server.child.kill('SIGTERM'))
  await server.ended
}

async function compare() {
  const seconds = Number(values.seconds)
  const { snapshots, files } = await prepareSnapshots(work)
  console.log(
    `A dev server, its second process on the same directory, 6 clients, ${seconds} s each way.\nDependencies: ${files} real files, restored from a snapshot that the first run made.\n`,
  )
  const ours = await runWay('warmswap', { snapshot: snapshots.warmswap, seconds })
  const today = await runWay('today', { snapshot: snapshots.today, seconds })
  printTable({ today, warmswap: ours }, patienceMs)
  const broken = brokenPromises(ours)
  for (const promise of broken) console.error(`A promise broke: ${promise}`)
  for (const example of ours.examples) console.error(`  ${example}`)
  process.exitCode = broken.length > 0 ? 1 : 0
}

await (values.serve ? serve() : compare())
