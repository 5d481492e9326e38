// Numbered requests over restarts of every kind. Prints one line of JSON with what came of them.
//   node coordinator-restarts.mjs <store root> <work log> <restarts> <requests>
import { openBundles, openCoordinator, startProcess } from '../../dist/index.js'

const [root, log, restarts, requests] = [
  process.argv[2],
  process.argv[3],
  Number(process.argv[4]),
  Number(process.argv[5]),
]
const store = await openBundles(root)
const publish = async (version) => {
  const stage = await store.stage()
  await stage.write(
    'worker.mjs',
    `
    import { serveRequests } from ${JSON.stringify(new URL('../../dist/index.js', import.meta.url).href)}
    import { appendFileSync } from 'node:fs'
    serveRequests(async ({ id, ask }, { incarnation }) => {
      if (ask === 'pid') return process.pid
      appendFileSync(${JSON.stringify(log)}, id + ' ' + incarnation + '\\n')
      await new Promise((resolve) => setTimeout(resolve, Math.random() * 20))
      return { id, incarnation, version: ${version} }
    })`,
  )
  await stage.publish()
}
await publish(0)

const coordinator = openCoordinator(store, { start: (context) => startProcess(context, 'worker.mjs'), drainMs: 100 })
const timeoutMs = Number(process.env.WARMSWAP_TEST_TIMEOUT_MS ?? 30_000)
const outcomes = { answered: 0, exited: 0, other: [], wrongId: 0, backwards: 0 }
let sentCount = 0

async function send(id) {
  const idempotent = id % 2 === 0
  const earliest = coordinator.status().incarnation
  try {
    const answer = await coordinator.dispatch({ id }, { replay: idempotent ? 'idempotent' : 'never', timeoutMs })
    outcomes.answered += 1
    if (answer.id !== id) outcomes.wrongId += 1
    // Sent after this incarnation served: an answer of an older one comes from a dead worker.
    if (answer.incarnation < earliest) outcomes.backwards += 1
  } catch (error) {
    if (error.code === 'ERR_WORKER_EXITED' && !idempotent) outcomes.exited += 1
    else outcomes.other.push(`${id}: ${error.code ?? error.name}: ${error.message}`)
  }
}

const pending = []
async function traffic(count) {
  for (let each = 0; each < count; each += 1) {
    sentCount += 1
    pending.push(send(sentCount))
    if (each % 4 === 3) await new Promise((resolve) => setTimeout(resolve, 5))
  }
}

await coordinator.dispatch({ ask: 'pid' })
const kinds = ['graceful', 'kill', 'stop', 'publish', 'kill while starting']
for (let round = 0; round < restarts; round += 1) {
  const kind = kinds[round % kinds.length]
  const { incarnation } = coordinator.status()
  const pid = await coordinator.dispatch({ ask: 'pid' }, { replay: 'idempotent', timeoutMs })
  const sending = traffic(Math.ceil(requests / restarts))
  if (kind === 'kill') process.kill(pid, 'SIGKILL')
  if (kind === 'stop') process.kill(pid, 'SIGSTOP')
  if (kind === 'publish') await publish(round)
  const rebooted = coordinator.reboot({ observed: incarnation, reason: kind })
  if (kind === 'kill while starting') process.kill(pid, 'SIGKILL')
  await Promise.all([sending, rebooted])
}
await Promise.all(pending)
await coordinator[Symbol.asyncDispose]()
await store.close()
console.log(JSON.stringify({ sent: sentCount, ...outcomes }))
