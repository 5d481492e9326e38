// @module-tag system
// The kit on mistakes that were put there: each is found every time it can show, and none in a server without them.
// guarantee: restarts/race-ports-are-reserved, restarts/race-finds-the-edge

import { createServer } from 'node:net'
import { once } from 'node:events'
import { join } from 'node:path'
import { expect } from 'vitest'
import { type Instance, type Port, type Race, test } from 'warmswap/vitest'
import { repository } from '../support/paths.js'
import { startServer } from '../support/race-server.js'

const program = join(repository, '__test__/programs/toy-dev-server.mjs')
/** Rounds with one bug, and rounds with the server without it. */
const [ROUNDS, CLEAN_ROUNDS] = process.env.WARMSWAP_LONG === '1' ? [100, 1000] : [20, 100]

/** Unanswered for so long, a request is not served: a loaded machine takes a tenth of it. */
const SILENCE_MS = 500

interface Toy {
  race: Race
  server: Instance
  get(path: string, change?: number): Promise<{ change: number; incarnation: number; waiting: number; queued: number }>
  /** A number greater than any before. */
  nextChange(): number
}

async function startToy(race: Race, bug = ''): Promise<Toy> {
  const port: Port = await race.port()
  const url = `http://127.0.0.1:${port.number}`
  const server = await race.start({
    command: [process.execPath, program],
    env: { BUG: bug },
    port,
    ready: { http: `${url}/health`, nonce: true },
  })
  let change = 0
  return {
    race,
    server,
    get: async (path, wanted = 0) =>
      (await fetch(`${url}${path}?change=${wanted}`, { signal: AbortSignal.timeout(10_000) })).json() as never,
    nextChange: () => ++change,
  }
}

/** How often each point has been passed by the checks before; they count for themselves. */
class Hits {
  readonly #counts = new Map<string, number>()
  next(name: string): number {
    const hit = (this.#counts.get(name) ?? 0) + 1
    this.#counts.set(name, hit)
    return hit
  }
}

type Check = (toy: Toy, hits: Hits) => Promise<boolean>

/** Asked for a change that came after the running build began: does the answer contain it? */
const joinInFlight: Check = async ({ race, get, nextChange }, hits) => {
  const held = race.at('build-started', hits.next('build-started')).hold()
  const early = nextChange()
  await get('/change', early)
  const first = get('/ensure', early)
  const point = await held
  const late = nextChange()
  await get('/change', late)
  const second = get('/ensure', late)
  // Both callers must be in the server before the build goes on.
  await expect.poll(async () => (await get('/published')).waiting, { interval: 1 }).toBe(2)
  point.release()
  const { change } = await second
  await first
  if (change >= late) {
    hits.next('build-started')
    hits.next('build-done')
  }
  hits.next('build-done')
  return change < late
}

/** Two builds, the older one ends last: does what is published go back in time? */
const fenceAtEnd: Check = async ({ race, get, nextChange }, hits) => {
  const history = race.history<string, number>()
  const read = async (): Promise<void> => {
    const id = history.ask('published')
    const { change } = await get('/published')
    history.answer(id, change, { generation: change })
  }
  await get('/change', nextChange())
  const held = race.at('build-done', hits.next('build-done')).hold()
  hits.next('build-started')
  const older = get('/build')
  const point = await held
  await get('/change', nextChange())
  hits.next('build-started')
  hits.next('build-done')
  await get('/build')
  await read()
  point.release()
  await older
  await read()
  return history.check().backwards.length > 0
}

/** A request that waits while the worker is replaced: is it answered, and once? */
const queueOnWorker: Check = async ({ race, get, nextChange }, hits) => {
  const history = race.history<number, number>()
  const held = race.at('reboot', hits.next('reboot')).hold()
  hits.next('build-started')
  hits.next('build-done')
  const reboot = get('/reboot', nextChange())
  const point = await held
  const ids = [1, 2, 3].map((each) => history.ask(each))
  const answers = ids.map(async (id) => {
    const { incarnation } = await get('/request')
    history.answer(id, incarnation, { incarnation })
  })
  await expect.poll(async () => (await get('/published')).queued, { interval: 1 }).toBe(3)
  point.release()
  const { incarnation } = await reboot
  // One more, sent last: when it is answered, every earlier request has been answered or never will be.
  const last = history.ask(0)
  history.answer(last, 0, { incarnation: (await get('/request')).incarnation })
  for (const answer of answers) void answer.catch(() => {})
  await Promise.race([Promise.all(answers), get('/request').then(() => get('/request'))])
  expect(incarnation).toBeGreaterThan(1)
  return history.check().lost.length > 0
}

/** Requests while a build is held: does anybody answer them? */
const stopBeforeBuild: Check = async ({ race, get, nextChange }, hits) => {
  const held = race.at('build-started', hits.next('build-started')).hold()
  hits.next('build-done')
  hits.next('reboot')
  const reboot = get('/reboot', nextChange())
  const point = await held
  const beat = race.heartbeat({ every: 10, beat: async () => void (await get('/request')) })
  const served = await Promise.race([
    get('/request').then(() => true),
    new Promise<false>((resolve) => setTimeout(resolve, SILENCE_MS, false)),
  ])
  beat.stop()
  const gap = beat.gaps.some(({ from, to }) => to - from >= SILENCE_MS * 0.8)
  point.release()
  await reboot
  return !served && gap
}

const checks: Record<string, Check> = {
  'join-in-flight': joinInFlight,
  'fence-at-end': fenceAtEnd,
  'queue-on-worker': queueOnWorker,
  'stop-before-build': stopBeforeBuild,
}

for (const [bug, check] of Object.entries(checks)) {
  test(`${bug} is found in each of ${ROUNDS} runs`, { timeout: 120_000 }, async ({ race }) => {
    const toy = await startToy(race, bug)
    const hits = new Hits()
    let found = 0
    for (let round = 0; round < ROUNDS; round += 1) if (await check(toy, hits)) found += 1
    console.log(`${bug}: detection rate ${found} of ${ROUNDS}`)
    expect(found).toBe(ROUNDS)
  })
}

test(`no false alarm in ${CLEAN_ROUNDS} runs of all checks on a server without a bug`, { timeout: 240_000 }, async ({
  race,
}) => {
  const toy = await startToy(race)
  const hits = new Hits()
  const alarms: string[] = []
  for (let round = 0; round < CLEAN_ROUNDS; round += 1) {
    for (const [bug, check] of Object.entries(checks)) if (await check(toy, hits)) alarms.push(`${bug} in run ${round}`)
  }
  console.log(`clean: ${alarms.length} false alarms in ${CLEAN_ROUNDS} runs of ${Object.keys(checks).length} checks`)
  expect(alarms).toEqual([])
})

test(`bind-then-close: the port is lost to another process each time, a reserved one never, in ${ROUNDS} runs`, {
  timeout: 120_000,
}, async ({ race }) => {
  const lost = { 'bind-then-close': 0, reserved: 0 }
  for (let round = 0; round < ROUNDS; round += 1) {
    const closed = createServer().listen(0, '127.0.0.1')
    await once(closed, 'listening')
    const { port: number } = closed.address() as { port: number }
    await new Promise((resolve) => closed.close(resolve))
    const reserved = await race.port()
    // The neighbour is another test that looks for a port; the kernel gives it a free one, and that one of all is free.
    const neighbour = createServer().listen(number, '127.0.0.1')
    await once(neighbour, 'listening')
    const others = await Promise.all([race.port(), race.port()])
    if (!(await canListen(number))) lost['bind-then-close'] += 1
    if (others.some((other) => other.number === reserved.number) || !(await canListen(reserved.number)))
      lost.reserved += 1
    await new Promise((resolve) => neighbour.close(resolve))
  }
  console.log(
    `bind-then-close ports lost: ${lost['bind-then-close']} of ${ROUNDS}; reserved ports lost: ${lost.reserved} of ${ROUNDS}`,
  )
  expect(lost).toEqual({ 'bind-then-close': ROUNDS, reserved: 0 })
})

function canListen(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer()
    server.once('error', () => resolve(false)).listen(port, '127.0.0.1', () => server.close(() => resolve(true)))
  })
}

