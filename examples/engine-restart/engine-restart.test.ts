// A restart of the engine, followed by requests to existing and to new actors. Run it with
// npx vitest run --root examples/engine-restart
import { existsSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect } from 'vitest'
import { type Instance, type Probe, type Race, test } from 'warmswap/vitest'
import WebSocket from 'ws'

const here = dirname(fileURLToPath(import.meta.url))
const [major = 0, minor = 0] = process.versions.node.split('.').map(Number)
const packaged = join(here, '../../node_modules/node22-linux-x64/bin/node')
/** node:sqlite needs no flag from 22.13 on. The npm package provides such a Node if this one is older. */
const nodeWithSqlite = major > 22 || (major === 22 && minor >= 13) ? process.execPath : packaged
const withSqlite = test.skipIf(!existsSync(nodeWithSqlite))
if (!existsSync(nodeWithSqlite))
  console.warn(
    `skipped: node:sqlite needs Node 22.13, this is ${process.versions.node}, and the npm package node22-linux-x64 is not installed`,
  )

interface System {
  engine: Instance
  engineUrl: string
  gatewayUrl: string
}

async function startSystem(
  race: Race,
  database: string,
  routeBy: 'connection' | 'runner',
  beforeCommit = '',
): Promise<System> {
  const [enginePort, gatewayPort] = [await race.port(), await race.port()]
  const [engineUrl, gatewayUrl] = [`http://127.0.0.1:${enginePort.number}`, `http://127.0.0.1:${gatewayPort.number}`]
  const engine = await race.start({
    command: [nodeWithSqlite, '--no-warnings', join(here, 'engine.mjs')],
    env: { DATABASE: database, ROUTE_BY: routeBy },
    port: enginePort,
    ready: { http: `${engineUrl}/health`, nonce: true },
  })
  for (const name of ['one', 'two']) {
    await race.start({
      command: [process.execPath, join(here, 'runner.mjs')],
      env: { ENGINE: engineUrl, NAME: name, BEFORE_COMMIT: beforeCommit },
      ready: { line: /CONNECTED/ },
    })
  }
  await race.start({
    command: [process.execPath, join(here, 'gateway.mjs')],
    env: { ENGINE: engineUrl },
    port: gatewayPort,
    ready: { http: `${gatewayUrl}/health` },
  })
  return { engine, engineUrl, gatewayUrl }
}

interface Reply {
  status: number
  nonce: string
  value: unknown
}

async function ask(url: string, signal: AbortSignal = AbortSignal.timeout(5000)): Promise<Reply> {
  const response = await fetch(url, { signal })
  return { ...((await response.json()) as Reply), status: response.status }
}

async function pingPong(url: string, signal: AbortSignal): Promise<Reply> {
  const socket = new WebSocket(url.replace('http', 'ws'))
  signal.addEventListener('abort', () => socket.terminate(), { once: true })
  return await new Promise((resolve, reject) => {
    socket.on('open', () => socket.send('ping'))
    socket.on('message', (text) => {
      resolve({ ...(JSON.parse(String(text)) as Reply), status: 200 })
      socket.close()
    })
    socket.on('error', reject)
    socket.on('close', () => reject(Object.assign(new Error('closed before pong'), { code: 'ECONNRESET' })))
  })
}

/** The actor of a sample, placed and answering before the restart. */
interface Target {
  url: string
}

let actors = 0
const newActor = (gatewayUrl: string): Target => ({ url: `${gatewayUrl}/actors/${process.pid}-${++actors}` })

async function warmActor(gatewayUrl: string): Promise<Target> {
  const target = newActor(gatewayUrl)
  const { status } = await ask(`${target.url}/read`)
  if (status !== 200) throw new Error(`${target.url} answered ${status}`)
  return target
}

const TIMEOUT_MS = 250
const reply = (answer: Reply): { nonce: string; value: Reply } => ({ nonce: answer.nonce, value: answer })

function probesOf(gatewayUrl: string): Probe<Target>[] {
  const probe = (
    name: string,
    sideEffects: Probe<Target>['sideEffects'],
    run: (target: Target, signal: AbortSignal) => Promise<Reply>,
  ): Probe<Target> => ({
    name,
    sideEffects,
    timeoutMs: TIMEOUT_MS,
    run: async (target, signal) => reply(await run(target, signal)),
  })
  return [
    probe('old key, HTTP', 'none', ({ url }, signal) => ask(`${url}/read`, signal)),
    probe('old key, WebSocket', 'none', ({ url }, signal) => pingPong(url, signal)),
    probe('old key, action', 'write', ({ url }, signal) =>
      ask(`${url}/increment?request=${crypto.randomUUID()}`, signal),
    ),
    probe('new key, HTTP', 'write', (_, signal) => ask(`${newActor(gatewayUrl).url}/read`, signal)),
  ]
}

