// Calls the whole API, prints how each call ended, waits for a line on stdin (the limit is lifted), and calls it again.
// node thread-limits.mjs <an empty folder>
import { mkdirSync, writeFileSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import * as warmswap from 'warmswap'
import { sharedCell } from 'warmswap/state'

const [folder] = process.argv.slice(2)
const {
  acquireLock,
  inspectLock,
  isWarmswapError,
  openBundles,
  openCache,
  pack,
  prewarm,
  publishFenced,
  sweepLocks,
  tryLock,
  unpack,
  waitForLock,
  withLock,
} = warmswap

function calls(root) {
  const at = (name) => join(root, name)
  mkdirSync(at('tree'), { recursive: true })
  writeFileSync(at('tree/a'), 'a'.repeat(100))
  const budget = { deadlineMs: 4000 }
  const file = openCache(`file://${at('cache')}`)
  const bucket = openCache({
    scheme: 's3',
    bucket: 'b',
    region: 'r',
    endpoint: 'http://localhost:9',
    accessKeyId: 'A',
    secretAccessKey: 'S',
  })
  const store = openBundles(at('store'))
  store.catch(() => {})
  return {
    inspectLock: () => inspectLock(at('L')),
    acquireLock: async () => (await acquireLock(at('L'), { timeoutMs: 4000 })).release(),
    tryLock: async () => (await tryLock(at('L')))?.release(),
    withLock: () => withLock(at('L'), () => {}, { timeoutMs: 4000 }),
    waitForLock: () => waitForLock(at('L'), { timeoutMs: 4000 }),
    sweepLocks: () => sweepLocks(root),
    publishFenced: () =>
      publishFenced({ path: at('L'), generation: 2 ** 40 }, at('tree/a'), at('tree/a')).catch(
        (error) => error.code === 'ERR_FENCED' || Promise.reject(error),
      ),
    prewarm: () => prewarm(at('ready'), { isReady: () => 'ready', run: () => 'ready' }),
    openBundles: () => store,
    publish: async () => {
      const stage = await (await store).stage()
      await stage.write('a', 'a')
      await stage.publish()
    },
    ensure: async () => (await (await store).ensure((stage) => stage.write('a', 'a'), { fingerprint: 'f' })).release(),
    list: async () => (await store).list(),
    verify: async () => (await store).verify(),
    collect: async () => (await store).collect(),
    'pack and unpack': () => unpack(pack(at('tree')), at('unpacked'), { mode: 'replace', ...budget }),
    snapshot: () => file.snapshot({ key: 'k', from: at('tree'), ...budget }),
    restore: () => file.restore({ key: 'k', into: at('restored'), ...budget }),
    inspect: () => file.inspect('k', budget),
    probe: () => file.probe(budget),
    prune: () => file.prune({ key: 'k', ...budget }),
    remove: () => file.remove('k', budget),
    'restore from a bucket': () => bucket.restore({ key: 'k', into: at('bucket'), ...budget }),
    'wait for a cell': () =>
      sharedCell(`limits-${root}`)
        .waitForChange(0n, { timeoutMs: 50 })
        .catch((error) => error.code === 'ERR_TIMEOUT' || Promise.reject(error)),
    close: async () => (await store).close(),
  }
}

/** Returns 'done', 'refused: …' if the limit is named, or the other outcome. */
async function outcome(work) {
  try {
    const value = await Promise.race([work(), new Promise((resolve) => setTimeout(() => resolve('hung'), 8000))])
    if (value === 'hung') return 'hung'
    if (value?.outcome !== 'error') return 'done'
    return names(value.reason ?? '') ? 'refused' : `outcome error: ${value.reason}`
  } catch (error) {
    if (isWarmswapError(error) && names(error.message)) return 'refused'
    return `${isWarmswapError(error) ? error.code : 'no WarmswapError'}: ${error?.message}`
  }
}

const names = (text) => /RLIMIT_NPROC|pids\.max/.test(text)

async function all(root) {
  mkdirSync(root)
  const ends = {}
  for (const [name, work] of Object.entries(calls(root))) ends[name] = await outcome(work)
  console.log(JSON.stringify(ends))
}

// libuv starts its own threads with the first of these, and aborts where it gets none.
await readFile(import.meta.filename)
await all(join(folder, 'limited'))
await new Promise((resolve) => process.stdin.once('data', resolve))
await all(join(folder, 'lifted'))
process.exit(0)
