// Twenty calls that hang, and healthy work next to them. Prints one line of JSON; the process ends with its hung calls.
// node hung-calls.mjs <kind> <a mount that hangs> <an empty folder> [a package other than this one]
const [kind, hung, local, library] = process.argv.slice(2)
const { acquireLock, inspectLock, openBundles, openCache, pack, sweepLocks, unpack } = await import(
  library ?? 'warmswap'
)

const CALLS = 20
const LIMIT_MS = 500
const time = { timeoutMs: LIMIT_MS }
const bucket = (number) => ({
  scheme: 's3',
  bucket: 'b',
  region: 'r',
  endpoint: `http://store${number}.example.test:9000`,
  accessKeyId: 'A',
  secretAccessKey: 'S',
})
const restore = (cache, number) => cache.restore({ key: 'k', into: `${local}/t${number}`, deadlineMs: LIMIT_MS })
const kinds = {
  inspect: (number) => inspectLock(`${hung}/l${number}`, time),
  'inspect in many folders': (number) => inspectLock(`${hung}/${number}/l`, time),
  open: (number) => openBundles(`${hung}/s${number}`, time),
  link: (number) => openBundles(`${local}/s${number}`, { link: `${hung}/d${number}`, ...time }),
  sweep: () => sweepLocks(hung, time),
  store: (number) => restore(openCache(`file://${hung}/c`), number),
  unpack: (number) => unpack('/dev/null', `${hung}/t${number}`, { deadlineMs: LIMIT_MS }),
  'unpack from': (number) => unpack(`${hung}/a${number}`, `${local}/t${number}`, { deadlineMs: LIMIT_MS }),
  lock: (number) => acquireLock(`${hung}/l${number}`, time),
  dns: (number) => restore(openCache(bucket(number)), number),
  abort: (number) => inspectLock(`${hung}/l${number}`, { timeoutMs: Infinity, signal: AbortSignal.timeout(LIMIT_MS) }),
}

const store = await openBundles(`${local}/store`)
const started = performance.now()
const ends = []
for (let number = 0; number < CALLS; number += 1) {
  const ended = (how) => ends.push({ how, ms: Math.round(performance.now() - started) })
  kinds[kind](number).then(
    (value) => ended(value.outcome ?? 'resolved'),
    (error) => ended(typeof error.code === 'string' ? error.code : error.name),
  )
}
// They are all under way.
await new Promise((resolve) => setTimeout(resolve, 200))

const healthy = {}
let isLate = false
async function measure(what, work) {
  if (isLate) return
  const since = performance.now()
  isLate = await Promise.race([
    work().then(() => false),
    new Promise((resolve) => setTimeout(() => resolve(true), 5000)),
  ])
  healthy[what] = Math.round(performance.now() - since)
}
await measure('stage and publish', async () => {
  const stage = await store.stage(time)
  await stage.write('a', '2')
  await stage.publish(time)
})
await measure('inspectLock', () => inspectLock(`${local}/L`, time))
await measure('acquireLock', async () => (await acquireLock(`${local}/L`, time)).release())
await measure('sweepLocks', () => sweepLocks(local, time))
await measure('pack and unpack', async () => {
  const { outcome } = await unpack(pack(store.current().path), `${local}/unpacked`)
  if (outcome !== 'restored') throw new Error(outcome)
})
await measure('snapshot and restore', async () => {
  const cache = openCache(`file://${local}/cache`)
  const { outcome } = await cache.snapshot({ key: 'k', from: `${local}/unpacked` })
  if (outcome !== 'uploaded') throw new Error(outcome)
  if (!(await cache.restore({ key: 'k', into: `${local}/restored` })).ok) throw new Error('not restored')
})
while (ends.length < CALLS && performance.now() - started < 10_000)
  await new Promise((resolve) => setTimeout(resolve, 20))
console.log(JSON.stringify({ ends, healthy }))
process.exit(0)
