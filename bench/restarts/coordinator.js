// The coordinator compared with the loop of today's dev servers: remove, rebuild, respawn.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { Worker } from 'node:worker_threads'
import * as esbuild from 'esbuild'
import { openBundles, openCoordinator, startWorkerThread } from 'warmswap'
import { inTurn, median, quantile } from '../lib/measure.js'

const EDITS = Number(process.env.WARMSWAP_BENCH_EDITS ?? 40)
const options = (entry) => ({
  entryPoints: { handler: entry },
  outExtension: { '.js': '.mjs' },
  bundle: true,
  format: 'esm',
  platform: 'node',
  logLevel: 'silent',
})

/** Thirty modules, so that the bundler has work to do. */
function createProject(folder) {
  mkdirSync(folder, { recursive: true })
  for (let index = 0; index < 30; index += 1)
    writeFileSync(join(folder, `part${index}.ts`), `export const part${index} = ${JSON.stringify('x'.repeat(2_000))}\n`)
  const imports = Array.from({ length: 30 }, (_, index) => `import { part${index} } from './part${index}'`).join('\n')
  const parts = Array.from({ length: 30 }, (_, index) => `part${index}.length`).join(' + ')
  const entry = join(folder, 'handler.ts')
  const edit = (revision) =>
    writeFileSync(entry, `${imports}\nexport const handler = () => ({ revision: ${revision}, size: ${parts} })\n`)
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
    await stage.write(
      'worker.mjs',
      `import { serveRequests } from ${JSON.stringify(import.meta.resolve('warmswap/worker'))}\nimport { handler } from './handler.mjs'\nserveRequests(handler)`,
    )
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
      writeFileSync(
        join(out, 'worker.mjs'),
        "import { parentPort } from 'node:worker_threads'\nimport { handler } from './handler.mjs'\nparentPort.on('message', (id) => parentPort.postMessage({ id, answer: handler() }))\nparentPort.postMessage({ ready: true })",
      )
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

const builder = fileURLToPath(new URL('../../__test__/programs/coordinator-builder.mjs', import.meta.url))
const TAKEOVERS = Number(process.env.WARMSWAP_BENCH_TAKEOVERS ?? 20)

/** A process that builds on command. `next` resolves with its next event of a name. */
function startBuilder(folder, name) {
  const child = spawn(
    process.execPath,
    [builder, join(folder, 'store'), join(folder, 'input'), join(folder, 'log'), name],
    { stdio: ['pipe', 'pipe', 'inherit'] },
  )
  const lines = createInterface({ input: child.stdout })
  const next = (event) =>
    new Promise((resolve) => {
      const listen = (line) => {
        const fact = JSON.parse(line)
        if (fact.event !== event) return
        lines.off('line', listen)
        resolve(fact)
      }
      lines.on('line', listen)
    })
  return {
    next,
    ready: next('ready'),
    tell: (command) => child.stdin.write(`${JSON.stringify({ command })}\n`),
    kill: () => child.kill('SIGKILL'),
    ended: once(child, 'exit'),
  }
}

/** Milliseconds from the kernel's report that the builder is dead until the last of five waiters has its build. */
async function takeovers(folder) {
  mkdirSync(join(folder, 'input'), { recursive: true })
  writeFileSync(join(folder, 'log'), '')
  const waiters = [1, 2, 3, 4, 5].map((name) => startBuilder(folder, `waiter-${name}`))
  await Promise.all(waiters.map(({ ready }) => ready))
  const times = []
  for (let round = 0; round < TAKEOVERS; round += 1) {
    const killed = startBuilder(folder, `killed-${round}`)
    await killed.ready
    killed.tell('hang')
    await killed.next('building')
    const waiting = Promise.all(waiters.map(({ next }) => next('waiting')))
    const built = Promise.all(waiters.map(({ next }) => next('built')))
    for (const { tell } of waiters) tell('once')
    await waiting
    killed.kill()
    await killed.ended
    const dead = Number(process.hrtime.bigint() / 1000n)
    times.push((Math.max(...(await built).map(({ at }) => at)) - dead) / 1000)
  }
  for (const { kill } of waiters) kill()
  return times
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
    const taken = await takeovers(join(folder, 'takeovers'))
    const ms = (value) => `${value.toFixed(1)} ms`
    return [
      {
        what: `edit to first answer of the new generation, p50 of ${EDITS}, against rm + rebuild + respawn`,
        ours: ms(median(mine.times)),
        peer: ms(median(peer.times)),
        ratio: median(mine.times) / median(peer.times),
        reach: 1,
      },
      {
        what: '… p99',
        ours: ms(quantile(mine.times, 0.99)),
        peer: ms(quantile(peer.times, 0.99)),
        ratio: quantile(mine.times, 0.99) / quantile(peer.times, 0.99),
      },
      {
        what: `requests lost per restart, one every 2 ms (${mine.sent} and ${peer.sent} sent)`,
        ours: (mine.lost / EDITS).toFixed(2),
        peer: (peer.lost / EDITS).toFixed(2),
      },
      {
        what: `builder killed, 5 processes wait: until all have their build, p50 / max of ${TAKEOVERS}`,
        ours: `${ms(median(taken))} / ${ms(Math.max(...taken))}`,
        reach: '100 ms',
      },
      {
        what: 'dispatch() and its answer against a plain postMessage and its answer',
        ours: `${dispatched.toFixed(1)} µs`,
        peer: `${posted.toFixed(1)} µs`,
        ratio: dispatched / posted,
        reach: 1.5,
      },
    ]
  } finally {
    await ours.close()
    await theirs.close()
    rmSync(folder, { recursive: true, force: true })
  }
}
