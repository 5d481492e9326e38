// The coordinator against the loop that dev servers have: remove, rebuild, respawn.
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { Worker } from 'node:worker_threads'
import * as esbuild from 'esbuild'
import { openBundles, openCoordinator, startWorkerThread } from 'warmswap'
import { inTurn, median, quantile } from '../lib/measure.js'

const EDITS = Number(process.env.WARMSWAP_BENCH_EDITS ?? 40)
const options = (entry) => ({ entryPoints: { handler: entry }, outExtension: { '.js': '.mjs' }, bundle: true, format: 'esm', platform: 'node', logLevel: 'silent' })

/** Thirty modules, so that there is something to bundle. */
function createProject(folder) {
  mkdirSync(folder, { recursive: true })
  for (let index = 0; index < 30; index += 1) writeFileSync(join(folder, `part${index}.ts`), `export const part${index} = ${JSON.stringify('x'.repeat(2_000))}\n`)
  const imports = Array.from({ length: 30 }, (_, index) => `import { part${index} } from './part${index}'`).join('\n')
  const parts = Array.from({ length: 30 }, (_, index) => `part${index}.length`).join(' + ')
  const entry = join(folder, 'handler.ts')
  const edit = (revision) => writeFileSync(entry, `${imports}\nexport const handler = () => ({ revision: ${revision}, size: ${parts} })\n`)
  edit(0)
  return { entry, edit }
}

async function warmswapWay(folder) {
  const project = createProject(join(folder, 'src'))
  const store = await openBundles(join(folder, 'store'))
  const coordinator = openCoordinator(store, { start: (context) => startWorkerThread(context, 'worker.mjs') })
  const run = async ({ stage }) => {
    const { outputFiles } = await esbuild.build({ ...options(project.entry), outdir: stage.path, write: false })
    await stage.writeAll(outputFiles, stage.path)
    await stage.write('worker.mjs', `import { serveRequests } from ${JSON.stringify(import.meta.resolve('warmswap/worker'))}\nimport { handler } from './handler.mjs'\nserveRequests(handler)`)
  }
  return {
    edit: project.edit,
    async reload() {
      const observed = coordinator.status().incarnation || null
      const { pin } = await coordinator.build({ atLeast: coordinator.change() }, run)
      await coordinator.reboot({ observed, reason: 'edit' })
      pin.release()
    },
    request: () => coordinator.dispatch(null),
    async close() {
      await coordinator[Symbol.asyncDispose]()
      await store.close()
    },
  }
}

async function todaysWay(folder) {
  const project = createProject(join(folder, 'src'))
  const out = join(folder, 'out')
  const waiting = new Map()
  let worker
  let ids = 0
  const give = (error) => {
    for (const { reject } of waiting.values()) reject(error)
    waiting.clear()
  }
  return {
    edit: project.edit,
    async reload() {
      const old = worker
      worker = undefined
      await old?.terminate()
      give(new Error('the worker was stopped'))
      rmSync(out, { recursive: true, force: true })
      mkdirSync(out)
      await esbuild.build({ ...options(project.entry), outdir: out })
      writeFileSync(join(out, 'worker.mjs'), "import { parentPort } from 'node:worker_threads'\nimport { handler } from './handler.mjs'\nparentPort.on('message', (id) => parentPort.postMessage({ id, answer: handler() }))\nparentPort.postMessage({ ready: true })")
      const next = new Worker(pathToFileURL(join(out, 'worker.mjs')))
      await new Promise((resolve) => next.once('message', resolve))
      next.on('message', ({ id, answer }) => {
        waiting.get(id)?.resolve(answer)
        waiting.delete(id)
      })
      worker = next
    },
    request: () =>
      new Promise((resolve, reject) => {
        if (!worker) return reject(new Error('there is no worker'))
        ids += 1
        waiting.set(ids, { resolve, reject })
        worker.postMessage(ids)
      }),
    close: () => worker?.terminate(),
  }
}

/** Edits one after the other while requests arrive every 2 ms. */
async function measure(way) {
  await way.reload()
  const times = []
  const traffic = { sent: 0, lost: 0 }
  let running = true
  const sending = (async () => {
    while (running) {
      traffic.sent += 1
      way.request().catch(() => (traffic.lost += 1))
      await new Promise((resolve) => setTimeout(resolve, 2))
    }
  })()
  for (let revision = 1; revision <= EDITS; revision += 1) {
    way.edit(revision)
    const started = performance.now()
    await way.reload()
    const answer = await way.request()
    if (answer.revision !== revision) throw new Error(`asked for revision ${revision}, got ${answer.revision}`)
    times.push(performance.now() - started)
  }
  running = false
  await sending
  return { times, ...traffic }
}

export async function coordinatorRows() {
  const folder = mkdtempSync(join(tmpdir(), 'warmswap-bench-restarts-'))
  const [ours, theirs] = [await warmswapWay(join(folder, 'ours')), await todaysWay(join(folder, 'theirs'))]
  try {
    const [mine, peer] = [await measure(ours), await measure(theirs)]
    const calls = 2_000
    const oneByOne = (request) => async () => {
      for (let call = 0; call < calls; call += 1) await request()
    }
    const turns = await inTurn({ dispatched: oneByOne(ours.request), posted: oneByOne(theirs.request) })
    const [dispatched, posted] = [turns.dispatched, turns.posted].map((times) => (median(times) * 1000) / calls)
    const ms = (value) => `${value.toFixed(1)} ms`
    return [
      { what: `edit to first answer of the new generation, p50 of ${EDITS}, against rm + rebuild + respawn`, ours: ms(median(mine.times)), peer: ms(median(peer.times)), ratio: median(mine.times) / median(peer.times) },
      { what: '… p99', ours: ms(quantile(mine.times, 0.99)), peer: ms(quantile(peer.times, 0.99)), ratio: quantile(mine.times, 0.99) / quantile(peer.times, 0.99) },
      { what: `requests lost per restart, one every 2 ms (${mine.sent} and ${peer.sent} sent)`, ours: (mine.lost / EDITS).toFixed(2), peer: (peer.lost / EDITS).toFixed(2) },
      { what: 'dispatch() and its answer against a plain postMessage and its answer', ours: `${dispatched.toFixed(1)} µs`, peer: `${posted.toFixed(1)} µs`, ratio: dispatched / posted },
    ]
  } finally {
    await ours.close()
    await theirs.close()
    rmSync(folder, { recursive: true, force: true })
  }
}
