// A worker of bench/state.js: updates one value a given number of times, and reports how long that took.
import { once } from 'node:events'
import { deserialize, serialize } from 'node:v8'
import { parentPort, workerData } from 'node:worker_threads'
import { sharedCell } from '../../dist/state.js'

const { how, start, memory, updates, threads } = workerData
const next = (value = { count: 0, label: 'a value of the usual size' }) => ({ ...value, count: value.count + 1 })

const lock = new Int32Array(memory, 0, 2)
const bytes = Buffer.from(memory, 8)

function updateUnderMutex() {
  while (Atomics.compareExchange(lock, 0, 0, 1) !== 0) Atomics.wait(lock, 0, 1)
  const value = next(lock[1] === 0 ? undefined : deserialize(bytes.subarray(0, lock[1])))
  const packed = serialize(value)
  packed.copy(bytes)
  lock[1] = packed.length
  Atomics.store(lock, 0, 0)
  Atomics.notify(lock, 0, 1)
}

const cell = sharedCell('bench/updates')
const contestants = {
  cell: () => cell.update(next),
  mutex: updateUnderMutex,
  messages: () => {
    parentPort.postMessage('update')
    return once(parentPort, 'message')
  },
}

const update = contestants[how]
Atomics.add(start, 0, 1)
if (Atomics.load(start, 0) === threads) {
  Atomics.store(start, 1, 1)
  Atomics.notify(start, 1)
}
Atomics.wait(start, 1, 0)
const began = performance.now()
for (let count = 0; count < updates; count += 1) {
  const pending = update()
  if (how === 'messages') await pending
}
parentPort.postMessage(performance.now() - began)
