// Requests through attach(), next to the same handler in plain node:http, and next to a proxy of 15 lines.
import { fork, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdtempSync, rmSync } from 'node:fs'
import http, { createServer } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { toNodeHandler } from 'srvx/node'
import { openBundles, openCoordinator, startProcess, startWorkerThread } from 'warmswap'
import { median, quantile } from '../lib/measure.js'

const SECONDS = Number(process.env.WARMSWAP_BENCH_SECONDS ?? 3)
const CONNECTIONS = 32
const ROUNDS = 3
/** Requests per second for latencies: a tenth of what attach() can do, so that they hardly wait for one another. */
const RATE = Number(process.env.WARMSWAP_BENCH_RATE ?? 400)
const self = fileURLToPath(import.meta.url)

if (process.argv[1] === self) await client(...process.argv.slice(2))

/**
 * Requests over kept connections. With a rate, they are sent at that rate, whether or not earlier ones were answered.
 * Without one, each connection sends its next request after the answer: the latencies of such a run are those of a queue.
 */
async function client(url, seconds, connections, rate = '0') {
  const agent = new http.Agent({ keepAlive: true, maxSockets: Number(connections) })
  const times = []
  const one = () =>
    new Promise((resolve, reject) => {
      const started = performance.now()
      const done = (response) => {
        response.resume().on('end', () => {
          if (response.statusCode !== 200) return reject(new Error(`status ${response.statusCode}`))
          times.push(performance.now() - started)
          resolve()
        })
      }
      http.get(url, { agent }, done).on('error', reject)
    })
  const until = performance.now() + Number(seconds) * 1000
  const started = performance.now()
  const run = async () => {
    while (performance.now() < until) await one()
  }
  const send = async () => {
    const sent = []
    for (let next = started; performance.now() < until; next += 1000 / Number(rate)) {
      const early = next - performance.now()
      if (early > 0) await new Promise((resolve) => setTimeout(resolve, early))
      sent.push(one())
    }
    await Promise.all(sent)
  }
  if (Number(rate) > 0) await send()
  else await Promise.all(Array.from({ length: Number(connections) }, run))
  process.send({ perSecond: (times.length * 1000) / (performance.now() - started), p99: quantile(times, 0.99) })
  process.disconnect()
}

const FETCH = "(request) => Response.json({ hello: 'world', path: new URL(request.url).pathname })"
const NODE =
  "(request, response) => { response.setHeader('content-type', 'application/json'); response.end(JSON.stringify({ hello: 'world', path: request.url })) }"

const plain = (handler) => ({
  attach: async (server) => void server.on('request', handler),
  close: async () => {},
})

/** The least that a proxy does: a request over a kept connection, and two pipes. */
function bareProxy(folder, program) {
  const socketPath = join(folder, 'bare.sock')
  const agent = new http.Agent({ keepAlive: true })
  let child
  return {
    async attach(server) {
      child = spawn(process.execPath, ['--input-type=module', '--eval', program], {
        env: { ...process.env, WARMSWAP_LISTEN: socketPath },
        stdio: ['ignore', 'ignore', 'inherit'],
      })
      while (!existsSync(socketPath)) await new Promise((resolve) => setTimeout(resolve, 5))
      server.on('request', (request, response) => {
        const { method, url: path, headers } = request
        const upstream = http.request({ socketPath, agent, method, path, headers }, (answer) => {
          response.writeHead(answer.statusCode, answer.rawHeaders)
          answer.pipe(response)
        })
        request.pipe(upstream)
      })
    },
    async close() {
      agent.destroy()
      child.kill()
      await once(child, 'exit')
    },
  }
}

function attached(folder, program, start) {
  let coordinator
  let store
  return {
    async attach(server) {
      store = await openBundles(folder)
      const stage = await store.stage()
      await stage.write('worker.mjs', program)
      await stage.publish()
      coordinator = openCoordinator(store, { start })
      coordinator.attach(server)
      await coordinator.reboot({ observed: null, reason: 'the start' })
    },
    async close() {
      await coordinator[Symbol.asyncDispose]()
      await store.close()
    },
  }
}

/** Requests per second over many connections, and the p99 at a fixed rate, of each contestant in turn. */
async function measure(contestants) {
  const running = {}
  for (const [name, contestant] of Object.entries(contestants)) {
    const server = createServer()
    await contestant.attach(server)
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    running[name] = {
      contestant,
      server,
      url: `http://127.0.0.1:${server.address().port}/path`,
      perSecond: [],
      p99: [],
    }
  }
  const run = async ({ url }, seconds, rate = 0) => {
    const child = fork(self, [url, String(seconds), String(CONNECTIONS), String(rate)], { execArgv: [] })
    return (await once(child, 'message'))[0]
  }
  for (const each of Object.values(running)) await run(each, 1)
  for (let round = 0; round < ROUNDS; round += 1) {
    for (const each of Object.values(running)) {
      each.perSecond.push((await run(each, SECONDS)).perSecond)
      each.p99.push((await run(each, SECONDS, RATE)).p99)
    }
  }
  for (const { contestant, server } of Object.values(running)) {
    server.closeAllConnections()
    server.close()
    await contestant.close()
  }
  return running
}

export async function httpRows() {
  const folder = mkdtempSync(join(tmpdir(), 'warmswap-bench-http-'))
  const worker = `import { serveFetch } from ${JSON.stringify(import.meta.resolve('warmswap/worker'))}\nserveFetch(${FETCH})`
  const server = `import http from 'node:http'\nhttp.createServer(${NODE}).listen(process.env.WARMSWAP_LISTEN)`
  const evaluate = (text) => new Function(`return ${text}`)()
  try {
    const measured = await measure({
      fetch: plain(toNodeHandler(evaluate(FETCH))),
      thread: attached(join(folder, 'thread'), worker, (context) => startWorkerThread(context, 'worker.mjs')),
      node: plain(evaluate(NODE)),
      bare: bareProxy(folder, server),
      proxied: attached(join(folder, 'proxied'), server, (context) =>
        startProcess(context, 'worker.mjs', { listen: true }),
      ),
    })
    const perRequest = ({ perSecond }) => 1e6 / median(perSecond)
    const time = (each) => `${perRequest(each).toFixed(0)} µs (${median(each.perSecond).toFixed(0)}/s)`
    const throughput = (what, ours, peer, reach) => ({
      what: `${what}: µs per request over ${CONNECTIONS} connections`,
      ours: time(ours),
      peer: time(peer),
      ratio: perRequest(ours) / perRequest(peer),
      reach,
    })
    const latency = (ours, peer, mostMs) => ({
      what: `… p99 added latency at ${RATE} requests per second`,
      ours: `${(median(ours.p99) - median(peer.p99)).toFixed(2)} ms (${median(ours.p99).toFixed(2)})`,
      peer: `(${median(peer.p99).toFixed(2)} ms)`,
      reach: `${mostMs} ms`,
    })
    const { thread, fetch, proxied, node, bare } = measured
    return [
      throughput('attach(), thread with serveFetch(), against the same handler in plain node:http', thread, fetch, 2),
      latency(thread, fetch, 0.3),
      throughput('attach(), process that listens, against the same handler in plain node:http', proxied, node, 2),
      latency(proxied, node, 0.6),
      throughput('attach(), process that listens, against a node:http proxy of 15 lines', proxied, bare),
      { ...latency(bare, node), what: '… p99 added latency of that proxy', reach: undefined },
    ]
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}
