// Locks: against proper-lockfile, mkdir with polling, and flock(1) blocking in the kernel as the limit.
import { spawn } from 'node:child_process'
import { mkdir, mkdtemp, rm, rmdir } from 'node:fs/promises'
import { existsSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { once } from 'node:events'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { monitorEventLoopDelay } from 'node:perf_hooks'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import properLockfile from 'proper-lockfile'
import { acquireLock, withLock } from 'warmswap'
import { inTurn, median, quantile } from './lib/measure.js'
import { report } from './lib/report.js'

const PAIRS = 200
const KILLS = 200
const PEER_KILLS = 3
const POLL_MS = 250
const child = fileURLToPath(new URL('../__test__/processes/locks-child.js', import.meta.url))

const pause = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds))
const text = (milliseconds) => (milliseconds < 1 ? `${(milliseconds * 1000).toFixed(0)} µs` : milliseconds < 10_000 ? `${milliseconds.toFixed(1)} ms` : `${(milliseconds / 1000).toFixed(1)} s`)

/** The way of most tools: mkdir is the lock, whoever finds it asks again later. */
async function mkdirPolled(path) {
  for (;;) {
    try {
      await mkdir(path)
      return () => rmdir(path)
    } catch (error) {
      if (error.code !== 'EEXIST') throw error
      await pause(POLL_MS)
    }
  }
}

async function uncontended(parent, reach) {
  const root = await mkdtemp(join(parent, 'warmswap-bench-'))
  writeFileSync(join(root, 'peer'), '')
  const repeat = (turn) => async () => {
    for (let index = 0; index < PAIRS; index += 1) await turn()
  }
  const times = await inTurn({
    ours: repeat(async () => (await acquireLock(join(root, 'ours.lock'))).release()),
    proper: repeat(async () => await (await properLockfile.lock(join(root, 'peer')))()),
  })
  await rm(root, { recursive: true })
  const [ours, proper] = [median(times.ours) / PAIRS, median(times.proper) / PAIRS]
  return { what: `acquire + release, nobody else, ${parent}`, ours: text(ours), peer: `proper-lockfile ${text(proper)}`, ratio: ours / proper, reach }
}

/** Starts a program and resolves once it has written a line. */
async function started(command, args) {
  const process = spawn(command, args, { stdio: ['ignore', 'pipe', 'inherit'] })
  await new Promise((resolve, reject) => {
    createInterface({ input: process.stdout }).once('line', resolve).once('close', () => reject(new Error(`${command} ${args.join(' ')} has ended without a line`)))
  })
  return process
}

async function killedHolder(root) {
  const took = []
  for (let index = 0; index < KILLS; index += 1) {
    const path = join(root, 'kill.lock')
    const holder = await started(process.execPath, [child, 'hold', path])
    let killedAt
    const lock = await acquireLock(path, {
      onWait: () => {
        killedAt ??= performance.now()
        holder.kill('SIGKILL')
      },
    })
    took.push(performance.now() - killedAt)
    // A holder that ended by itself, or was never met, has measured nothing.
    if (lock.tookOverFrom?.pid !== holder.pid || holder.exitCode !== null) throw new Error(`the lock of pid ${holder.pid} was not taken over from a killed holder`)
    lock.release()
  }
  return took
}

async function killedHolderOfProper(root) {
  const file = join(root, 'proper')
  writeFileSync(file, '')
  const program = `import lockfile from 'proper-lockfile'; await lockfile.lock(${JSON.stringify(file)}); console.log('held'); setInterval(() => {}, 1e6)`
  const took = []
  for (let index = 0; index < PEER_KILLS; index += 1) {
    const holder = await started(process.execPath, ['--input-type=module', '-e', program])
    holder.kill('SIGKILL')
    const killedAt = performance.now()
    const release = await properLockfile.lock(file, { retries: { retries: 1000, factor: 1, minTimeout: 50, maxTimeout: 50 } })
    took.push(performance.now() - killedAt)
    await release()
  }
  return took
}

