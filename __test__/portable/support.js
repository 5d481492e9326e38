/** Shared by the cases: the package, separate folders, and child processes that execute requests. */
import { strict as assert } from 'node:assert'
import { spawn } from 'node:child_process'
import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  realpathSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join, relative, resolve, sep } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath, pathToFileURL } from 'node:url'

const here = dirname(fileURLToPath(import.meta.url))

/** The folder of the package, or the package's entry in it. */
export const packageFolder = resolve(process.env.WARMSWAP_PKG ?? join(here, '../..'))
export const packageUrl = pathToFileURL(join(packageFolder, 'dist/index.js')).href
export const warmswap = await import(packageUrl)

const isMusl = () => process.platform === 'linux' && !process.report?.getReport?.().header?.glibcVersionRuntime

/** The name of this platform or runtime in skips.js. */
export const platform =
  process.env.WARMSWAP_PORTABLE_PLATFORM ??
  (process.versions.bun ? 'bun' : undefined) ??
  (process.versions.deno ? 'deno' : undefined) ??
  `${process.platform}-${process.arch}${process.platform === 'linux' ? (isMusl() ? '-musl' : '-gnu') : ''}`

const command = process.env.WARMSWAP_PORTABLE_EXEC ? JSON.parse(process.env.WARMSWAP_PORTABLE_EXEC) : [process.execPath]
const runtimeArguments = process.versions.deno ? ['run', '--allow-all', '--no-lock'] : []

/** The program and the arguments that start a script with this runtime. */
export const commandOf = (script, ...args) => [...command, ...runtimeArguments, script, ...args]

const windows = process.platform === 'win32'
const base = realpathSync(process.env.WARMSWAP_PORTABLE_TMP ?? tmpdir())

/** Ends the children that wait for the next case. */
export const endChildren = () => Promise.all(idle.splice(0).map((child) => child.kill()))

/** Removes a folder. A process that was just killed, or a collection in the background, can still write there. */
async function remove(path) {
  for (let attempt = 1; ; attempt += 1) {
    try {
      return rmSync(path, { recursive: true, force: true })
    } catch (error) {
      if (attempt === 20) return console.log(`warning: ${path} was not removed: ${error.message}`)
      await new Promise((done) => setTimeout(done, 50))
    }
  }
}

/** A child process: child.js. Each call is answered, or rejects once the process has ended. */
class Child {
  #process
  #pending = new Map()
  #events = []
  #waiting = []
  #stderr = ''
  #next = 1

