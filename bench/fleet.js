// One build among many machines: requests of hits, misses and waiters, how soon waiters restore and take over, and eight
// callers that share a build compared with eight builds. The store is moto behind a proxy that serializes its writes.
import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { openCache } from '../dist/index.js'
import { ensurePython } from '../scripts/lib/setup.js'
import { median, quantile } from './lib/measure.js'
import { report } from './lib/report.js'
import { serializeWrites } from './lib/serializing-proxy.js'

const CALLERS = 8
const BUCKET = 'bench'
const work = mkdtempSync('/dev/shm/warmswap-bench-')
const program = fileURLToPath(new URL('../__test__/programs/caches-ensure.mjs', import.meta.url))
const ms = (value) => `${value.toFixed(0)} ms`
const isRecord = ({ path }) => path.includes('/.warmswap-ensure/')

/** What the store has answered. */
const log = []
/** Listeners of the next answers. */
const listeners = new Set()

async function freePort() {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address()
  server.close()
  await once(server, 'close')
  return port
}

async function startMoto() {
  const programs = ensurePython('moto', ['moto[s3,server]==5.2.*'])
  if (programs === undefined) throw new Error('moto could not be installed: python3-venv or PyPI is missing')
  const port = await freePort()
  const args = [join(programs, 'moto_server'), '-H', '127.0.0.1', '-p', String(port)]
  const child = spawn(join(programs, 'python'), args, { stdio: 'ignore' })
  const endpoint = `http://127.0.0.1:${port}`
  const authorization =
    'AWS4-HMAC-SHA256 Credential=AKIA/20200101/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=0'
  while (child.exitCode === null) {
    const made = await fetch(`${endpoint}/${BUCKET}`, { method: 'PUT', headers: { authorization } }).catch(() => {})
    if (made?.ok) return { endpoint, stop: () => child.kill('SIGKILL') }
    await sleep(50)
  }
  throw new Error(`moto ended with code ${child.exitCode}`)
}

const moto = await startMoto()
const proxy = await serializeWrites(moto.endpoint, (answer) => {
  log.push(answer)
  for (const listener of listeners) listener(answer)
})

/** The store, as the caller of this name. */
const store = (caller) => ({
  scheme: 's3',
  bucket: BUCKET,
  prefix: 'fleet',
  endpoint: proxy.endpoint,
  region: 'us-east-1',
  accessKeyId: caller,
  secretAccessKey: 'secret',
})

const write =
  (name) =>
  ({ dir }) => {
    for (let index = 0; index < 10; index += 1) writeFileSync(join(dir, `file-${index}`), name.repeat(1000))
  }

/** Runs a call of a new cache, and returns how many requests it sent. */
async function requestsOf(run) {
  const start = log.length
  await run(openCache(store('AKIA')))
  return log.length - start
}

function expectRole(result, ...roles) {
  if (!roles.includes(result.role)) throw new Error(`the role is '${result.role}': ${result.reason}`)
  return result
}

async function requests() {
  const from = join(work, 'from')
  mkdirSync(from)
  write('tree')({ dir: from })
  const ensure = (name) => (cache) => {
    const options = { fingerprint: 'requests', into: join(work, name), build: write('tree') }
    return cache.ensure('requests', options).then((result) => expectRole(result, name))
  }
  const snapshot = await requestsOf((cache) => cache.snapshot({ key: 'snapshot', from }))
  const restore = await requestsOf((cache) => cache.restore({ key: 'snapshot', into: join(work, 'plain') }))
  const miss = await requestsOf(ensure('built'))
  const hit = await requestsOf(ensure('restored'))
  return [
    { what: 'requests of a hit', ours: hit, peer: `restore ${restore}`, ratio: hit - restore, reach: 1 },
    { what: 'requests of a miss', ours: miss, peer: `snapshot ${snapshot}`, ratio: miss - snapshot, reach: 2 },
  ].map((row) => ({ ...row, what: `${row.what}: more than the peer` }))
}

