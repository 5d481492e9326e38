// Pins the current generation of a store, and ends or does not, as its second argument says. 'eat memory' and 'eat heap'
// allocate more and more after a message.
import { spawn } from 'node:child_process'
import { isMainThread, parentPort, workerData } from 'node:worker_threads'
import { openBundles } from 'warmswap'

const [root, ending] = isMainThread ? process.argv.slice(2) : [workerData.root, workerData.ending]
const say = (text) => (isMainThread ? console.log(text) : parentPort.postMessage(text))
const store = await openBundles(root)
globalThis.pin = store.pin()

if (ending === 'leave a grandchild') {
  const sleeper = spawn('sleep', ['30'], { detached: true, stdio: 'ignore' })
  sleeper.unref()
  say(`grandchild ${sleeper.pid}`)
}
if (ending === 'leave a stage') {
  globalThis.stage = await store.stage()
  await globalThis.stage.write('a', 'half')
}
say(`holding ${pin.generation.number}`)
if (ending === 'exit' || ending === 'leave a grandchild') process.exit(0)
if (ending.startsWith('eat')) {
  process.stdin.once('data', () => {
    const eaten = []
    for (;;) eaten.push(ending === 'eat memory' ? Buffer.alloc(1 << 20, 1) : Array(1 << 16).fill(eaten.length))
  })
}
if (ending === 'throw')
  setTimeout(() => {
    throw new Error('as asked')
  })
setInterval(() => {}, 1000)