  constructor() {
    const [program, ...args] = commandOf(join(here, 'child.js'))
    this.#process = spawn(program, args, { stdio: ['pipe', 'pipe', 'pipe'] })
    this.#process.stderr.on('data', (text) => {
      this.#stderr += text
    })
    createInterface({ input: this.#process.stdout }).on('line', (line) => this.#receive(line))
    this.#process.stdin.on('error', () => {})
    this.exited = new Promise((done) => {
      this.#process.once('error', (error) => done({ error }))
      this.#process.once('close', (code, signal) => done({ code, signal }))
    })
    this.exited.then((how) => {
      const error = new Error(
        `the child ended: ${JSON.stringify(how)} ${how.error ?? ''}${this.#stderr.slice(0, 2000)}`,
      )
      for (const { reject } of this.#pending.values()) reject(error)
      for (const { reject } of this.#waiting) reject(error)
      this.#pending.clear()
      this.#waiting = []
      this.#ended = error
    })
    this.ready = this.event('ready')
    this.ready.catch(() => {})
  }

  #ended

  get pid() {
    return this.#process.pid
  }

  get stderr() {
    return this.#stderr
  }

  /** Calls an operation of child.js. */
  call(operation, ...args) {
    // JSON would make them null.
    while (args.length > 0 && args.at(-1) === undefined) args.pop()
    const id = this.#next++
    const answer = new Promise((resolve, reject) => {
      if (this.#ended) reject(this.#ended)
      this.#pending.set(id, { resolve, reject })
    })
    // A case that kills a child does not wait for its answers.
    answer.catch(() => {})
    this.#process.stdin.write(`${JSON.stringify({ id, operation, args })}\n`)
    return answer
  }

  /** The next event that the child sends with this name. */
  event(name) {
    const index = this.#events.findIndex((each) => each.event === name)
    if (index >= 0) return Promise.resolve(this.#events.splice(index, 1)[0].value)
    return new Promise((resolve, reject) => {
      if (this.#ended) reject(this.#ended)
      else this.#waiting.push({ name, resolve, reject })
    })
  }

  /** Makes the process release everything. Resolves with false if it cannot be used again. */
  async reset() {
    if (this.#ended || this.#pending.size > 0) return false
    try {
      await this.call('reset')
    } catch {
      return false
    }
    this.#events = []
    this.#waiting = []
    return true
  }

  /** Kills the process and resolves once it has ended. */
  kill() {
    this.#process.kill('SIGKILL')
    return this.exited
  }

  /** Lets the process end by itself. */
  leave() {
    this.#process.stdin.end()
    return this.exited
  }

  #receive(line) {
    let message
    try {
      message = JSON.parse(line)
    } catch {
      return
    }
    if (message.event) {
      const index = this.#waiting.findIndex(({ name }) => name === message.event)
      if (index >= 0) this.#waiting.splice(index, 1)[0].resolve(message.value)
      else this.#events.push(message)
      return
    }
    const pending = this.#pending.get(message.id)
    this.#pending.delete(message.id)
    if (message.error) {
      const error = Object.assign(new Error(message.error.message), message.error)
      pending?.reject(error)
      // The event that a case waits for can no longer come.
      for (const { reject } of this.#waiting.splice(0)) reject(error)
    } else pending?.resolve(message.value)
  }
}

/** Children that are again in the state in which they started. A start costs 0.2 s of CPU, and seconds in emulation. */
const idle = []

/** The resources of one case: an empty folder, and children that hold nothing. */
export class CaseContext {
  #children = []
  #cleanups = []
  dir = mkdtempSync(join(base, 'warmswap-portable-'))

  path(...parts) {
    return join(this.dir, ...parts)
  }

  /** A child process, which has loaded the package when this resolves. */
  async child() {
    const child = idle.pop() ?? new Child()
    this.#children.push(child)
    await child.ready
    return child
  }

  children(count) {
    return Promise.all(Array.from({ length: count }, () => this.child()))
  }

  /** Opens a store that is closed at the end of the case. */
  async store(name = 'store', options = {}) {
    const store = await warmswap.openBundles(this.path(name), options)
    this.after(() => store.close())
    return store
  }

  /** Opens a cache in a folder. */
  cache(name = 'cache', options = {}) {
    const cache = warmswap.openCache(pathToFileURL(this.path(name)).href, options)
    this.after(() => cache.close())
    return cache
  }

  after(cleanup) {
    this.#cleanups.push(cleanup)
  }

  async end() {
    for (const child of this.#children) {
      if (await child.reset()) idle.push(child)
      else await child.kill()
    }
    for (const cleanup of this.#cleanups.reverse()) {
      try {
        await cleanup()
      } catch {
        // The case may have closed it, or failed because of it.
      }
    }
    await remove(this.dir)
  }
}

/** Publishes files, given as an object of texts, as a generation. */
export async function publish(store, files, options = {}) {
  const stage = await store.stage()
  for (const [name, text] of Object.entries(files)) await stage.write(name, text)
  return stage.publish(options)
}

/** Writes files, given as an object of texts, below a folder. A name that ends in a slash is an empty folder. */
export function writeTree(folder, files) {
  mkdirSync(folder, { recursive: true })
  for (const [name, content] of Object.entries(files)) {
    const path = join(folder, ...name.split('/'))
    mkdirSync(name.endsWith('/') ? path : dirname(path), { recursive: true })
    if (!name.endsWith('/')) writeFileSync(path, content)
  }
  return folder
}

/** The content of a folder, in the form that writeTree() takes. Links are their targets. */
export function readTree(folder) {
  const files = {}
  const visit = (path) => {
    const entries = readdirSync(path, { withFileTypes: true })
    const name = relative(folder, path).split(sep).join('/')
    if (entries.length === 0 && name !== '') files[`${name}/`] = ''
    for (const entry of entries) {
      const child = join(path, entry.name)
      const key = relative(folder, child).split(sep).join('/')
      if (entry.isSymbolicLink()) files[key] = `-> ${readlinkSync(child)}`
      else if (entry.isDirectory()) visit(child)
      else files[key] = readFileSync(child, 'latin1')
    }
  }
  visit(folder)
  return Object.fromEntries(Object.entries(files).sort(([a], [b]) => (a < b ? -1 : 1)))
}

/** Asserts that a call fails, by rejecting or throwing, with one of these codes. Resolves with the error. */
export async function fails(call, ...codes) {
  let error
  try {
    await (typeof call === 'function' ? call() : call)
  } catch (caught) {
    error = caught
  }
  assert.ok(error, `expected ${codes.join(' or ')}, but the call succeeded`)
  assert.ok(codes.includes(error.code), `expected ${codes.join(' or ')}, got ${error.code}: ${error.message}`)
  return error
}

/** Resolves once `check` returns a truthy value. Without a limit, the time limit of the case ends it. */
export async function until(check, limitMs = Number.POSITIVE_INFINITY) {
  const began = performance.now()
  for (;;) {
    const value = await check()
    if (value) return value
    if (performance.now() - began > limitMs) throw new Error(`did not happen within ${limitMs / 1000} s`)
    await new Promise((done) => setTimeout(done, 10))
  }
}

/** Text that does not compress. */
export function noise(bytes, seed = 1) {
  const buffer = Buffer.alloc(bytes)
  let state = seed
  for (let index = 0; index < bytes; index += 1) {
    state = (Math.imul(state, 1_103_515_245) + 12_345) & 0x7fffffff
    buffer[index] = state >> 16
  }
  return buffer
}

/** One entry of a tar archive, for archives that pack() would not write. */
export function tarEntry(name, { content = '', type = '0', link = '' } = {}) {
  const header = Buffer.alloc(512)
  const data = Buffer.from(content)
  const field = (text, at) => header.write(text, at, 'latin1')
  field(name, 0)
  field('0000644\0', 100)
  field('0000000\0', 108)
  field('0000000\0', 116)
  field(`${data.length.toString(8).padStart(11, '0')}\0`, 124)
  field('00000000000\0', 136)
  field('        ', 148)
  field(type, 156)
  field(link, 157)
  field('ustar\x0000', 257)
  const sum = header.reduce((total, byte) => total + byte, 0)
  field(`${sum.toString(8).padStart(6, '0')}\0 `, 148)
  return Buffer.concat([header, data, Buffer.alloc((512 - (data.length % 512)) % 512)])
}

/** A tar archive of such entries. */
export const tar = (...entries) => Buffer.concat([...entries, Buffer.alloc(1024)])

/** A stream of these chunks. */
export const streamOf = (...chunks) =>
  new ReadableStream({
    start(controller) {
      for (const chunk of chunks) controller.enqueue(new Uint8Array(chunk))
      controller.close()
    },
  })

/** The bytes of a stream. */
export async function bytesOf(stream) {
  const chunks = []
  for await (const chunk of stream) chunks.push(chunk)
  return Buffer.concat(chunks)
}

/** A worker thread that runs this text as a module; `warmswap` and `parentPort` are defined in it. */
export async function thread(context, text) {
  const { Worker } = await import('node:worker_threads')
  const file = context.path(`worker-${Math.random().toString(36).slice(2)}.mjs`)
  writeFileSync(
    file,
    `import * as warmswap from ${JSON.stringify(packageUrl)}
import { parentPort, workerData } from 'node:worker_threads'
const port = parentPort
${text}
`,
  )
  const worker = new Worker(pathToFileURL(file), { workerData: { dir: context.dir } })
  context.after(() => worker.terminate())
  return worker
}

/** The next message of a worker. */
export const message = (worker) =>
  new Promise((resolve, reject) => {
    worker.once('message', resolve)
    worker.once('error', reject)
  })

export { assert, windows }
