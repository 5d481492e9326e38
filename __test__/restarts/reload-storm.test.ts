// @module-tag storm
/**
 * Reloads of all kinds under clients that never pause. With WARMSWAP_LONG=1: 200 reloads, 64 clients of each kind, and
 * every kind of worker.
 */

import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { expect } from 'vitest'
import { type Coordinator, type ProcessHandle, startProcess, startWorkerThread } from 'warmswap'
import type { Start } from '../support/coordinators.js'
import { repository } from '../support/paths.js'
import { test } from '../support/served.js'
import { begunTwice, Edits, fetchApp, type LoadReport, listeningApp, startLoad } from '../support/storms.js'

const isLong = process.env.WARMSWAP_LONG === '1'
const reloads = isLong ? 200 : 10
const kills = isLong ? 100 : 3
const count = isLong ? 64 : 16
/** Enough for what a stopped worker had, on a loaded machine. */
const DRAIN_MS = isLong ? 5_000 : 2_000

const worker = pathToFileURL(join(repository, 'dist/worker.js')).href
const fetching = (version: number, log: string): string =>
  fetchApp({
    version,
    log,
    before: `import { serveFetch } from ${JSON.stringify(worker)}`,
    register: 'serveFetch(handler)',
  })
const listening = (version: number, log: string): string => listeningApp({ version, log })

interface Kind {
  name: string
  program: string
  text: (version: number, log: string) => string
  start: Start
  sockets: number
}

/** The process that serves. */
let serving: ProcessHandle | undefined
const processes: Kind[] = [
  {
    name: 'processes that listen',
    program: 'server.mjs',
    text: listening,
    start: async (context) => (serving = await startProcess(context, 'server.mjs', { listen: true })),
    sockets: count,
  },
  {
    name: 'processes with serveFetch()',
    program: 'worker.mjs',
    text: fetching,
    start: async (context) => (serving = await startProcess(context, 'worker.mjs')),
    sockets: 0,
  },
]
const threads: Kind[] = [
  {
    name: 'threads with serveFetch()',
    program: 'worker.mjs',
    text: fetching,
    start: (context) => startWorkerThread(context, 'worker.mjs'),
    sockets: 0,
  },
  {
    name: 'threads that listen',
    program: 'server.mjs',
    text: listening,
    start: (context) => startWorkerThread(context, 'server.mjs', { listen: true }),
    sockets: count,
  },
]
/** Without WARMSWAP_LONG only the first. */
const some = (kinds: Kind[]): Kind[] => (isLong ? kinds : kinds.slice(0, 1))

/** Runs `reload` under a load. */
async function storm(
  { program, text, sockets }: Kind,
  log: string,
  coordinator: Coordinator<unknown, unknown>,
  url: URL,
  rounds: number,
  reload: (edits: Edits, round: number) => Promise<void>,
): Promise<{ report: LoadReport; edits: Edits }> {
  writeFileSync(log, '')
  const edits = new Edits(coordinator, program, (version) => text(version, log))
  await edits.edit()
  await using load = await startLoad(url, { requests: count, streams: count, sockets })
  edits.load = load
  for (let round = 0; round < rounds; round += 1) await reload(edits, round)
  // Each worker but the last has ended by its drain.
  await expect.poll(() => coordinator.status().state, { timeout: 60_000 }).toBe('ready')
  return { report: await load.end(), edits }
}

test.for([...some(processes), ...some(threads)])(
  'restarts/no-connection-lost-by-a-reload: $name: edits, SIGSTOP, failing builds and boots',
  { timeout: 600_000 },
  async (kind, { open, serve, memory }) => {
    serving = undefined
    const coordinator = open(kind.start, { drain: DRAIN_MS })
    const url = await serve((server) => coordinator.attach(server))
    const log = join(memory, 'log')
    const { report, edits } = await storm(kind, log, coordinator, url, reloads, async (edits, round) => {
      if (round % 5 === 3) return await edits.failToBuild()
      if (round % 5 === 4) return await edits.failToBoot()
      const old = round % 5 === 1 ? serving : undefined
      old?.process.kill('SIGSTOP')
      await edits.edit()
      old?.process.kill('SIGCONT')
    })
    print(`${kind.name}, ${reloads} reloads`, report)
    const { short, streams, sockets } = report
    expect({ short: short.examples, streams: streams.examples, sockets: sockets.examples }).toEqual({
      short: [],
      streams: [],
      sockets: [],
    })
    expect([short.answered, short.old, begunTwice(log)]).toEqual([short.sent, 0, []])
    // A stream that was cut, and a socket that was closed, had all the time that the drain gives. A timer of Node can be
    // 1 ms early.
    const leastUs = (DRAIN_MS - 1) * 1_000
    const early = [...streams.cuts, ...sockets.closes].filter(
      ({ version, at }) => at < (edits.replacedAt.get(version) ?? Infinity) + leastUs,
    )
    expect(early).toEqual([])
    expect(sockets.closes.filter(({ code }) => code !== 1012)).toEqual([])
    expect(streams.cuts.length).toBeGreaterThan(0)
  },
)

test.for(some(processes))(
  'restarts/no-connection-lost-by-a-reload: $name, which are killed: one 502 for what had begun',
  { timeout: 600_000 },
  async (kind, { open, serve, memory }) => {
    const coordinator = open(kind.start, { drain: DRAIN_MS })
    const url = await serve((server) => coordinator.attach(server, { replay: 'safe' }))
    const log = join(memory, 'log')
    const { report } = await storm(kind, log, coordinator, url, 2 * kills, async (edits, round) => {
      if (round % 2 === 1) return await edits.edit()
      const killed = serving as ProcessHandle
      killed.process.kill('SIGKILL')
      await killed.exited
    })
    print(`${kind.name}, ${kills} kills`, report)
    const { short, streams, sockets } = report
    // POSTs that the killed workers had begun.
    const refused = short.examples.filter(
      ({ method, status, code }) => !(method === 'POST' && status === 502 && code === 'ERR_WORKER_EXITED'),
    )
    // The head of an answer can be lost with the rest of it.
    const unopened = streams.examples.filter(({ code }) => code !== 'ECONNRESET')
    expect({ short: refused, streams: unopened, sockets: sockets.examples }).toEqual({
      short: [],
      streams: [],
      sockets: [],
    })
    expect([short.answered + short.failed, begunTwice(log)]).toEqual([short.sent, []])
    expect(sockets.closes.filter(({ code }) => code !== 1012 && code !== 1006)).toEqual([])
  },
)

/** Prints the figures of a long run. */
function print(name: string, { short, streams, sockets }: LoadReport): void {
  if (!isLong) return
  const quantiles = (times: number[]): string => {
    times.sort((one, other) => one - other)
    const at = (share: number): string => `${((times[Math.floor(times.length * share)] ?? 0) / 1000).toFixed(1)} ms`
    return `p50 ${at(0.5)}, p99 ${at(0.99)}, p99.9 ${at(0.999)}`
  }
  console.log(
    `${name}: Short requests: ${short.sent} sent, ${short.answered} answered, ${short.failed} refused with 502. ` +
      `Kept connections: ${quantiles(short.times)}; new ones: ${quantiles(short.timesWithConnect)}. ` +
      `Streams: ${streams.opened} opened, ${streams.whole} whole, ${streams.cuts.length} cut. ` +
      `Sockets: ${sockets.opened} opened, ${sockets.echoed} echoes, ${sockets.closes.length} closed`,
  )
}
