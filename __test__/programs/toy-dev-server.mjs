// A dev server in a hundred lines, right unless BUG names one of the mistakes that dev servers are known for:
//   join-in-flight      a build that is asked for joins the running one, which began before the change
//   fence-at-end        a build draws its number when it is done, so the older build that ends last wins
//   queue-on-worker     requests wait in the worker, and a reboot throws them away with it
//   stop-before-build   the worker is stopped first, then the new bundle is built
import { createServer } from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'
import { racePoint } from 'warmswap/race-point'

const { BUG, PORT, BUILD_MS = '5', WARMSWAP_RACE_NONCE: nonce } = process.env

let source = 0
let fence = 0
let published = { number: 0, change: 0 }
let running
let waiting = 0

async function build() {
  const drawn = BUG === 'fence-at-end' ? undefined : ++fence
  const change = source
  await racePoint('build-started')
  await sleep(Number(BUILD_MS))
  await racePoint('build-done')
  const number = drawn ?? ++fence
  if (number > published.number) published = { number, change }
}

/** Resolves with a bundle that contains this change. */
async function ensure(change) {
  waiting += 1
  if (BUG === 'join-in-flight' && running !== undefined) await running
  else {
    while (published.change < change) {
      running ??= build().finally(() => {
        running = undefined
      })
      await running
    }
  }
  waiting -= 1
  return published
}

let worker = startWorker(1, [])

function startWorker(incarnation, queue) {
  const started = { incarnation, queue, stopped: false }
  void serve(started)
  return started
}

async function serve(self) {
  while (!self.stopped) {
    const next = self.queue.shift()
    if (next !== undefined) next({ incarnation: self.incarnation, change: published.change })
    await sleep(1)
  }
}

/** Builds, swaps, and starts the new worker, which takes over the old one's queue. */
async function reboot(change) {
  source = Math.max(source, change)
  if (BUG === 'stop-before-build') worker.stopped = true
  await ensure(change)
  const old = worker
  old.stopped = true
  await racePoint('reboot')
  worker = startWorker(old.incarnation + 1, BUG === 'queue-on-worker' ? [] : old.queue)
  return { incarnation: worker.incarnation }
}

const routes = {
  '/health': async () => ({}),
  '/change': async (change) => {
    source = Math.max(source, change)
    return { change: source }
  },
  '/ensure': ensure,
  '/build': async () => build().then(() => published),
  '/published': async () => ({ ...published, waiting, queued: worker.queue.length }),
  '/reboot': reboot,
  '/request': () => new Promise((resolve) => worker.queue.push(resolve)),
}

createServer(async (request, response) => {
  const { pathname, searchParams } = new URL(request.url, 'http://localhost')
  const answer = await routes[pathname](Number(searchParams.get('change') ?? 0))
  response.writeHead(200, { 'x-race-nonce': nonce, 'content-type': 'application/json' }).end(JSON.stringify(answer))
}).listen(Number(PORT), '127.0.0.1')
process.on('SIGTERM', () => process.exit(0))
