// Reloads under clients that never pause: warmswap, the manager of env-runner, and nodemon.
import { fork, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { loadRunner, RunnerManager } from 'env-runner'
import { toNodeHandler } from 'srvx/node'
import { openBundles, openCoordinator, startProcess } from 'warmswap'
import { fetchApp, listeningApp } from '../../__test__/programs/storm-apps.mjs'

const RELOADS = Number(process.env.WARMSWAP_BENCH_RELOADS ?? 200)
const CLIENTS = process.env.WARMSWAP_BENCH_CLIENTS ?? '64'
/** A reload that has not ended then counts as failed. */
const LONGEST_RELOAD_MS = 10_000

const loader = fileURLToPath(new URL('../../__test__/programs/storm-load.mjs', import.meta.url))
const nodemon = fileURLToPath(new URL('../../node_modules/nodemon/bin/nodemon.js', import.meta.url))

async function listen(server) {
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return server.address().port
}

/** Each contestant: `edit(version)` resolves once that version serves. */
async function warmswapServer(folder, log) {
  const store = await openBundles(join(folder, 'store'))
  const coordinator = openCoordinator(store, {
    start: (context) => startProcess(context, 'server.mjs', { listen: true }),
  })
  const server = createServer()
  coordinator.attach(server)
  const edit = async (version) => {
    const observed = coordinator.status().incarnation || null
    const { pin } = await coordinator.build({ atLeast: coordinator.change() }, ({ stage }) =>
      stage.write('server.mjs', listeningApp({ version, log })),
    )
    await coordinator.reboot({ observed, reason: 'an edit' })
    pin.release()
  }
  await edit(0)
  return {
    port: await listen(server),
    edit,
    async close() {
      server.closeAllConnections()
      server.close()
      await coordinator[Symbol.asyncDispose]()
      await store.close()
    },
  }
}

/** The handler with the sockets of `ws`, as an entry of env-runner. */
const entry = (version, log) =>
  fetchApp({
    version,
    log,
    before: `import { WebSocketServer } from ${JSON.stringify(import.meta.resolve('ws'))}`,
    register: `const sockets = new WebSocketServer({ noServer: true })
const echo = (socket) => socket.on('error', () => {}).on('message', (data) => socket.send(version + ' ' + data))
export default { fetch: handler, upgrade: ({ node: { req, socket, head } }) => sockets.handleUpgrade(req, socket, head, echo) }`,
  })

async function envRunnerServer(folder, log) {
  const manager = new RunnerManager()
  const handler = toNodeHandler((request) => manager.fetch(request))
  // Without this, a stream that breaks with its worker is an unhandled rejection, which ends the host.
  const server = createServer((request, response) =>
    Promise.resolve(handler(request, response)).catch(() => response.destroy()),
  )
  server.on('upgrade', (req, socket, head) => {
    socket.on('error', () => {})
    Promise.resolve(manager.upgrade({ node: { req, socket, head } })).catch(() => socket.destroy())
  })
  const edit = async (version) => {
    const file = join(folder, `app-${version}.mjs`)
    writeFileSync(file, entry(version, log))
    await manager.reload(await loadRunner('node-process', { name: 'app', data: { entry: file } }))
    await manager.waitForReady()
  }
  await edit(0)
  return {
    port: await listen(server),
    edit,
    async close() {
      server.closeAllConnections()
      server.close()
      await manager.close()
    },
  }
}

async function nodemonServer(folder, log) {
  const placeholder = createServer()
  const port = await listen(placeholder)
  placeholder.close()
  const file = join(folder, 'server.mjs')
  const write = (version) => writeFileSync(file, listeningApp({ version, log, on: `${port}, '127.0.0.1'` }))
  write(0)
  const child = spawn(process.execPath, [nodemon, '--quiet', '--watch', file, file], { cwd: folder, stdio: 'ignore' })
  const edit = async (version) => {
    write(version)
    for (;;) {
      const answer = await fetch(`http://127.0.0.1:${port}/short?id=0`).catch(() => undefined)
      if ((await answer?.text().catch(() => ''))?.split(' ')[1] === String(version)) return
      await new Promise((resolve) => setTimeout(resolve, 10))
    }
  }
  await edit(0)
  return {
    port,
    edit,
    async close() {
      child.kill()
      await once(child, 'exit')
    },
  }
}

/** What the clients of one contestant have seen. */
async function storm(start) {
  const folder = mkdtempSync(join(tmpdir(), 'warmswap-bench-storm-'))
  const log = join(folder, 'log')
  mkdirSync(join(folder, 'node_modules'))
  writeFileSync(log, '')
  const server = await start(folder, log)
  const child = fork(loader, [`http://127.0.0.1:${server.port}/`, CLIENTS, CLIENTS, CLIENTS], { execArgv: [] })
  try {
    await once(child, 'message')
    let failedReloads = 0
    for (let version = 1; version <= RELOADS; version += 1) {
      const late = new Promise((_, reject) => setTimeout(reject, LONGEST_RELOAD_MS, new Error('late')).unref())
      await Promise.race([server.edit(version), late]).catch(() => (failedReloads += 1))
    }
    const reported = once(child, 'message')
    child.send('stop')
    const [report] = await reported
    return { ...report, failedReloads, doubled: begunTwice(log) }
  } finally {
    child.kill('SIGKILL')
    await server.close()
    rmSync(folder, { recursive: true, force: true })
  }
}

function begunTwice(log) {
  const times = new Map()
  for (const line of readFileSync(log, 'utf8').split('\n'))
    if (line.startsWith('POST ')) times.set(line, (times.get(line) ?? 0) + 1)
  return [...times.values()].filter((count) => count > 1).length
}

function text({ short, streams, sockets, failedReloads, doubled }) {
  const finite = streams.cuts.filter(({ isEndless }) => !isEndless).length
  const reasons = Object.entries(short.reasons)
    .map(([reason, count]) => `${count} × ${reason}`)
    .join(', ')
  return [
    `${short.failed} of ${short.sent} requests failed${reasons && ` (${reasons})`}`,
    `${doubled} doubled`,
    `${finite + streams.failed} of ${streams.opened} streams cut before their end or refused`,
    `${sockets.closes.filter(({ code }) => code !== 1012).length + sockets.failed} of ${sockets.opened + sockets.failed} sockets reset or refused`,
    ...(failedReloads > 0 ? [`${failedReloads} reloads took over 10 s`] : []),
  ].join('; ')
}

export async function stormRows() {
  const [ours, envRunner, watched] = [
    await storm(warmswapServer),
    await storm(envRunnerServer),
    await storm(nodemonServer),
  ]
  const what = (peer) =>
    `${RELOADS} reloads under ${CLIENTS} streams, ${CLIENTS} sockets, ${CLIENTS} short requests, against ${peer}`
  return [
    { what: what('the manager of env-runner'), ours: text(ours), peer: text(envRunner) },
    { what: what('nodemon'), ours: text(ours), peer: text(watched) },
  ]
}
