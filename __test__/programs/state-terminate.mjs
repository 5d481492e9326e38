// Workers are terminated while they write, read and wait. Prints how much memory that cost and how many waits are left.
import { createRequire } from 'node:module'
import { setImmediate as turn } from 'node:timers/promises'
import { Worker } from 'node:worker_threads'
import { once } from 'node:events'

const [module, count] = process.argv.slice(2)
const { onStateChange, sharedCell } = await import(module)
const binding = createRequire(module)('./binding.cjs')
const probe = new binding.NativeCell(Buffer.from('busy', 'utf16le'))
const WARM_UP = 60

// Neither of these may keep the process from ending.
onStateChange(() => {})
const mine = sharedCell('quiet').waitForChange(0n)
mine.catch(() => {})

const busy = `import(${JSON.stringify(module)}).then(({ sharedCell }) => {
  const { parentPort } = require('node:worker_threads')
  const cell = sharedCell('busy')
  for (let wait = 0; wait < 10; wait += 1) cell.waitForChange(2n ** 60n + cell.read().version).catch(() => {})
  for (let wait = 0; wait < 10; wait += 1) sharedCell('silent').waitForChange(0n).catch(() => {})
  parentPort.postMessage('busy')
  for (;;) cell.update((value = 0) => value + 1)
})`

async function startAndTerminate(index) {
  const worker = new Worker(busy, { eval: true })
  await once(worker, 'message')
  for (let turns = 0; turns < index % 5; turns += 1) await turn()
  await worker.terminate()
}

async function memory() {
  for (let turns = 0; turns < 5; turns += 1) {
    globalThis.gc()
    await turn()
  }
  return process.memoryUsage.rss()
}

for (let index = 0; index < WARM_UP; index += 1) await startAndTerminate(index)
const before = await memory()
for (let index = 0; index < Number(count); index += 1) await startAndTerminate(index)
const after = await memory()
const silent = new binding.NativeCell(Buffer.from('silent', 'utf16le'))
for (let turns = 0; turns < 1000 && probe.waiting() + silent.waiting() > 0; turns += 1) await turn()
console.log(JSON.stringify({ grownBytes: after - before, waiting: probe.waiting() + silent.waiting() }))
