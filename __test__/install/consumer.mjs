// A user's program: imports every export of the installed package and does one thing with each capability. The race kit
// imports vitest, so race.test.mjs does that part.
// Prints one JSON object: { imports: { <specifier>: 'ok' | error }, done: { <capability>: 'ok' | { code, message } } }.
import { mkdirSync, mkdtempSync, readFileSync, realpathSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'

const report = { imports: {}, done: {} }
const modules = {}
for (const name of ['', '/state', '/vite', '/esbuild', '/worker', '/race-point']) {
  try {
    modules[name] = await import(`warmswap${name}`)
    report.imports[`warmswap${name}`] = Object.keys(modules[name]).length > 0 ? 'ok' : 'no exports'
  } catch (error) {
    report.imports[`warmswap${name}`] = String(error?.message ?? error)
  }
}

const ws = modules['']
const root = mkdtempSync(join(realpathSync('.'), 'consumer-'))
const path = (name) => join(root, name)

/** Runs one capability; what it throws is part of the report. */
async function does(name, work) {
  try {
    await work()
    report.done[name] = 'ok'
  } catch (error) {
    report.done[name] = { code: error.code, message: error.message }
  }
}

function expect(value, expected) {
  if (value !== expected) throw new Error(`expected ${JSON.stringify(expected)}, got ${JSON.stringify(value)}`)
}

async function publish(store, text) {
  const stage = await store.stage()
  await stage.write('main.mjs', text)
  return stage.publish()
}

await does('bundles', async () => {
  const store = await ws.openBundles(path('store'))
  await publish(store, 'export const n = 1')
  const pin = store.pin()
  expect((await import(pin.url('main.mjs'))).n, 1)
  pin.release()
  await store.close()
})
await does('locks', async () => {
  const lock = await ws.acquireLock(path('key.lock'))
  expect(await ws.tryLock(path('key.lock')), null)
  lock.release()
})
await does('archives', async () => {
  mkdirSync(path('tree'))
  writeFileSync(path('tree/a.txt'), 'a')
  const { outcome } = await ws.unpack(ws.pack(path('tree')), path('unpacked'))
  expect(outcome, 'restored')
  expect(readFileSync(path('unpacked/a.txt'), 'utf8'), 'a')
})
await does('caches', async () => {
  const cache = ws.openCache(pathToFileURL(path('cache')).href)
  mkdirSync(path('modules'))
  writeFileSync(path('modules/b.txt'), 'b')
  expect((await cache.snapshot({ key: 'k', from: path('modules') })).outcome, 'uploaded')
  expect((await cache.restore({ key: 'k', into: path('restored') })).outcome, 'restored')
  await cache.close()
})
await does('state', () => {
  const once = () => modules['/state'].defineState('install-test', () => ({ made: true }))
  expect(once(), once())
})
await does('cells', () => {
  const cell = ws.sharedCell('install-test')
  cell.write('value')
  expect(cell.read().value, 'value')
})
const worker = `import { serveRequests } from ${JSON.stringify(import.meta.resolve('warmswap/worker'))}
serveRequests((request) => request + 1)`
for (const start of ['startWorkerThread', 'startProcess']) {
  await does(start, async () => {
    const store = await ws.openBundles(path(start))
    await publish(store, worker)
    const coordinator = ws.openCoordinator(store, { start: (context) => ws[start](context, 'main.mjs') })
    expect(await coordinator.dispatch(1), 2)
    await coordinator.close()
    await store.close()
  })
}
console.log(JSON.stringify(report))
