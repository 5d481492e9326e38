// Worker threads are terminated in mid-restore and mid-snapshot: prints what became of target, stages and key.
//   caches-terminate.mjs <folder> <rounds>
// In every second round the server holds the call back, so that it cannot have finished before.
import { cpSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setImmediate as turn } from 'node:timers/promises'
import { once } from 'node:events'
import { Worker } from 'node:worker_threads'
import { openCache } from 'warmswap'
import { serve } from './caches-server.js'

const [folder, rounds] = process.argv.slice(2)
const from = join(folder, 'from')
const target = join(folder, 'targets/target')

const worker = `
const { parentPort, workerData } = require('node:worker_threads')
import(${JSON.stringify(import.meta.resolve('warmswap'))}).then(({ openCache }) => {
  const cache = openCache(workerData.store)
  const call = workerData.verb === 'restore' ? cache.restore(workerData.options) : cache.snapshot(workerData.options)
  call.then(({ outcome }) => parentPort.postMessage(outcome))
  parentPort.postMessage('called')
})`

let held
const { store, stop } = await serve(({ path, method }) =>
  held !== undefined && (method === 'PUT') === (held.verb === 'snapshot') && path.includes('/blobs/')
    ? held.reached()
    : undefined,
)

/** Resolves `met` when a request arrives that is held until the round is over. */
function hold(verb) {
  const round = { verb }
  round.over = new Promise((resolve) => {
    round.release = resolve
  })
  round.met = new Promise((resolve) => {
    round.reached = () => {
      resolve()
      return round.over
    }
  })
  return round
}

async function terminate(verb, options, isHeld, turns) {
  held = isHeld ? hold(verb) : undefined
  const thread = new Worker(worker, { eval: true, workerData: { store, verb, options } })
  await (isHeld ? held.met : once(thread, 'message'))
  if (!isHeld) for (let count = 0; count < turns; count += 1) await turn()
  await thread.terminate()
  held?.release()
}

async function until(isDone, what) {
  const ends = performance.now() + 30_000
  while (!isDone()) {
    if (performance.now() > ends) throw new Error(what)
    await turn()
  }
}
const stages = () => readdirSync(join(folder, 'targets')).filter((name) => name.startsWith('.warmswap-stage-'))
const marker = () => readdirSync(target).find((name) => name.startsWith('marker-'))

mkdirSync(from)
for (let index = 0; index < 400; index += 1) writeFileSync(join(from, `${index}.js`), 'x'.repeat(index * 40))
writeFileSync(join(from, 'marker-new'), 'new')
mkdirSync(target, { recursive: true })
writeFileSync(join(target, 'marker-old'), 'old')
const cache = openCache(store)
await cache.snapshot({ key: 'site', from })

let untouched = 0
for (let round = 0; round < Number(rounds); round += 1) {
  const isHeld = round % 2 === 0
  await terminate('restore', { key: 'site', into: target, mode: 'replace', deadlineMs: 60_000 }, isHeld, round * 3)
  await until(() => stages().length === 0, 'a stage stays')
  if (marker() === 'marker-old') untouched += 1
  else if (isHeld) throw new Error('a call that was held has changed the target')
}
// The remains of the last one do not block the next.
const { outcome } = await cache.restore({ key: 'site', into: target, mode: 'replace' })

const changed = join(folder, 'changed')
cpSync(from, changed, { recursive: true })
let kept = 0
for (let round = 0; round < Number(rounds); round += 1) {
  writeFileSync(join(changed, 'round'), `${round}`)
  const before = (await cache.inspect('site')).generation
  const isHeld = round % 2 === 0
  await terminate('snapshot', { key: 'site', from: changed, deadlineMs: 60_000 }, isHeld, round * 3)
  const after = (await cache.inspect('site')).generation
  if (after === before) kept += 1
  else if (isHeld) throw new Error('a snapshot that was held has become a generation')
}
const last = await cache.restore({ key: 'site', into: join(folder, 'targets/last') })
await cache.close()
stop()
console.log(JSON.stringify({ untouched, kept, restored: outcome, last: last.outcome }))
