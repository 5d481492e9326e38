// A host of startProcess() whose worker leaves processes: keeper-host.js <store> [options as JSON]
//   busy         the worker computes without end once it serves
//   detached     the worker also starts a process in a session of its own
//   killDetached the option of that name
//   silent       the worker never serves
//   endAt        'called': SIGKILL to itself as soon as startProcess() was called; 'forked': between the fork and the report of it
import * as childProcess from 'node:child_process'
import { createRequire, syncBuiltinESMExports } from 'node:module'

const [folder, json = '{}'] = process.argv.slice(2)
const { busy = false, detached = false, killDetached, silent = false, endAt } = JSON.parse(json)
const die = () => process.kill(process.pid, 'SIGKILL')

const mutable = createRequire(import.meta.url)('node:child_process')
const { fork } = childProcess
mutable.fork = (...args) => {
  const child = fork(...args)
  console.log(`forked ${child.pid}`)
  if (endAt === 'forked') die()
  return child
}
syncBuiltinESMExports()
const { openBundles, startProcess } = await import('../../dist/index.js')

const program = `
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { writeSync } from 'node:fs'
import { serveRequests } from ${JSON.stringify(new URL('../../dist/worker.js', import.meta.url).href)}
const sleep = ['sleep', ['600'], { stdio: 'ignore' }]
const pids = { worker: process.pid, inGroup: spawn(...sleep).pid, unmarked: spawn('sleep', ['600'], { stdio: 'ignore', env: {} }).pid }
// Job control gives each job a group of its own, in the session of the worker. Its shell ends at once.
const shell = spawn('bash', ['-c', 'set -m; sleep 600 >&- 2>&- & echo $!'], { stdio: ['ignore', 'pipe', 'ignore'] })
pids.inSession = Number(String((await once(shell.stdout, 'data'))[0]))
if (${detached}) pids.detached = spawn('sleep', ['601'], { stdio: 'ignore', detached: true }).pid
process.on('SIGUSR2', () => writeSync(1, 'ended by itself\\n'))
process.on('exit', () => writeSync(1, 'exit handler\\n'))
if (${silent}) await new Promise(() => setInterval(() => {}, 1e6))
serveRequests(() => { if (${busy}) for (;;); })
writeSync(1, 'pids ' + JSON.stringify(pids) + '\\n')
`
const store = await openBundles(folder)
const stage = await store.stage()
await stage.write('worker.mjs', program)
await stage.publish()
console.log('starting')
const pin = store.pin()
const starting = startProcess({ pin, signal: new AbortController().signal }, 'worker.mjs', { killDetached })
if (endAt === 'called') die()
const worker = await starting
if (busy) worker.send('work', { incarnation: 1, signal: new AbortController().signal })
console.log('ready')
process.stdin.on('data', async () => {
  await worker.stop(5000)
  console.log('stopped')
})
