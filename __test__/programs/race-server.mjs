// A server that is restarted under test. Everything it does wrong is asked for by its environment:
//   UNREADY_MS    /data answers 503 for so long after it listens, while /health says 200 from the start
//   LEAVE_CHILD   starts a process: 'group' in its own group, 'detached' in another; both ignore SIGTERM
//   IGNORE_TERM   does not stop
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createServer } from 'node:http'
import { racePoint } from 'warmswap/race-point'

const {
  PORT = '0',
  UNREADY_MS = '0',
  LEAVE_CHILD,
  IGNORE_TERM,
  WARMSWAP_RACE_NONCE: nonce,
  WARMSWAP_RACE_INCARNATION: incarnation,
} = process.env
const clock = () => Number(process.hrtime.bigint()) / 1e6

if (LEAVE_CHILD) {
  // Signals that a process ignores stay ignored across exec.
  const child = spawn('sh', ['-c', "trap '' TERM; echo up; exec sleep 1000"], {
    detached: LEAVE_CHILD === 'detached',
    stdio: ['ignore', 'pipe', 'ignore'],
  })
  await once(child.stdout, 'data')
}
if (IGNORE_TERM) process.on('SIGTERM', () => {})
else process.on('SIGTERM', () => process.exit(0))

let readyAt = Infinity
const server = createServer(async (request, response) => {
  const unready = request.url.startsWith('/data') && clock() < readyAt
  try {
    if (request.url.startsWith('/work')) await racePoint('work')
    response.writeHead(unready ? 503 : 200, { 'x-race-nonce': nonce, 'content-type': 'application/json' })
    response.end(JSON.stringify({ nonce, incarnation: Number(incarnation), pid: process.pid, readyAt }))
  } catch (error) {
    response.writeHead(507, { 'x-race-nonce': nonce }).end(error.code)
  }
})
await racePoint('before-listen')
server.listen(Number(PORT), '127.0.0.1', () => {
  readyAt = clock() + Number(UNREADY_MS)
  console.log(`READY ${JSON.stringify({ port: server.address().port, at: clock() })}`)
  process.send?.({ type: 'ready', at: clock() })
})
