// Three workers, one after the other, each the only one with the addon. Prints what each read, and whether the image stayed mapped after each.
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { Worker } from 'node:worker_threads'

const [module, emptyAddon] = process.argv.slice(2)
const increment = `import(${JSON.stringify(module)}).then(({ sharedCell }) => {
  require('node:worker_threads').parentPort.postMessage(sharedCell('counted').update((value = 0) => value + 1).value)
})`
const another = `require(${JSON.stringify(emptyAddon)}); require('node:worker_threads').parentPort.postMessage(0)`

async function answerOf(code) {
  const worker = new Worker(code, { eval: true })
  const [[value]] = await Promise.all([once(worker, 'message'), once(worker, 'exit')])
  return value
}

const seen = { values: [], mapped: [] }
for (let round = 0; round < 3; round += 1) {
  seen.values.push(await answerOf(increment))
  await answerOf(another)
  seen.mapped.push(readFileSync('/proc/self/maps', 'utf8').includes(process.env.NAPI_RS_NATIVE_LIBRARY_PATH))
}
console.log(JSON.stringify(seen))
