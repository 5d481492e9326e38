// Locks: compared with proper-lockfile, with polled mkdir, and with flock(1), which blocks in the kernel, as the limit.
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
/** Milliseconds until eight programs have started. A program that loops alone would get more turns. */
const START_MS = 4000
const KILLS = 200
const PEER_KILLS = 3
const HAND_OVERS = 200
const PEER_HAND_OVERS = 50
const POLL_MS = 250
const child = fileURLToPath(new URL('../__test__/programs/locks-child.js', import.meta.url))

const pause = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds))
const text = (milliseconds) =>
  milliseconds < 1
    ? `${(milliseconds * 1000).toFixed(0)} µs`
    : milliseconds < 10_000
      ? `${milliseconds.toFixed(1)} ms`
      : `${(milliseconds / 1000).toFixed(1)} s`

/** The method of most tools: mkdir is the lock, and a process that finds it polls. */
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
  return {
    what: `acquire + release, uncontended,  ${parent}`,
    ours: text(ours),
    peer: `proper-lockfile ${text(proper)}`,
    ratio: ours / proper,
    reach,
  }
}

/** Starts a program and resolves once it has written a line. */
async function started(command, args) {
  const process = spawn(command, args, { stdio: ['ignore', 'pipe', 'inherit'] })
  await new Promise((resolve, reject) => {
    createInterface({ input: process.stdout })
      .once('line', resolve)
      .once('close', () => reject(new Error(`${command} ${args.join(' ')} has ended without a line`)))
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
    // A holder that ended by itself, or was never observed, measures nothing.
    if (lock.tookOverFrom?.pid !== holder.pid || holder.exitCode !== null)
      throw new Error(`the lock of pid ${holder.pid} was not taken over from a killed holder`)
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
    const release = await properLockfile.lock(file, {
      retries: { retries: 1000, factor: 1, minTimeout: 50, maxTimeout: 50 },
    })
    took.push(performance.now() - killedAt)
    await release()
  }
  return took
}

const blockedWaiter = (file) => `
import fcntl
with open('${file}', 'w') as file:
    print('waiting', flush=True)
    fcntl.flock(file, fcntl.LOCK_EX)
    print('got', flush=True)
`

/**
 * The limit: a waiter that the kernel wakes. The holder uses warmswap, because most of the time is the kernel's
 * teardown of a Node process: 40 MB, then the descriptors.
 */
async function killedHolderOfFlock(root) {
  const file = join(root, 'flock')
  const took = []
  for (let index = 0; index < KILLS; index += 1) {
    const holder = await started('sh', [
      '-c',
      'exec 9> "$0" && flock 9 && exec "$@"',
      file,
      process.execPath,
      child,
      'hold',
      join(root, 'flocked.lock'),
    ])
    const waiter = await started('python3', ['-c', blockedWaiter(file)])
    const killedAt = performance.now()
    holder.kill('SIGKILL')
    await once(waiter.stdout, 'data')
    took.push(performance.now() - killedAt)
    await once(waiter, 'close')
  }
  return took
}

/** The lines that two processes of one kind wrote until they ended. */
async function linesOfTwo(command, args) {
  const processes = [0, 1].map(() => spawn(command, args, { stdio: ['ignore', 'pipe', 'inherit'] }))
  const lines = processes.map(async (process) => {
    const read = []
    for await (const line of createInterface({ input: process.stdout })) read.push(line)
    return read
  })
  return await Promise.all(lines)
}

/** Milliseconds from the release by one process until the other one, which waits, has the lock. */
async function handOver(command, args) {
  const turns = (await linesOfTwo(command, args)).flatMap((lines, process) =>
    lines.map((line) => {
      const [, got, gave] = line.split(' ').map((word, index) => (index === 0 ? word : BigInt(word)))
      return { process, got, gave }
    }),
  )
  turns.sort((one, other) => (one.got < other.got ? -1 : 1))
  return turns
    .slice(1)
    .flatMap((turn, index) =>
      turn.process === turns[index].process ? [] : [Number(turn.got - turns[index].gave) / 1e6],
    )
}

const blockingFlock = (file) => `
import fcntl, time
for turn in range(${HAND_OVERS}):
    with open('${file}', 'w') as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        got = time.monotonic_ns()
        time.sleep(0.005)
        gave = time.monotonic_ns()
    print('turn', got, gave, flush=True)
    time.sleep(0.003)
`

const alternatingPeer = (file) => `
import lockfile from 'proper-lockfile'
const pause = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds))
for (let turn = 0; turn < ${PEER_HAND_OVERS}; turn += 1) {
  const release = await lockfile.lock(${JSON.stringify(file)}, { retries: { retries: 1000, factor: 1, minTimeout: 50, maxTimeout: 50 } })
  const got = process.hrtime.bigint()
  await pause(5)
  const gave = process.hrtime.bigint()
  await release()
  console.log('turn', String(got), String(gave))
  await pause(3)
}
`

/** Turns of the most frequent process for each turn of the least frequent one, and the longest wait. */
async function fairness(root, waitersOfEach) {
  const path = join(root, `fair-${waitersOfEach}.lock`)
  const options = JSON.stringify({ beginsAt: Date.now() + START_MS, seconds: 5, waiters: waitersOfEach, workMs: 1 })
  const programs = Array.from({ length: 8 }, () =>
    spawn(process.execPath, [child, 'loop', path, options], { stdio: ['ignore', 'pipe', 'inherit'] }),
  )
  const said = await Promise.all(
    programs.map(async ({ stdout }) => {
      let text = ''
      for await (const chunk of stdout) text += chunk
      return JSON.parse(text.slice('turns '.length))
    }),
  )
  const turns = said.flatMap((each) => each.turns)
  return {
    most: Math.max(...turns),
    least: Math.min(...turns),
    longest: Math.max(...said.map(({ longest }) => longest)),
  }
}

/** Milliseconds until all waiters have done 5 ms of work, one after the other. */
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
  return {
    delay: delay.percentile(99) / 1e6,
    threads: threadsAfter - threads,
    descriptors: descriptorsAfter - descriptors,
  }
}