/** Eight callers of one build that takes a while. Returns the requests of each waiter, and how late each restored. */
async function waiters(round, buildMs) {
  const caches = Array.from({ length: CALLERS }, (_, index) => openCache(store(`ROUND${round}CALLER${index}`)))
  const start = log.length
  let published = 0
  const watch = (answer) => {
    // The last write of a record is that of the result.
    if (isRecord(answer) && answer.method === 'PUT' && answer.status === 200) published = answer.at
  }
  listeners.add(watch)
  const ends = await Promise.all(
    caches.map(async (cache, index) => {
      const into = join(work, `waiter-${round}-${index}`)
      const build = async ({ dir }) => {
        await sleep(buildMs)
        write('built')({ dir })
      }
      const result = await cache.ensure(`waiters-${round}`, { fingerprint: 'f', into, build })
      return { role: expectRole(result, 'built', 'restored').role, at: performance.now() }
    }),
  )
  listeners.delete(watch)
  const late = ends.filter(({ role }) => role === 'restored').map(({ at }) => at - published)
  if (late.length !== CALLERS - 1) throw new Error(`${late.length} of ${CALLERS} callers have restored`)
  const perMinute = ends.flatMap(({ role }, index) => {
    const reads = log.slice(start).filter((each) => isRecord(each) && each.caller === `ROUND${round}CALLER${index}`)
    const minutes = (reads.at(-1).at - reads[0].at) / 60_000
    return role === 'restored' ? [(reads.length - 1) / minutes] : []
  })
  return { late, perMinute }
}

async function waiting() {
  const rounds = []
  for (let round = 0; round < 5; round += 1)
    rounds.push(await waiters(round, round === 0 ? 60_000 : 3_000 + 270 * round))
  const most = Math.max(...rounds[0].perMinute)
  const late = rounds.flatMap((round) => round.late)
  return [
    {
      what: `requests a minute of a waiter, the most of ${CALLERS - 1}`,
      ours: most.toFixed(1),
      peer: 'allowed 70',
      ratio: most / 70,
      reach: 1,
    },
    {
      what: `from "ready" to "waiter has restored", p50 of ${late.length}`,
      ours: `${ms(median(late))} (p99 ${ms(quantile(late, 0.99))})`,
      peer: 'allowed 700 ms',
      ratio: median(late) / 700,
      reach: 1,
    },
  ]
}

function startProcess(caller) {
  const child = spawn(process.execPath, [program, JSON.stringify(store(caller))], {
    stdio: ['pipe', 'pipe', 'inherit'],
  })
  const lines = createInterface({ input: child.stdout })
  const counts = new Map()
  const waiting = []
  lines.on('line', (line) => {
    const word = line.split(' ')[1] ?? line
    counts.set(word, (counts.get(word) ?? 0) + 1)
    for (const wake of waiting.splice(0)) wake()
  })
  return {
    child,
    say: (call) => child.stdin.write(`${JSON.stringify(call)}\n`),
    /** Resolves when that many lines have this word. */
    async seen(word, count) {
      while ((counts.get(word) ?? 0) < count) await new Promise((wake) => waiting.push(wake))
    },
  }
}

/** A process that builds eight trees is killed. Returns how long after its last write each tree was taken over. */
async function takeOvers(round, ttlMs) {
  const [victim, other] = [startProcess(`VICTIM${round}`), startProcess(`OTHER${round}`)]
  await Promise.all([victim.seen('ready', 1), other.seen('ready', 1)])
  const call = (at) => ({
    key: `take-over-${round}`,
    fingerprint: `f${at}`,
    into: join(work, `over-${round}-${at}`),
    ttlMs,
  })
  for (let at = 0; at < CALLERS; at += 1) victim.say({ ...call(at), buildMs: 600_000 })
  await victim.seen('building', CALLERS)
  for (let at = 0; at < CALLERS; at += 1) other.say({ ...call(at), into: `${call(at).into}-other`, buildMs: 0 })
  await other.seen('waiting', CALLERS)
  await sleep(ttlMs * (0.3 + 0.2 * round))
  victim.child.kill('SIGKILL')
  await other.seen('end', CALLERS)
  other.child.kill('SIGKILL')
  const writes = log.filter((each) => isRecord(each) && each.method === 'PUT' && each.status === 200)
  const last = new Map()
  const took = new Map()
  for (const { path, caller, at } of writes) {
    if (caller === `VICTIM${round}`) last.set(path, at)
    if (caller === `OTHER${round}` && !took.has(path)) took.set(path, at)
  }
  if (took.size !== CALLERS) throw new Error(`${took.size} of ${CALLERS} builds were taken over`)
  return [...took].map(([path, at]) => at - last.get(path))
}

