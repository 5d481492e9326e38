// The mkdir locks of one program's three generations, rewritten from their format on disk and their rules:
//   mkdir-locks.js <v0|liveness|intents> <once|hold|storm> <lock path> [options as JSON: staleMs, seconds, arena]
//   v0        mkdir, owner.json { createdAt, pid }; older than staleMs by the directory's mtime: removed
//   liveness  owner.json with hostname; the lock of a dead pid of this host is removed immediately, an unknown one by mtime; release by path
//   intents   with token; a reclaimer announces itself in <lock>.recovery/intent-<uuid>/owner.json and renames what it removes
import { appendFileSync, closeSync, openSync } from 'node:fs'
import { mkdir, readFile, readdir, rename, rm, stat, utimes, writeFile } from 'node:fs/promises'
import { randomUUID } from 'node:crypto'
import { spawnSync } from 'node:child_process'
import { hostname } from 'node:os'
import { dirname, join } from 'node:path'

const [version, verb, path, json = '{}'] = process.argv.slice(2)
const { staleMs = version === 'v0' ? 30 * 60_000 : 10 * 60_000, seconds = 5, arena, holdMs = 0 } = JSON.parse(json)
const POLL_MS = 250
const token = randomUUID()

const say = (...words) => console.log(words.join(' '))
const pause = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds))
const unless = (code, fallback) => (error) => {
  if (error.code !== code) throw error
  return fallback
}

function owner() {
  const common = { createdAt: new Date().toISOString(), pid: process.pid }
  if (version === 'v0') return common
  return version === 'liveness' ? { ...common, hostname: hostname() } : { ...common, hostname: hostname(), token }
}

const readOwner = (directory) =>
  readFile(join(directory, 'owner.json'), 'utf8')
    .then(JSON.parse)
    .catch(() => null)

/** Returns 'alive', 'dead' or 'unknown', by pid and hostname alone. */
async function liveness(directory) {
  const found = version === 'v0' ? null : await readOwner(directory)
  if (found === null || found.hostname !== hostname() || !Number.isInteger(found.pid)) return 'unknown'
  try {
    process.kill(found.pid, 0)
    return 'alive'
  } catch (error) {
    return error.code === 'ESRCH' ? 'dead' : 'alive'
  }
}

async function isStale(directory) {
  const found = await stat(directory).catch(unless('ENOENT', null))
  if (found === null) return false
  const alive = await liveness(directory)
  return alive === 'dead' || (alive === 'unknown' && Date.now() - found.mtimeMs > staleMs)
}

async function reclaim() {
  if (version !== 'intents') return rm(path, { recursive: true, force: true })
  const recovery = `${path}.recovery`
  const intent = join(recovery, `intent-${token}`)
  await mkdir(intent, { recursive: true })
  await writeFile(join(intent, 'owner.json'), `${JSON.stringify(owner())}\n`)
  const beat = setInterval(() => void utimes(intent, new Date(), new Date()).catch(() => {}), 30_000)
  try {
    const first = (await readdir(recovery)).sort()[0]
    if (first !== `intent-${token}`) {
      if (await isStale(join(recovery, first))) await rm(join(recovery, first), { recursive: true, force: true })
      return
    }
    // Checked again after the intent was announced: another process may have finished in between.
    if (!(await isStale(path))) return
    const tombstone = `${path}.${token}.tombstone`
    if (await rename(path, tombstone).then(() => true, unless('ENOENT', false)))
      await rm(tombstone, { recursive: true, force: true })
  } finally {
    clearInterval(beat)
    await rm(intent, { recursive: true, force: true })
  }
}

async function acquire() {
  let isTold = false
  for (;;) {
    await mkdir(dirname(path), { recursive: true })
    if (await mkdir(path).then(() => true, unless('EEXIST', false))) {
      await writeFile(join(path, 'owner.json'), `${JSON.stringify(owner())}\n`)
      return
    }
    if (!isTold) say('waiting')
    isTold = true
    if (await isStale(path)) await reclaim()
    else await pause(POLL_MS)
  }
}

async function release() {
  if (version === 'intents' && (await readOwner(path))?.token !== token) return say('not ours')
  await rm(path, { recursive: true, force: true })
}

/**
 * A process that is alone in here gets the independent lock immediately. The shell holds it on this process's
 * descriptor.
 */
async function criticalSection() {
  const independent = openSync(join(arena, 'overlap'), 'a')
  const { status } = spawnSync('flock', ['-x', '-n', '3'], { stdio: ['ignore', 'ignore', 'ignore', independent] })
  if (status !== 0) appendFileSync(join(arena, 'overlaps'), `0 ${process.pid}\n`)
  appendFileSync(join(arena, 'mkdir-log'), `0 ${process.pid}\n`)
  await pause(Math.random() * 8)
  closeSync(independent)
}

const verbs = {
  async hold() {
    await acquire()
    say('held', token)
    process.stdin.once('data', async () => {
      await release()
      say('released')
      process.exit(0)
    })
  },
  async once() {
    await acquire()
    say('held', token)
    await pause(holdMs)
    await release()
    say('released')
  },
  async storm() {
    const until = performance.now() + seconds * 1000
    while (performance.now() < until) {
      await acquire()
      await criticalSection()
      await release()
      // It polls each 250 ms: without a pause of its own nobody who polls would ever see it free.
      await pause(Math.random() * 20)
    }
  },
}
await verbs[verb]()
