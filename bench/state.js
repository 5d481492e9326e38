// State: the cost of a read compared with a Map and a global symbol, and the cost of checking for a change compared with
// Atomics.load. Also the speed of two threads that update one value, compared with a mutex in shared memory and with
// messages.
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { Worker } from 'node:worker_threads'
import { defineState, sharedCell } from '../dist/state.js'
import { inTurn, median } from './lib/measure.js'
import { report } from './lib/report.js'
import { recoveries } from './lib/state-recovery.js'
import { overDiscoveries } from './lib/state-workerd.js'

const READS = 5_000_000
const UPDATES = 20_000
const THREADS = 2

const nanoseconds = (times, count) => (median(times) * 1e6) / count
const text = (value) => `${value.toFixed(1)} ns`
let sink

// Each contestant has a loop of its own. In a shared loop its call would not be inlined, and would cost the same for
// all.
async function reads() {
  const init = () => ({ count: 0 })
  const map = new Map()
  for (let index = 0; index < 20; index += 1) map.set(`key ${index}`, defineState(`key ${index}`, init))
  const symbol = Symbol.for('bench/key')
  globalThis[symbol] = map.get('key 7')
  const times = await inTurn(
    {
      ours: () => {
        for (let read = 0; read < READS; read += 1) sink = defineState('key 7', init)
      },
      map: () => {
        for (let read = 0; read < READS; read += 1) sink = map.get('key 7')
      },
      cachedSymbol: () => {
        for (let read = 0; read < READS; read += 1) sink = globalThis[symbol]
      },
      symbolFor: () => {
        for (let read = 0; read < READS; read += 1) sink = globalThis[Symbol.for('bench/key')]
      },
    },
    { rounds: 9, warmup: 2 },
  )
  const [ours, ofMap, ofCached, ofSymbolFor] = ['ours', 'map', 'cachedSymbol', 'symbolFor'].map((name) =>
    nanoseconds(times[name], READS),
  )
  return [
    { what: 'defineState() hit against Map.get', ours: text(ours), peer: text(ofMap), ratio: ours / ofMap, reach: 2 },
    {
      what: 'defineState() hit against globalThis[Symbol.for(key)]',
      ours: text(ours),
      peer: text(ofSymbolFor),
      ratio: ours / ofSymbolFor,
    },
    {
      what: 'defineState() hit against globalThis[a symbol kept in a variable]',
      ours: text(ours),
      peer: text(ofCached),
      ratio: ours / ofCached,
    },
  ]
}

async function changes() {
  const cell = sharedCell('bench/changes')
  const version = cell.write('value')
  const word = new Int32Array(new SharedArrayBuffer(8))
  const wide = new BigInt64Array(new SharedArrayBuffer(8))
  const times = await inTurn(
    {
      ours: () => {
        for (let read = 0; read < READS; read += 1) sink = cell.changedSince(version)
      },
      atomics: () => {
        for (let read = 0; read < READS; read += 1) sink = Atomics.load(word, 0) !== 1
      },
      atomicsWide: () => {
        for (let read = 0; read < READS; read += 1) sink = Atomics.load(wide, 0) !== 1n
      },
    },
    { rounds: 9, warmup: 2 },
  )
  const [ours, narrow, broad] = ['ours', 'atomics', 'atomicsWide'].map((name) => nanoseconds(times[name], READS))
  return [
    {
      what: 'changedSince() against Atomics.load of 64 bits',
      ours: text(ours),
      peer: text(broad),
      ratio: ours / broad,
      reach: 2,
    },
    {
      what: 'changedSince() against Atomics.load of 32 bits',
      ours: text(ours),
      peer: text(narrow),
      ratio: ours / narrow,
      reach: 2,
    },
  ]
}

/**
 * Two workers update a value of the same shape until each has done its part. Returns the milliseconds of the slower
 * one.
 */