const shape = (took) =>
  `p50 ${text(median(took))}, p99 ${text(quantile(took, 0.99))}, max ${text(Math.max(...took))} (n = ${took.length})`

/** One bar per method on a logarithmic scale from 0.1 ms to 100 s. */
function draw(ways) {
  const bar = (milliseconds) => '█'.repeat(Math.max(1, Math.round((Math.log10(milliseconds) + 1) * 8)))
  return [
    '```',
    ...Object.entries(ways).map(([name, took]) => `${name.padEnd(18)} ${bar(median(took))} ${text(median(took))}`),
    '```',
  ].join('\n')
}

const root = mkdtempSync(join(tmpdir(), 'warmswap-bench-'))
const rows = [await uncontended(tmpdir(), 1)]
if (existsSync('/dev/shm')) rows.unshift(await uncontended('/dev/shm', 0.5))

const [ours, proper, flock] = [
  await killedHolder(root),
  await killedHolderOfProper(root),
  await killedHolderOfFlock(root),
]
rows.push({
  what: 'next acquisition after SIGKILL of the holder',
  ours: shape(ours),
  peer: `proper-lockfile ${shape(proper)}`,
  ratio: median(ours) / median(proper),
  reach: 0.01,
})
for (const [what, took, reach] of [
  ['p50', median(ours), 5],
  ['p99', quantile(ours, 0.99), 100],
  ['max', Math.max(...ours), 1000],
]) {
  rows.push({
    what: `the same, ${what} against what is to be reached`,
    ours: text(took),
    peer: `${reach} ms`,
    ratio: took / reach,
    reach: 1,
  })
}
rows.push({
  what: 'the same, against blocking flock(2) on the same holder',
  ours: text(median(ours)),
  peer: shape(flock),
  ratio: median(ours) / median(flock),
})

const handed = await handOver(process.execPath, [
  child,
  'alternate',
  join(root, 'turns.lock'),
  JSON.stringify({ turns: HAND_OVERS }),
])
writeFileSync(join(root, 'turns'), '')
const handedByPeer = await handOver(process.execPath, [
  '--input-type=module',
  '-e',
  alternatingPeer(join(root, 'turns')),
])
const handedByKernel = await handOver('python3', ['-c', blockingFlock(join(root, 'turns-of-flock'))])
rows.push({
  what: 'hand-over between two processes',
  ours: shape(handed),
  peer: `proper-lockfile retrying each 50 ms: ${shape(handedByPeer)}`,
  ratio: median(handed) / median(handedByPeer),
})
rows.push({
  what: 'the same, against blocking flock',
  ours: text(median(handed)),
  peer: shape(handedByKernel),
  ratio: median(handed) / median(handedByKernel),
})

for (const waiters of [1, 8]) {
  const { most, least, longest } = await fairness(root, waiters)
  rows.push({
    what: `fairness of ${8 * waiters} waiters in 8 processes that loop: most / fewest turns`,
    ours: `${most} / ${least}, longest wait ${text(longest)}`,
    ratio: most / least,
    reach: 3,
  })
}

for (const waiters of [8, 64]) {
  const path = join(root, `convoy-${waiters}`)
  const warmswap = await convoy(waiters, async () => {
    const lock = await acquireLock(`${path}.lock`)
    return () => lock.release()
  })
  // 64 polling waiters take half a minute: eight are enough.
  const polled = waiters === 8 ? await convoy(waiters, () => mkdirPolled(path)) : undefined
  rows.push({
    what: `${waiters} waiters × 5 ms of work, all done`,
    ours: text(warmswap),
    peer: polled && `mkdir polled each ${POLL_MS} ms: ${text(polled)}`,
    ratio: polled && warmswap / polled,
  })
  if (waiters === 8)
    rows.push({
      what: 'the same, against what is to be reached',
      ours: text(warmswap),
      peer: '240 ms',
      ratio: warmswap / 240,
      reach: 1,
    })
}

const { delay, threads, descriptors } = await crowd(root)
rows.push({
  what: 'event-loop delay p99 with 64 waiters',
  ours: text(delay),
  peer: 'to be reached: 20 ms',
  ratio: delay / 20,
  reach: 1,
})
rows.push({ what: 'threads and descriptors of 64 waiters', ours: `${threads} and ${descriptors}` })
rmSync(root, { recursive: true })
report('locks', rows, [
  'Next acquisition after SIGKILL of the holder, p50, logarithmic:',
  draw({ warmswap: ours, 'blocking flock': flock, 'proper-lockfile': proper }),
])
process.exit(0)
