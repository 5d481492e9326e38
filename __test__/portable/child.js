// The child process of the portable suite: reads calls as JSON lines from standard input and answers each with a line.
// It ends when standard input does.
import { spawn } from 'node:child_process'
import { readFileSync, renameSync, writeFileSync } from 'node:fs'
import { createInterface } from 'node:readline'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { commandOf, readTree, warmswap, writeTree } from './support.js'

const locks = new Map()
const pins = []
const stores = new Map()
let stage
let stopped = false

const send = (message) => process.stdout.write(`${JSON.stringify(message)}\n`)
const event = (name, value) => send({ event: name, value })
const cacheAt = (folder) => warmswap.openCache(pathToFileURL(folder).href)

/** Starts a process that does nothing, and outlives this one. Returns its pid. */
function sleeper(options) {
  const [program, ...args] = commandOf(fileURLToPath(new URL('sleeper.js', import.meta.url)))
  const child = spawn(program, args, { detached: true, ...options })
  child.unref()
  return child.pid
}

async function storeAt(root, options) {
  if (!stores.has(root)) stores.set(root, await warmswap.openBundles(root, options))
  return stores.get(root)
}

function factsOf(lock) {
  locks.set(lock.path, lock)
  return { path: lock.path, generation: lock.generation, mode: lock.mode, tookOverFrom: lock.tookOverFrom }
}