async function killedHolderOfFlock(root) {
  const file = join(root, 'flock')
  const took = []
  for (let index = 0; index < 50; index += 1) {
    const holder = await started('flock', ['-o', file, 'sh', '-c', 'echo held; exec sleep 100'])
    const waiter = spawn('flock', [file, 'echo', 'got'], { stdio: ['ignore', 'pipe', 'inherit'] })
    await pause(20)
    const killedAt = performance.now()
    holder.kill('SIGKILL')
    await once(waiter.stdout, 'data')
    took.push(performance.now() - killedAt)
    await once(waiter, 'close')
  }
  return took
}

/** Milliseconds until all waiters have done 5 ms of work one after the other. */
async function convoy(waiters, take) {
  const begun = performance.now()
  await Promise.all(
    Array.from({ length: waiters }, async () => {
      const release = await take()
      await pause(5)
      await release()
    }),
  )
  return performance.now() - begun
}

async function crowd(root) {
  const path = join(root, 'crowd.lock')
  const lock = await acquireLock(path)
  const first = withLock(path, () => {})
  await pause(50)
  const count = () => [readdirSync('/proc/self/task').length, readdirSync('/proc/self/fd').length]
  const [threads, descriptors] = count()
  const delay = monitorEventLoopDelay({ resolution: 1 })
  const waits = Array.from({ length: 64 }, () => withLock(path, () => {}))
  delay.enable()
  await pause(1000)
  delay.disable()
  const [threadsAfter, descriptorsAfter] = count()
  lock.release()
  await Promise.all([first, ...waits])
  return { delay: delay.percentile(99) / 1e6, threads: threadsAfter - threads, descriptors: descriptorsAfter - descriptors }
}

const shape = (took) => `p50 ${text(median(took))}, p99 ${text(quantile(took, 0.99))}, max ${text(Math.max(...took))} (n = ${took.length})`

/** One bar per way on a logarithmic scale from 0.1 ms to 100 s. */
function draw(ways) {
  const bar = (milliseconds) => '█'.repeat(Math.max(1, Math.round((Math.log10(milliseconds) + 1) * 8)))
  return ['```', ...Object.entries(ways).map(([name, took]) => `${name.padEnd(18)} ${bar(median(took))} ${text(median(took))}`), '```'].join('\n')
}

const root = mkdtempSync(join(tmpdir(), 'warmswap-bench-'))
const rows = [await uncontended(tmpdir(), 1)]
if (existsSync('/dev/shm')) rows.unshift(await uncontended('/dev/shm', 0.5))

const [ours, proper, flock] = [await killedHolder(root), await killedHolderOfProper(root), await killedHolderOfFlock(root)]
rows.push({ what: 'next acquisition after SIGKILL of the holder', ours: shape(ours), peer: `proper-lockfile ${shape(proper)}`, ratio: median(ours) / median(proper), reach: 0.01 })
rows.push({ what: 'the same, against blocking flock(1) of util-linux', ours: text(median(ours)), peer: shape(flock), ratio: median(ours) / median(flock) })

for (const waiters of [8, 64]) {
  const path = join(root, `convoy-${waiters}`)
  const warmswap = await convoy(waiters, async () => {
    const lock = await acquireLock(`${path}.lock`)
    return () => lock.release()
  })
  // 64 polling waiters take half a minute: eight show it.
  const polled = waiters === 8 ? await convoy(waiters, () => mkdirPolled(path)) : undefined
  rows.push({ what: `${waiters} waiters × 5 ms of work, all done`, ours: text(warmswap), peer: polled && `mkdir polled each ${POLL_MS} ms: ${text(polled)}`, ratio: polled && warmswap / polled })
}

const { delay, threads, descriptors } = await crowd(root)
rows.push({ what: 'event-loop delay p99 with 64 waiters', ours: text(delay) })
rows.push({ what: 'threads and descriptors of 64 waiters', ours: `${threads} and ${descriptors}` })
rmSync(root, { recursive: true })
report('locks', rows, ['Next acquisition after SIGKILL of the holder, p50, logarithmic:', draw({ warmswap: ours, 'blocking flock': flock, 'proper-lockfile': proper })])
process.exit(0)