async function crossThread(how) {
  const shared = {
    how,
    start: new Int32Array(new SharedArrayBuffer(8)),
    memory: new SharedArrayBuffer(4096),
    updates: UPDATES,
    threads: THREADS,
  }
  const workers = Array.from(
    { length: THREADS },
    () => new Worker(fileURLToPath(new URL('lib/state-updates.js', import.meta.url)), { workerData: shared }),
  )
  let value = { count: 0, label: 'a value of the usual size' }
  const took = workers.map(async (worker) => {
    worker.on('message', (message) => {
      if (message !== 'update') return
      value = { ...value, count: value.count + 1 }
      worker.postMessage(value)
    })
    for (;;) {
      const [message] = await once(worker, 'message')
      if (typeof message === 'number') return message
    }
  })
  const slowest = Math.max(...(await Promise.all(took)))
  await Promise.all(workers.map((worker) => worker.terminate()))
  return slowest
}

async function updates() {
  const times = { cell: [], mutex: [], messages: [] }
  for (let round = 0; round < 5; round += 1)
    for (const how of Object.keys(times)) times[how].push(await crossThread(how))
  const [ours, mutex, messages] = ['cell', 'mutex', 'messages'].map(
    (how) => nanoseconds(times[how], UPDATES * THREADS) / 1000,
  )
  const micro = (value) => `${value.toFixed(2)} µs`
  return [
    {
      what: `update() of one value by ${THREADS} threads against a SharedArrayBuffer with an Atomics mutex and v8.serialize`,
      ours: micro(ours),
      peer: micro(mutex),
      ratio: ours / mutex,
    },
    {
      what: `the same against messages to the thread that owns the value`,
      ours: micro(ours),
      peer: micro(messages),
      ratio: ours / messages,
    },
  ]
}

async function recovery() {
  const rows = []
  for (const [vite, name] of [
    ['vite', 'Vite 8'],
    ['vite7', 'Vite 7'],
    ['vite6', 'Vite 6'],
  ]) {
    for (const [parallel, LIMIT_MS] of [
      [1, 20],
      [50, 40],
    ]) {
      const { rescued, without, floors } = await recoveries({ vite, parallel })
      const [took, peer, floor] = [rescued, without, floors].map(median)
      const what = `${parallel === 1 ? 'a GET' : `${parallel} parallel GETs`} over a re-optimization, from the optimizer's commit to the ${parallel === 1 ? '' : 'last '}whole answer (${name}, median of 10)`
      const ours = `${took.toFixed(0)} ms`
      rows.push({ what: `${what}, against the limit`, ours, peer: `${LIMIT_MS} ms`, ratio: took / LIMIT_MS, reach: 1 })
      rows.push({
        what: `the same, against the in-flight rescue turned off`,
        ours,
        peer: `${peer.toFixed(0)} ms`,
        ratio: took / peer,
      })
      rows.push({
        what: `the same, against Vite alone loading the application from an empty module graph, without a request`,
        ours,
        peer: `${floor.toFixed(0)} ms`,
        ratio: took / floor,
      })
    }
  }
  return rows
}

async function rescueOnWorkerd() {
  const { rescued, without } = await overDiscoveries()
  const [ours, peer] = [median(rescued), median(without)]
  return [
    {
      what: 'a GET over a re-optimization on workerd, run again by the in-flight rescue (median of 8), against the one that is not rescued and fails',
      ours: `${ours.toFixed(0)} ms`,
      peer: `${peer.toFixed(0)} ms`,
      ratio: ours / peer,
    },
  ]
}

report(
  'state',
  [...(await reads()), ...(await changes()), ...(await updates()), ...(await recovery()), ...(await rescueOnWorkerd())],
  [
    'For a value that one thread shares with itself, `globalThis` and a symbol are as good and cheaper: a read of `defineState` adds the key, the version and the scope. The addon is useful with vm contexts, threads or several copies of the package.',
  ],
)
if (sink === 'never') console.log(sink)
