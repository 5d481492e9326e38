// Requests through attach(), next to the same handler in plain node:http.
import { fork } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
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
const self = fileURLToPath(import.meta.url)

if (process.argv[1] === self) await client(...process.argv.slice(2))

/** Requests over kept connections. Reports microseconds for each: over many connections, the share of the time. */
async function client(url, seconds, connections) {
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
  await Promise.all(Array.from({ length: Number(connections) }, run))
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

/** Requests per second over many connections, and the p99 of one connection, of each contestant in turn. */
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
  const run = async ({ url }, seconds, connections) => {
    const child = fork(self, [url, String(seconds), String(connections)], { execArgv: [] })
    return (await once(child, 'message'))[0]
  }
  for (const each of Object.values(running)) await run(each, 1, CONNECTIONS)
  for (let round = 0; round < ROUNDS; round += 1) {
    for (const each of Object.values(running)) {
      each.perSecond.push((await run(each, SECONDS, CONNECTIONS)).perSecond)
      each.p99.push((await run(each, SECONDS, 1)).p99)
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
      proxied: attached(join(folder, 'proxied'), server, (context) =>
        startProcess(context, 'worker.mjs', { listen: true }),
      ),
    })
    const rows = (what, ours, peer, mostMs) => {
      const perRequest = ({ perSecond }) => 1e6 / median(perSecond)
      const added = median(ours.p99) - median(peer.p99)
      return [
        {
          what: `attach(), ${what}: µs per request over ${CONNECTIONS} connections, against the same handler in plain node:http`,
          ours: `${perRequest(ours).toFixed(0)} µs (${median(ours.perSecond).toFixed(0)}/s)`,
          peer: `${perRequest(peer).toFixed(0)} µs (${median(peer.perSecond).toFixed(0)}/s)`,
          ratio: perRequest(ours) / perRequest(peer),
          reach: 2,
        },
        { what: '… p99 added latency, one connection', ours: `${added.toFixed(2)} ms`, reach: `${mostMs} ms` },
      ]
    }
    return [
      ...rows('thread with serveFetch()', measured.thread, measured.fetch, 0.3),
      ...rows('process that listens', measured.proxied, measured.node, 0.6),
    ]
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}