const operations = {
  // Locks.
  acquire: async (path, options) => factsOf(await warmswap.acquireLock(path, options)),
  acquireAndReport: async (path) =>
    factsOf(
      await warmswap.acquireLock(path, { onWait: ({ liveness, holder }) => event('waiting', { liveness, holder }) }),
    ),
  async tryLock(path) {
    const lock = await warmswap.tryLock(path)
    if (lock) factsOf(lock)
    return lock !== null
  },
  release: (path) => [...locks.values()].find((lock) => lock.path === path || lock.path.endsWith(path)).release(),
  releaseAll: () => [...locks.values()].map((lock) => lock.release()),
  progress: (path, phase) => locks.get(path).progress(phase),
  /** Starts a child that inherits the lock. */
  async cover(path) {
    const lock = await warmswap.acquireLock(path, { coverChildren: true })
    locks.set(path, lock)
    return sleeper({
      stdio: ['ignore', 'ignore', 'ignore', lock.childFd()],
      env: { ...process.env, ...lock.childEnv() },
    })
  },
  async startSleeper(path) {
    locks.set(path, await warmswap.acquireLock(path))
    return sleeper({ stdio: 'ignore' })
  },
  inspect: (path) => warmswap.inspectLock(path),
  waitForLock: (path) => warmswap.waitForLock(path, { onWait: () => event('waiting') }),
  publishFenced: (lock, from, to) => warmswap.publishFenced(lock, from, to),
  /** Adds one to the number in a file, `times` times, each time under the lock. */
  async increment(lockPath, file, times) {
    for (let index = 0; index < times; index += 1) {
      await warmswap.withLock(lockPath, async () => {
        const value = Number(readFileSync(file, 'utf8'))
        await new Promise((done) => setImmediate(done))
        // A process can be killed between the truncation of a file and the write.
        writeFileSync(`${file}.new`, String(value + 1))
        renameSync(`${file}.new`, file)
      })
      event('incremented')
    }
  },
  async prewarm(path, file, options) {
    const isReady = () => {
      try {
        return readFileSync(file, 'utf8')
      } catch {
        return undefined
      }
    }
    const run = async () => {
      event('running')
      if (options?.hang) await new Promise(() => setInterval(() => {}, 1000))
      writeFileSync(file, `made by ${process.pid}`)
      return `made by ${process.pid}`
    }
    const { value, role, tookOverFrom } = await warmswap.prewarm(
      path,
      { isReady, run },
      { onWait: () => event('waiting') },
    )
    return { value, role, tookOverFrom }
  },

  // Bundles.
  async pin(root, options) {
    const pin = (await storeAt(root)).pin(options)
    pins.push(pin)
    return { number: pin.generation.number, path: pin.path }
  },
  unpin: () => pins.splice(0).map((pin) => pin.release()).length,
  current: async (root) => (await storeAt(root)).current()?.number ?? null,
  async publish(root, files, options) {
    const staged = await (await storeAt(root)).stage()
    for (const [name, text] of Object.entries(files)) await staged.write(name, text)
    return (await staged.publish(options)).number
  },
  async stage(root, files) {
    stage = await (await storeAt(root)).stage()
    for (const [name, text] of Object.entries(files)) await stage.write(name, text)
    return stage.path
  },
  publishStage: async () => (await stage.publish()).number,
  /** Publishes generations with two files of the same content until it is killed. */
  async publishEndlessly(root) {
    for (let index = 0; ; index += 1) {
      const number = await operations.publish(root, { 'a.txt': `text ${index}`, 'b.txt': `text ${index}` })
      event('published', number)
    }
  },
  /** Reads generations until a call of `stop`; counts those whose two files differ. */
  async readEndlessly(root) {
    const store = await storeAt(root)
    const seen = new Set()
    let torn = 0
    stopped = false
    while (!stopped) {
      const pin = store.pin()
      const { number } = pin.generation
      try {
        if (readFileSync(pin.resolve('a.txt'), 'utf8') !== readFileSync(pin.resolve('b.txt'), 'utf8')) torn += 1
        if (!seen.has(number)) event('read', number)
        seen.add(number)
      } finally {
        pin.release()
      }
      await new Promise((done) => setImmediate(done))
    }
    return { torn, seen: seen.size }
  },
  stop() {
    stopped = true
  },
  async ensure(root, fingerprint, hang) {
    const build = async (staged) => {
      event('building')
      if (hang) await new Promise(() => setInterval(() => {}, 1000))
      await staged.write('built.txt', 'built')
    }
    const pin = await (await storeAt(root)).ensure(build, { fingerprint })
    pins.push(pin)
    return pin.generation.number
  },

  // Caches and archives.
  snapshot: (folder, options) => cacheAt(folder).snapshot(options),
  restore: (folder, options) => cacheAt(folder).restore(options),
  async snapshotEndlessly(folder, key, from) {
    for (let index = 0; ; index += 1) {
      writeTree(from, { 'a.txt': `text ${index}`, 'b.txt': `text ${index}` })
      const { outcome } = await cacheAt(folder).snapshot({ key, from })
      event('saved', outcome)
    }
  },
  /** Exchanges a folder between two keys until it is killed. */
  async restoreEndlessly(folder, keys, into) {
    for (let index = 0; ; index += 1) {
      const { outcome } = await cacheAt(folder).restore({ key: keys[index % keys.length], into, mode: 'replace' })
      event('restored', outcome)
    }
  },
  /** Unpacks an archive of which the last bytes never come. */
  async unpackPart(archive, into) {
    const bytes = readFileSync(archive)
    async function* part() {
      yield bytes.subarray(0, Math.floor(bytes.length * 0.8))
      event('stalled')
      await new Promise(() => setInterval(() => {}, 1000))
    }
    return warmswap.unpack(part(), into)
  },
  readTree: (folder) => readTree(folder),

  // The process itself.
  async reset() {
    for (const lock of locks.values()) lock.release()
    for (const pin of pins) pin.release()
    await stage?.discard()
    for (const store of stores.values()) await store.close()
    for (const held of [locks, stores]) held.clear()
    pins.length = 0
    stage = undefined
  },
  exit: (code) => process.exit(code),
  throw() {
    setImmediate(() => {
      throw new Error('thrown by a case of the portable suite')
    })
  },
}

async function answer({ id, operation, args }) {
  try {
    send({ id, value: (await operations[operation](...args)) ?? null })
  } catch (error) {
    send({ id, error: { message: String(error?.message ?? error), code: error?.code } })
  }
}

const input = createInterface({ input: process.stdin })
input.on('line', (line) => answer(JSON.parse(line)))
input.on('close', () => process.exit(0))
event('ready', process.pid)
