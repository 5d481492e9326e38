// A process that uses locks through the package and can be killed: locks-child.js <verb> <lock path> [options as JSON]
import { appendFileSync, existsSync, readFileSync, writeFileSync } from 'node:fs'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createRequire } from 'node:module'
import { acquireLock, prewarm, tryLock } from 'warmswap'

const [verb, path, json = '{}'] = process.argv.slice(2)
const options = JSON.parse(json)
const say = (...words) => console.log(words.join(' '))

const verbs = {
  // Holds until killed.
  async hold() {
    const lock = await acquireLock(path, options)
    lock.signal.addEventListener('abort', () => say('lost'))
    say('held', lock.generation, lock.tookOverFrom?.pid ?? 'none')
    setInterval(() => {}, 1e6)
    process.stdin.on('data', (text) => {
      const [word, argument] = String(text).trim().split(' ')
      if (word === 'release') say('released', JSON.stringify(lock.release()))
      if (word === 'block') {
        say('blocking')
        const until = performance.now() + Number(argument)
        while (performance.now() < until);
        say('unblocked', lock.signal.aborted)
      }
    })
  },
  // Tries once while the filesystem does not answer.
  async try() {
    createRequire(import.meta.url)('../../dist/binding.cjs').armFaults()
    try {
      say((await tryLock(path, options)) === null ? 'busy' : 'held')
    } catch (error) {
      say(error.code, error.message)
    }
    process.exit()
  },
  // Acquires and lets the script end.
  async leave() {
    const lock = await acquireLock(path, options)
    say('held', lock.generation)
  },
  // Only a pending wait keeps this process alive.
  async wait() {
    const onWait = () => {
      say('waiting')
      setTimeout(() => say('still waiting'), 100).unref()
    }
    const pending = acquireLock(path, { ...options, onWait })
    const lock = await pending
    say('acquired', lock.tookOverFrom?.pid ?? 'none')
    lock.release()
  },
  // A child that inherits what children inherit, or that covers.
  async spawn() {
    const lock = await acquireLock(path, options)
    const stdio = options.coverChildren ? ['ignore', 'ignore', 'ignore', lock.childFd()] : 'ignore'
    const child = spawn('sleep', ['30'], { stdio, detached: true })
    say('held', child.pid)
    setInterval(() => {}, 1e6)
  },
  // Holds, and starts programs without a pause: at any moment some child is between fork and exec.
  async fork() {
    const lock = await acquireLock(path, options)
    say('held', lock.generation)
    const next = () => spawn('true', { stdio: 'ignore' }).once('close', next)
    for (let index = 0; index < 4; index += 1) next()
  },
  async prewarm() {
    const value = `${path}.value`
    say('started')
    const result = await prewarm(
      path,
      {
        isReady: () => (existsSync(value) ? readFileSync(value, 'utf8') : undefined),
        async run(lock) {
          appendFileSync(`${path}.runs`, `${process.pid}\n`)
          say('running', lock.generation)
          await new Promise((resolve) => setTimeout(resolve, options.runMs))
          writeFileSync(value, 'made')
          return 'made'
        },
      },
      { mode: options.mode, onWait: () => say('waiting') },
    )
    say('got', result.role, result.tookOverFrom?.pid ?? 'none')
  },
  // Acquires and releases for some seconds from a moment on, as several waiters. Then reports how often each acquired,
  // and the longest wait.
  async loop() {
    await new Promise((resolve) => setTimeout(resolve, options.beginsAt - Date.now()))
    const until = performance.now() + options.seconds * 1000
    let longest = 0
    const turn = async () => {
      let turns = 0
      while (performance.now() < until) {
        const asked = performance.now()
        const lock = await acquireLock(path)
        longest = Math.max(longest, performance.now() - asked)
        turns += 1
        await new Promise((resolve) => setTimeout(resolve, options.workMs))
        lock.release()
      }
      return turns
    }
    const turns = await Promise.all(Array.from({ length: options.waiters }, turn))
    say('turns', JSON.stringify({ turns, longest }))
  },
  // Takes turns with another process of its kind, and reports on the machine's monotonic clock when it acquired and
  // released the lock.
  async alternate() {
    for (let turn = 0; turn < options.turns; turn += 1) {
      const lock = await acquireLock(path)
      const got = process.hrtime.bigint()
      await new Promise((resolve) => setTimeout(resolve, 5))
      const gave = process.hrtime.bigint()
      lock.release()
      say('turn', got, gave)
      await new Promise((resolve) => setTimeout(resolve, 3))
    }
  },
  // Holds the lock until a message, then releases it and acquires it again immediately. Reports whether the event loop
  // has turned before it had the lock.
  async comeAgain() {
    const lock = await acquireLock(path)
    say('held')
    await once(process.stdin, 'data')
    lock.release()
    let hasTurned = false
    setImmediate(() => (hasTurned = true))
    const again = await acquireLock(path)
    say(hasTurned ? 'gave way' : 'went first')
    again.release()
    process.exit()
  },
}
await verbs[verb]()
