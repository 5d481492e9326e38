// Eight workers increment one cell; this thread never loads the addon. Prints what a ninth worker reads.
import { Worker } from 'node:worker_threads'
import { once } from 'node:events'

const [module, threads, times] = process.argv.slice(2)
const start = new Int32Array(new SharedArrayBuffer(8))

const worker = (work) =>
  new Worker(
    `import(${JSON.stringify(module)}).then(({ sharedCell }) => { const { parentPort, workerData: { start, threads, times } } = require('node:worker_threads'); ${work} })`,
    {
      eval: true,
      workerData: { start, threads: Number(threads), times: Number(times) },
    },
  )

const increment = `
  Atomics.add(start, 0, 1)
  if (Atomics.load(start, 0) === threads) { Atomics.store(start, 1, 1); Atomics.notify(start, 1) }
  Atomics.wait(start, 1, 0)
  const cell = sharedCell('counter')
  for (let time = 0; time < times; time += 1) cell.update((value = 0) => value + 1)`

await Promise.all(Array.from({ length: Number(threads) }, () => once(worker(increment), 'exit')))
const reader = worker(
  `const { value, version } = sharedCell('counter').read(); parentPort.postMessage({ value, version })`,
)
const [{ value, version }] = await once(reader, 'message')
console.log(JSON.stringify({ value, version: Number(version) }))
