// What the race kit measures, compared with today's harnesses: they poll every 500 ms, take that moment as zero, and
// send all delays at the same time.
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { type Instance, type Port, test } from 'warmswap/vitest'
import { median, quantile } from '../lib/measure.js'

const server = join(import.meta.dirname, '../../__test__/programs/race-server.mjs')
/** Time that the server needs after it listens: the edge to find. */
const UNREADY_MS = 150
const RESTARTS = 30
const SWEEP_MS = 30_000
const clock = (): number => Number(process.hrtime.bigint()) / 1e6

test('figures', { timeout: 170_000 }, async ({ race }) => {
  const port = await race.port()
  const url = `http://127.0.0.1:${port.number}`
  const instance = await race.start({
    command: [process.execPath, server],
    env: { UNREADY_MS: String(UNREADY_MS) },
    port,
    ready: { http: `${url}/health`, nonce: true },
  })

  const late: { ours: number[]; peer: number[] } = { ours: [], peer: [] }
  const peerEdges: number[] = []
  for (let round = 0; round < RESTARTS; round += 1) {
    await instance.stop()
    // Restarts are not synchronised with polls: these begin at random within the polling period.
    const polled = new Promise((resolve) => setTimeout(resolve, Math.random() * 500)).then(() => pollEvery500(port))
    const { before } = await instance.restart()
    const peerZero = await polled
    late.ours.push(before - listenedAt(instance))
    late.peer.push(peerZero - listenedAt(instance))
    peerEdges.push(await allAtOnce(url))
  }

  const started = clock()
  const report = await race.sweep({
    delays: [0, 75, 150, 300],
    repeats: 3,
    edgeMs: 1,
    budgetMs: SWEEP_MS,
    target: async () => url,
    restart: () => instance.restart('kill'),
    probes: [
      {
        name: 'read',
        sideEffects: 'none',
        timeoutMs: 2000,
        run: async (target, signal) => ({ value: await fetch(`${target}/data`, { signal }) }),
      },
    ],
  })
  const minutes = (clock() - started) / 60_000
  const { lastFailMs, firstOkMs } = report.edge.read as { lastFailMs: number; firstOkMs: number }
  const figures = {
    late: { ours: summary(late.ours), peer: summary(late.peer) },
    edge: {
      width: firstOkMs - lastFailMs,
      minutes,
      error: Math.abs((firstOkMs + lastFailMs) / 2 - UNREADY_MS),
      peerError: median(peerEdges.map((edge) => Math.abs(edge - UNREADY_MS))),
    },
  }
  writeFileSync(process.env.FIGURES as string, JSON.stringify(figures))
})

const summary = (values: number[]): { median: number; p90: number; most: number } => ({
  median: median(values),
  p90: quantile(values, 0.9),
  most: Math.max(...values),
})

/** When the server itself began to listen, by its own clock. */
function listenedAt({ output }: Instance): number {
  return Number([...output.stdout.matchAll(/"at":([\d.]+)/g)].at(-1)?.[1])
}

async function pollEvery500({ number }: Port): Promise<number> {
  for (;;) {
    const found = await fetch(`http://127.0.0.1:${number}/health`).then(
      ({ ok }) => ok,
      () => false,
    )
    if (found) return clock()
    await new Promise((resolve) => setTimeout(resolve, 500))
  }
}

/** All delays of one restart in parallel, once each, counted from the poll. Returns the edge that this method finds. */
async function allAtOnce(url: string): Promise<number> {
  const delays = Array.from({ length: 13 }, (_, step) => step * 25)
  const ok = await Promise.all(
    delays.map(async (delay) => {
      await new Promise((resolve) => setTimeout(resolve, delay))
      return await fetch(`${url}/data`).then(
        ({ status }) => status === 200,
        () => false,
      )
    }),
  )
  const lastFail = ok.lastIndexOf(false)
  return lastFail < 0 ? 0 : (delays[lastFail] as number) + 12.5
}
