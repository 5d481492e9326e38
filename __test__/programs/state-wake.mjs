// A worker writes a cell while this thread waits for it. Prints how the wait ended.
import { Worker } from 'node:worker_threads'

const [module, timeoutMs] = process.argv.slice(2)
const { sharedCell } = await import(module)
const writer = `import(${JSON.stringify(module)}).then(({ sharedCell }) => {
  const cell = sharedCell('woken')
  setInterval(() => {}, 1000)
  cell.write('hello')
})`

// The wait keeps nothing alive, the worker does; the timeout ends the test of a write that wakes nobody.
const wait = sharedCell('woken').waitForChange(0n, { timeoutMs: Number(timeoutMs) })
const worker = new Worker(writer, { eval: true })
const ended = await wait.then(
  () => sharedCell('woken').read().value,
  ({ code }) => code,
)
await worker.terminate()
console.log(JSON.stringify({ ended }))
