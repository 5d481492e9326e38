// Workers are terminated while our threads settle their waits. Prints how many were.
import { Worker } from 'node:worker_threads'
import { once } from 'node:events'
import { setTimeout as pause } from 'node:timers/promises'

const [module, count] = process.argv.slice(2)
const { sharedCell } = await import(module)
const WAITS = 50

const waiter = `import(${JSON.stringify(module)}).then(({ sharedCell }) => {
  const settled = sharedCell('settled')
  for (let wait = 0; wait < ${WAITS}; wait += 1) settled.waitForChange(settled.read().version).catch(() => {})
  for (let wait = 0; wait < ${WAITS}; wait += 1) sharedCell('silent').waitForChange(0n).catch(() => {})
  require('node:worker_threads').parentPort.postMessage('waiting')
  for (;;);
})`

for (let index = 0; index < Number(count); index += 1) {
  const worker = new Worker(waiter, { eval: true })
  await once(worker, 'message')
  sharedCell('settled').update((value = 0) => value + 1)
  // Ends them at different moments of the settling.
  await pause(index % 10)
  await worker.terminate()
}
console.log(JSON.stringify({ terminated: Number(count) }))