test('ready as an interval contains the real moment each time; a poll of 500 ms is late by hundreds of milliseconds', {
  timeout: 120_000,
}, async ({ race }) => {
  const { port, server } = await startServer(race)
  const [ours, polled]: [number[], number[]] = [[], []]
  for (let round = 0; round < 12; round += 1) {
    await server.stop()
    const late = pollEvery500(port)
    const interval = await server.restart()
    // The child reports when it began to listen, on the same clock.
    const truth = Number([...server.output.stdout.matchAll(/"at":([\d.]+)/g)].at(-1)?.[1])
    expect(truth).toBeGreaterThanOrEqual(interval.after)
    expect(truth).toBeLessThanOrEqual(interval.before)
    ours.push(interval.before - truth)
    polled.push((await late) - truth)
  }
  const median = (values: number[]): number =>
    values.sort((one, other) => one - other)[Math.floor(values.length / 2)] as number
  console.log(
    `ready seen late, median and most: interval ${median(ours).toFixed(1)} and ${Math.max(...ours).toFixed(1)} ms; 500 ms poll ${median(polled).toFixed(0)} and ${Math.max(...polled).toFixed(0)} ms`,
  )
  expect(median(ours)).toBeLessThan(median(polled) / 3)
})

/** What harnesses do: resolves with the time of the first poll that found it, polls beginning at a random moment. */
async function pollEvery500(port: Port): Promise<number> {
  await new Promise((resolve) => setTimeout(resolve, Math.random() * 500))
  for (;;) {
    const found = await fetch(`http://127.0.0.1:${port.number}/health`).then(
      ({ ok }) => ok,
      () => false,
    )
    if (found) return Number(process.hrtime.bigint()) / 1e6
    await new Promise((resolve) => setTimeout(resolve, 500))
  }
}
