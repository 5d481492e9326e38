// Puts another entry in place of each file of the protocol, and reports how each call on the store ended. In a separate
// process, because a call that blocks would block the test. Usage: bundles-planted.mjs <folder> <kind>
import { execFileSync } from 'node:child_process'
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { openBundles, openCoordinator } from 'warmswap'

const [folder, kind] = process.argv.slice(2)
const NAMES = [
  'FORMAT',
  'config.json',
  'boot',
  'id',
  'current',
  'current.json',
  'current.tmp',
  'current.json.tmp',
  'fence',
  'fence.tmp',
  'writer.lock',
  'build.lock',
  'build.failed',
  'build.failed.tmp',
]
const DEEPER = [
  'gens/000002/manifest.json',
  'gens/000002/tree',
  'gens/000001',
  'pins/000002',
  'pins/000001',
  'owners/planted',
  'stage/planted',
  'trash/planted',
  'gens',
  'pins',
  'owners',
  'stage',
  'trash',
]
const victim = join(folder, 'victim')

async function publish(store, text) {
  const stage = await store.stage({ fenced: true })
  try {
    await stage.write('a', text)
    return await stage.publish({ timeoutMs: 500 })
  } finally {
    await stage.discard().catch(() => {})
  }
}

function plant(path) {
  if (kind === 'pipe') execFileSync('mkfifo', [path])
  if (kind === 'device') execFileSync('mknod', [path, 'c', '1', '5'])
  if (kind === 'directory') {
    mkdirSync(join(path, 'sub'), { recursive: true })
    writeFileSync(join(path, 'sub/file'), 'planted')
  }
  if (kind === 'link') symlinkSync(victim, path)
}

const calls = (root, store) => ({
  pin: () => store.pin().release(),
  'pin of 1': () => store.pin({ generation: 1 }).release(),
  current: () => store.current()?.digest,
  list: () => store.list(),
  verify: () => store.verify(),
  publish: () => publish(store, String(Math.random())),
  collect: () => store.collect({ timeoutMs: 500 }),
  rollback: () => store.rollback(1, { timeoutMs: 500 }),
  ensure: async () =>
    (
      await store.ensure((stage) => stage.write('a', 'ensured'), { fingerprint: String(Math.random()), timeoutMs: 500 })
    ).release(),
  open: async () => (await openBundles(root)).close(),
  build: async () => {
    const coordinator = openCoordinator(store, { start: () => Promise.reject(new Error('no worker here')) })
    const need = { atLeast: coordinator.change(), timeoutMs: 500 }
    try {
      await coordinator.build(need, () => Promise.reject(new Error('on purpose')))
    } catch (error) {
      if (error.message !== 'on purpose') throw error
    } finally {
      await coordinator.close()
    }
  },
})

for (const name of [...NAMES, ...DEEPER]) {
  const root = join(folder, `${kind}-${name.replaceAll('/', '-')}`)
  rmSync(victim, { recursive: true, force: true })
  mkdirSync(victim)
  for (const entry of ['file', 'tree', 'planted']) writeFileSync(join(victim, entry), 'precious')
  const store = await openBundles(root, { keep: 5 })
  for (const text of ['1', '2']) await publish(store, text)
  await store.collect()
  const path = join(root, name)
  const saved = join(folder, 'saved')
  rmSync(saved, { recursive: true, force: true })
  if (existsSync(path)) renameSync(path, saved)
  plant(path)
  for (const [call, act] of Object.entries(calls(root, store))) {
    const started = performance.now()
    let how = 'ok'
    try {
      await act()
    } catch (error) {
      how = error.name === 'WarmswapError' ? error.code : `NOT OURS ${error.stack}`
    }
    console.log(JSON.stringify({ name, call, how, ms: Math.round(performance.now() - started) }))
  }
  const precious = ['file', 'tree', 'planted'].every(
    (entry) => existsSync(join(victim, entry)) && readFileSync(join(victim, entry), 'utf8') === 'precious',
  )
  // Without the planted entry the store works again.
  rmSync(path, { recursive: true, force: true })
  if (existsSync(saved)) renameSync(saved, path)
  const again = await openBundles(root)
  await publish(again, 'after')
  again.pin().release()
  console.log(
    JSON.stringify({ name, call: 'after', how: precious && (await again.verify()).ok ? 'ok' : 'HARM', ms: 0 }),
  )
  await again.close()
  await store.close()
}