async function takingOver() {
  const ttlMs = 6_000
  const times = []
  for (let round = 0; round < 3; round += 1) times.push(...(await takeOvers(round, ttlMs)))
  const longest = Math.max(...times)
  return [
    {
      what: `take-over after the last write of a killed builder, the longest of ${times.length}`,
      ours: `${(longest / ttlMs).toFixed(2)} × ttl (p50 ${(median(times) / ttlMs).toFixed(2)})`,
      peer: 'allowed 1.5 × ttl',
      ratio: longest / (1.5 * ttlMs),
      reach: 1,
    },
  ]
}

/** A build that takes a second of one core. */
async function busyBuild(dir) {
  const code = 'const end = process.cpuUsage().user + 1e6; while (process.cpuUsage().user < end);'
  await once(spawn(process.execPath, ['-e', code]), 'exit')
  write('busy')({ dir })
}

/** Eight callers that need one tree, with ensure() and without. */
async function together() {
  const caches = Array.from({ length: CALLERS }, () => openCache(store('AKIA')))
  let builds = 0
  const started = performance.now()
  await Promise.all(
    caches.map((cache, index) =>
      cache.ensure('together', {
        fingerprint: 'f',
        into: join(work, `together-${index}`),
        async build({ dir }) {
          builds += 1
          await busyBuild(dir)
        },
      }),
    ),
  )
  const ours = performance.now() - started
  const apart = Array.from({ length: CALLERS }, (_, index) => join(work, `apart-${index}`))
  for (const dir of apart) mkdirSync(dir)
  const begun = performance.now()
  await Promise.all(apart.map(busyBuild))
  const theirs = performance.now() - begun
  const what = `${CALLERS} callers of a build that takes a second of one core`
  return [
    { what: `${what}: builds`, ours: builds, peer: `each builds ${CALLERS}`, ratio: builds / CALLERS, reach: 0.125 },
    { what: `${what}: time`, ours: ms(ours), peer: `each builds ${ms(theirs)}`, ratio: ours / theirs, reach: 1 },
  ]
}

/** Milliseconds of a Node process that imports the package, over those of one that does not. */
function loadTime() {
  const run = (code) => {
    const started = performance.now()
    const { status, stderr } = spawnSync(process.execPath, ['--input-type=module', '-e', code], { encoding: 'utf8' })
    if (status !== 0) throw new Error(stderr)
    return performance.now() - started
  }
  const index = JSON.stringify(new URL('../dist/index.js', import.meta.url).href)
  const times = { alone: [], loaded: [] }
  for (let round = 0; round < 20; round += 1) {
    times.alone.push(run(''))
    times.loaded.push(run(`await import(${index})`))
  }
  const [alone, loaded] = [median(times.alone), median(times.loaded)]
  return [
    {
      what: "import('warmswap'), over Node alone, median of 20",
      ours: ms(loaded - alone),
      peer: `Node alone ${ms(alone)}`,
    },
  ]
}

try {
  const rows = [
    ...(await requests()),
    ...(await waiting()),
    ...(await takingOver()),
    ...(await together()),
    ...loadTime(),
  ]
  report('fleet', rows, [
    `The store is moto 5.2 behind a proxy that hands it one write of an object at a time. Requests are counted and writes are timed in the proxy. Waiters poll a builder with the default lease of 30 s; take-overs have a lease of 6 s. For the requests of hits and misses, the ratio is the difference.`,
  ])
} finally {
  proxy.stop()
  moto.stop()
  rmSync(work, { recursive: true, force: true })
}
