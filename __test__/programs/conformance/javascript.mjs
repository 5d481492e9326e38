// The conformance program of warmswap itself: every case has to pass with the implementation that ships. With
// CONFORMANCE_BUG it has one of the faults that the cases have to find.
import { readFileSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { pathToFileURL } from 'node:url'
import { acquireLock, inspectLock, openBundles, openCache } from 'warmswap'
import { ensureOperations } from './ensure.mjs'

const hasBug = (name) => process.env.CONFORMANCE_BUG === name

class Refused extends Error {
  constructor(kind, message) {
    super(message)
    this.kind = kind
  }
}

/** The kinds of errors in docs/protocol/conformance.md. */
const KINDS = {
  ERR_FORMAT: 'format',
  ERR_GENERATION_CORRUPT: 'damaged',
  ERR_EMPTY_STAGE: 'empty',
  ERR_LOCK_TIMEOUT: 'busy',
  ERR_INVALID_ARGUMENT: 'refused',
}

const stores = new Map()
const store = async (root) => {
  if (!stores.has(root)) stores.set(root, openBundles(root))
  return await stores.get(root)
}
const handles = new Map()
const keep = (handle) => {
  handles.set(handles.size + 1, handle)
  return handles.size
}
/** A handle is released once, and its number is not used again. */
const release = (number) => handles.get(number).release()

function filesOf(folder) {
  const names = readdirSync(folder, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile())
  return Object.fromEntries(
    names.map(({ parentPath, name }) => {
      const path = join(parentPath, name)
      return [path.slice(folder.length + 1), readFileSync(path, 'utf8')]
    }),
  )
}

/** Reads each file through `current`: a publish between two files mixes two generations. */
async function readWithoutPin(opened) {
  const { number, path } = opened.current()
  const files = {}
  for (const name of Object.keys(filesOf(path))) {
    await new Promise((resolve) => setTimeout(resolve, 2))
    files[name] = readFileSync(join(opened.root, 'current', name), 'utf8')
  }
  return { number, files }
}

const operations = {
  'bundles/current': async ({ root }) => ({ number: (await store(root)).current()?.number ?? null }),
  'bundles/read': async ({ root }) => {
    const opened = await store(root)
    if (hasBug('read-without-pin')) return await readWithoutPin(opened)
    const pin = opened.pin()
    try {
      return { number: pin.generation.number, files: filesOf(pin.path) }
    } finally {
      pin.release()
    }
  },
  'bundles/pin': async ({ root }) => {
    const pin = (await store(root)).pin()
    if (hasBug('pin-without-lock')) pin.release()
    return { pin: keep(pin), number: pin.generation.number, tree: pin.path }
  },
  'bundles/release': ({ pin }) => {
    if (!hasBug('release-nothing')) release(pin)
    return {}
  },
  'bundles/publish': async ({ root, from }) => {
    const stage = await (await store(root)).stage()
    await stage.adopt(from, 'copy')
    const { number } = await stage.publish()
    if (hasBug('publish-number')) return { number: number + 1 }
    return { number }
  },
  'bundles/collect': async ({ root }) => {
    await (await store(root)).collect()
    return {}
  },
  'locks/acquire': async ({ path, waitMs }) => {
    const lock = hasBug('no-lock')
      ? { generation: Date.now() * 1000, release() {} }
      : await acquireLock(path, { timeoutMs: waitMs })
    return { lock: keep(lock), generation: lock.generation }
  },
  'locks/release': ({ lock }) => {
    release(lock)
    return {}
  },
  'locks/inspect': async ({ path }) => {
    const { held, holder } = await inspectLock(path)
    return held ? { held, pid: holder.pid } : { held }
  },
  'caches/restore': ({ store: folder, key, into }) =>
    withCache(folder, (cache) => cache.restore({ key, into, mode: 'replace' }), 'restored'),
  'caches/save': ({ store: folder, key, from }) =>
    withCache(folder, (cache) => cache.snapshot({ key, from, guard: { allowShrink: true } }), 'uploaded'),
  'caches/inspect': ({ store: folder, key }) => withCache(folder, (cache) => cache.inspect(key)),
  ...ensureOperations(Refused),
}

async function withCache(folder, call, expected) {
  const cache = openCache(pathToFileURL(folder).href)
  const result = await call(cache).finally(() => cache.close())
  if (expected !== undefined && result.outcome !== expected) throw new Refused(result.outcome, result.reason)
  return result ?? {}
}

async function answer({ id, do: operation, ...facts }) {
  if (operation === 'hello') return { id, ok: { operations: Object.keys(operations) } }
  try {
    return { id, ok: await operations[operation](facts) }
  } catch (error) {
    return { id, error: error.kind ?? KINDS[error.code] ?? String(error.code), message: error.message }
  }
}

for await (const line of createInterface({ input: process.stdin })) {
  const request = JSON.parse(line)
  answer(request).then((found) => process.stdout.write(`${JSON.stringify(found)}\n`))
}