withSqlite(
  'routing by connection: old keys hang after a restart while new keys and heartbeats work',
  { timeout: 180_000 },
  async ({ race, tempRoot }) => {
    const { engine, engineUrl, gatewayUrl } = await startSystem(race, `${tempRoot}/engine.db`, 'connection')
    const heartbeats = ['sqlite', 'kv'].map((kind) =>
      race.heartbeat({ every: 20, beat: async (signal) => void (await ask(`${engineUrl}/${kind}`, signal)) }),
    )
    const probes = probesOf(gatewayUrl)
    const report = await race.sweep({
      delays: [0, 300, 900],
      repeats: 2,
      edgeMs: 80,
      target: () => warmActor(gatewayUrl),
      restart: () => engine.restart('kill'),
      probes,
      control: { ...(probes[0] as Probe<Target>), name: 'old key, no restart' },
    })
    console.log(String(report))
    for (const key of ['old key, HTTP', 'old key, WebSocket', 'old key, action']) {
      const { lastFailMs, firstOkMs } = report.edge[key] as { lastFailMs: number; firstOkMs: number }
      // The stale route is swept 600 ms after the runner is back, and a request waits for 250 ms of them.
      expect(lastFailMs).toBeGreaterThan(100)
      expect(firstOkMs).toBeLessThanOrEqual(900)
      expect(firstOkMs - lastFailMs).toBeLessThanOrEqual(80)
      expect(
        Object.keys(report.points.find(({ probe, delayMs }) => probe === key && delayMs === 0)?.outcomes ?? {}),
      ).toEqual(['hang'])
    }
    expect(report).toSettleWithin(0, { probe: 'new key, HTTP' })
    expect(() => expect(report).toSettleWithin(100)).toThrow(/hang/)
    for (const heartbeat of heartbeats) heartbeat.stop()
    const gap = Math.max(...heartbeats.flatMap(({ gaps }) => gaps.map(({ from, to }) => to - from)))
    console.log(
      `longest gap of the heartbeats over all restarts: ${gap.toFixed(0)} ms; they say nothing about old keys`,
    )
  },
)

withSqlite('routing by runner: the same restarts, no failure', { timeout: 180_000 }, async ({ race, tempRoot }) => {
  const { engine, gatewayUrl } = await startSystem(race, `${tempRoot}/engine.db`, 'runner')
  const report = await race.sweep({
    delays: [0, 100],
    repeats: 4,
    target: () => warmActor(gatewayUrl),
    restart: () => engine.restart('kill'),
    // A loaded machine must not be mistaken for the bug, which takes 600 ms or more.
    probes: probesOf(gatewayUrl).map((probe) => ({ ...probe, timeoutMs: 2000 })),
  })
  console.log(String(report))
  expect(report).toSettleWithin(0, { confidence: 0.8 })
})

withSqlite(
  'a commit that is held while the engine restarts happens once',
  { timeout: 60_000 },
  async ({ race, tempRoot }) => {
    const beforeCommit = await race.rendezvous('before-commit')
    const { engine, gatewayUrl } = await startSystem(race, `${tempRoot}/engine.db`, 'runner', beforeCommit.url)
    const { url } = await warmActor(gatewayUrl)
    const history = race.history<string, number>()
    const id = history.ask('increment')

    const reached = beforeCommit.reached()
    const cut = ask(`${url}/increment?request=r1`)
    const held = await reached
    await engine.restart('kill')
    expect((await cut).status, 'the request itself dies with the engine').toBe(502)
    held.release()

    // The client repeats it with the same number. The runner has committed the first one by then, or will.
    const again = beforeCommit.reached()
    const retry = ask(`${url}/increment?request=r1`)
    ;(await again).release()
    const { value } = await retry
    history.answer(id, value as number, {})
    expect(history).toAnswerEachOnce()
    expect(value).toBe(1)
    expect((await ask(`${url}/read`)).value).toBe(1)
    await expect(race).toLeakNothing()
  },
)
