// Peak memory of cache calls, in a process of their own: prints one line of JSON with bytes over idle for each call.
//   caches-memory.mjs tree <store> <from> <into> [hoard]   snapshot, restore, both again over what has not changed;
//                                                          <store> is a URL or a location as JSON
//   caches-memory.mjs unpack <archive> <into>
import { readFileSync, readdirSync, writeFileSync, mkdirSync, mkdtempSync, watch } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { setImmediate as turn } from 'node:timers/promises'
import { openCache, unpack } from 'warmswap'

const [verb, ...args] = process.argv.slice(2)
const PATIENT = { deadlineMs: 1_800_000, idleMs: 600_000 }
const LIMITS = { maxFiles: 5_000_000 }

const kibibytes = (field) =>
  Number(new RegExp(`^${field}:\\s+(\\d+) kB$`, 'm').exec(readFileSync('/proc/self/status', 'utf8'))[1]) * 1024
/** Resets VmHWM, which from now on is the peak since this moment. */
const forgetPeak = () => writeFileSync('/proc/self/clear_refs', '5')

async function settled() {
  for (let turns = 0; turns < 5; turns += 1) {
    globalThis.gc()
    await turn()
  }
}

/**
 * Loads threads, allocator and code before the idle value is measured. The folder is kept: tree manifests are written
 * in the background.
 */
async function warmUp(directory) {
  const scratch = mkdtempSync(join(directory, 'warm-'))
  const from = join(scratch, 'from')
  mkdirSync(from)
  for (let index = 0; index < 64; index += 1) writeFileSync(join(from, `${index}`), 'x'.repeat(4096))
  const cache = openCache(`file://${join(scratch, 'store')}`)
  await cache.snapshot({ key: 'warm', from })
  await cache.restore({ key: 'warm', into: join(scratch, 'into') })
  await stampOf(join(scratch, 'into'))
  await cache.close()
}

/** The tree manifest is written in the background. It counts too. */
function stampOf(target) {
  const isThere = () => readdirSync(dirname(target)).some((name) => /^\.warmswap-stamp-[0-9a-f]{16}$/.test(name))
  return new Promise((resolve) => {
    const watcher = watch(dirname(target), () => isThere() && done())
    const done = () => {
      watcher.close()
      resolve()
    }
    if (isThere()) done()
  })
}

async function measure(calls, directory) {
  await warmUp(directory)
  await settled()
  const idle = kibibytes('VmRSS')
  const results = {}
  for (const [name, call] of Object.entries(calls)) {
    forgetPeak()
    const { outcome, reason, files } = await call()
    results[name] = { outcome, reason, files, peak: kibibytes('VmHWM') - idle }
    await settled()
  }
  console.log(JSON.stringify(results))
}

const verbs = {
  async tree(store, from, into, hoard) {
    const cache = openCache(store.startsWith('{') ? JSON.parse(store) : store)
    const hoarded = []
    const stamped = async (result, target) => {
      await stampOf(target)
      return result
    }
    await measure(
      {
        snapshot: async () => stamped(await cache.snapshot({ ...PATIENT, key: 'site', from }), from),
        restore: async () => {
          // The control: behaves like a client that buffers the whole body in memory.
          if (hoard)
            for (const name of readdirSync(join(new URL(store).pathname, 'site/blobs')))
              hoarded.push(readFileSync(join(new URL(store).pathname, 'site/blobs', name)))
          return stamped(await cache.restore({ ...PATIENT, key: 'site', into, limits: LIMITS }), into)
        },
        restoreUnchanged: () => cache.restore({ ...PATIENT, key: 'site', into, mode: 'replace', limits: LIMITS }),
        snapshotUnchanged: () => cache.snapshot({ ...PATIENT, key: 'site', from }),
      },
      dirname(into),
    )
  },
  async unpack(archive, into) {
    await measure(
      { [basename(archive)]: () => unpack(archive, into, { deadlineMs: PATIENT.deadlineMs }) },
      dirname(into),
    )
  },
}

await verbs[verb](...args)
