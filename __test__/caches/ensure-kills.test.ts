// @module-tag system
// cache.ensure() and prewarm() over a store in several processes: builders that are killed at swept points and builders that
// are stopped for longer than their lease. One result counts, and every waiter ends.
import { readFileSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect } from 'vitest'
import { type Child, start } from '../support/children.js'
import { startAzurite } from '../support/azurite.js'
import { startFaultServer } from '../support/fault-server.js'
import { gcsProgram, startGcs } from '../support/gcs.js'
import { repository } from '../support/paths.js'
import { motoPrograms, s3sProgram, startMoto, startS3s } from '../support/s3.js'
import { serialize } from '../support/serializing-proxy.js'
import { test } from '../support/temp.js'

const CI = process.env.CI !== undefined
const LONG = process.env.WARMSWAP_LONG === '1'
const program = join(repository, '__test__/programs/caches-ensure.mjs')
const jobProgram = join(repository, '__test__/programs/caches-prewarm.mjs')
/** Rounds at the same time. */
const BATCH = 4

interface Place {
  location: unknown
  stop(): Promise<void>
}

interface KilledStore {
  name: string
  isThere: boolean
  kills: number
  jobs: number
  /** A request may take a sixth of it. */
  ttlMs: number
  start(folder: string): Promise<Place>
}

/** The stores of the long form only. */
const emulators: KilledStore[] = [
  {
    name: 'azurite',
    isThere: true,
    kills: 60,
    jobs: 20,
    ttlMs: 3_000,
    start: async () => placeOf(await startAzurite()),
  },
  {
    name: 'fake-gcs-server',
    isThere: gcsProgram() !== undefined,
    kills: 60,
    jobs: 20,
    ttlMs: 3_000,
    start: async () => placeOf(await startGcs()),
  },
]

/** Each store with the kills of builds and of jobs, in the short and in the long form. */
const stores: KilledStore[] = [
  {
    name: 'a folder',
    isThere: true,
    kills: LONG ? 160 : 6,
    jobs: LONG ? 40 : 2,
    ttlMs: 1_500,
    start: async (folder) => ({ location: { scheme: 'file', path: join(folder, 'store') }, stop: async () => {} }),
  },
  {
    name: 'a bucket',
    isThere: true,
    kills: LONG ? 160 : 4,
    jobs: LONG ? 20 : 0,
    ttlMs: 1_500,
    start: async () => placeOf(await startFaultServer()),
  },
  {
    // It checks a condition and then writes, in several threads: without the proxy, two callers acquired one lease after
    // some 300 kills on a busy machine.
    name: 'moto, its writes one after the other',
    isThere: motoPrograms() !== undefined,
    kills: LONG ? 60 : 4,
    jobs: LONG ? 20 : 2,
    ttlMs: 3_000,
    start: async () => placeOf(await serialize(await startMoto())),
  },
  {
    name: 's3s-fs, its writes one after the other',
    isThere: s3sProgram() !== undefined,
    kills: LONG ? 60 : 4,
    jobs: LONG ? 20 : 0,
    ttlMs: 3_000,
    start: async () => placeOf(await serialize(await startS3s())),
  },
  ...(LONG ? emulators : []),
]

/** The location of a key in a store. */
function keyIn(location: unknown, key: string): unknown {
  const facts = location as { path?: string; prefix?: string }
  return facts.path === undefined
    ? { ...facts, prefix: `${facts.prefix}/${key}` }
    : { ...facts, path: join(facts.path, key) }
}

function placeOf(server: { store(prefix: string): unknown; stop(): Promise<void> }): Place {
  return { location: server.store('fleet'), stop: () => server.stop() }
}

/** Milliseconds after the build began: during it, during the upload, and after the result was published. Each third one is next, so that few kills are spread over all. */
const DELAYS = [0, 10, 40, 60, 80, 100, 130, 170, 220, 400]
const BUILD_MS = 40
/** Callers of one fingerprint. */
const CALLERS = 3

const ensure = (child: Child, fingerprint: string, into: string, ttlMs: number, buildMs = BUILD_MS): void =>
  child.say(JSON.stringify({ key: 'site', fingerprint, into, buildMs, ttlMs }))

/**
 * On a busy machine a server can be too slow for the lease. Such a round proves nothing, and is repeated with a longer
 * one. A lost race (409, 412) is no reason, however slow the server is.
 */
const isTooSlow = (ends: string[]): boolean =>
  ends.some((line) => line.includes('the store cannot be used') && !/ 4(09|12) /.test(line))

/** Ends a round that proves nothing. */
async function giveUp(callers: Child[]): Promise<'too slow'> {
  for (const child of callers) child.signal('SIGKILL')
  await Promise.all(callers.map(({ ended }) => ended))
  return 'too slow'
}

/** Runs the rounds, some at the same time. */
async function runRounds(
  count: number,
  ttlMs: number,
  one: (index: number, name: string, ttlMs: number) => Promise<'passed' | 'too slow'>,
): Promise<void> {
  const until = async (index: number): Promise<void> => {
    for (const factor of [1, 2, 4, 8])
      if ((await one(index, `round-${index}-${factor}`, ttlMs * factor)) === 'passed') return
    throw new Error(`the store needs longer than ${(ttlMs * 8) / 6} ms for a request`)
  }
  for (let first = 0; first < count; first += BATCH) {
    const indexes = Array.from({ length: Math.min(BATCH, count - first) }, (_, at) => first + at)
    await Promise.all(indexes.map(until))
  }
}

async function startCallers(count: number, args: string[]): Promise<Child[]> {
  const children = Array.from({ length: count }, () => start(process.execPath, args))
  await Promise.all(children.map((child) => child.line(/^ready$/)))
  return children
}

const linesOf = (child: Child, fingerprint: string, event: string): number =>
  child.lines.filter((line) => line.startsWith(`${fingerprint} ${event}`)).length

/** One fingerprint: all callers start, the builder is killed, and the others end with one result. */
async function round(
  location: unknown,
  folder: string,
  index: number,
  fingerprint: string,
  ttlMs: number,
): Promise<'passed' | 'too slow'> {
  const callers = await startCallers(CALLERS, [program, JSON.stringify(location)])
  const into = (at: number): string => join(folder, `${fingerprint}-${at}`)
  for (const [at, child] of callers.entries()) ensure(child, fingerprint, into(at), ttlMs)
  const victim = await Promise.race(
    callers.map(async (child) => {
      await child.line(/ building$/)
      return child
    }),
  )
  await new Promise((resolve) => setTimeout(resolve, DELAYS[(3 * index) % DELAYS.length]))
  victim.signal('SIGKILL')
  await victim.ended
  const rest = callers.filter((child) => child !== victim)
  const ends = await Promise.all(rest.map((child) => child.line(/ (end|failed) /)))
  if (isTooSlow(ends)) return await giveUp(rest)
  const history = (): string => callers.map((child) => child.lines.join('\n')).join('\n---\n')
  const generations = new Set(ends.map((line) => line.split(' ')[3]))
  const builds = callers.reduce((sum, child) => sum + linesOf(child, fingerprint, 'building'), 0)
  const roles = ends.map((line) => line.split(' ')[2]).sort()
  expect(generations.size, history()).toBe(1)
  expect(['built restored', 'restored restored'], history()).toContain(roles.join(' '))
  // On a busy machine a builder can lose its lease: its build does not count.
  const aborted = callers.reduce((sum, child) => sum + linesOf(child, fingerprint, 'aborted'), 0)
  expect(builds, history()).toBeLessThanOrEqual(2 + aborted)
  for (const [at, child] of callers.entries()) {
    if (child === victim) continue
    expect(readdirSync(into(at)).filter((name) => name.startsWith('file-'))).toHaveLength(10)
  }
  for (const child of rest) child.signal('SIGKILL')
  await Promise.all(rest.map(({ ended }) => ended))
  return 'passed'
}

/** One job: all callers start, the one that runs it is killed, and the others end with one result. */
async function jobRound(
  location: unknown,
  folder: string,
  index: number,
  name: string,
  ttlMs: number,
): Promise<'passed' | 'too slow'> {
  const callers = await startCallers(CALLERS, [jobProgram])
  const store = keyIn(location, `job-${name}`)
  const made = join(folder, `made-${name}`)
  for (const child of callers) child.say(JSON.stringify({ store, made, runMs: BUILD_MS, ttlMs }))
  const isRunning = ({ lines }: Child): boolean => lines.some((line) => line.startsWith('running '))
  const hasFailed = ({ lines }: Child): boolean => lines.some((line) => line.startsWith('failed '))
  const has = { timeout: 120_000, interval: 2 }
  await expect.poll(() => callers.some((child) => isRunning(child) || hasFailed(child)), has).toBe(true)
  const victim = callers.find(isRunning)
  if (victim === undefined) return await giveUp(callers)
  await new Promise((resolve) => setTimeout(resolve, DELAYS[(3 * index) % DELAYS.length]))
  victim.signal('SIGKILL')
  await victim.ended
  const rest = callers.filter((child) => child !== victim)
  const ends = await Promise.all(rest.map((child) => child.line(/^(end|failed) /)))
  if (isTooSlow(ends)) return await giveUp(rest)
  const history = callers.map((child) => child.lines.join('\n')).join('\n---\n')
  const runs = callers.flatMap(({ lines }) => lines.filter((line) => line.startsWith('running ')))
  const aborted = callers.flatMap(({ lines }) => lines.filter((line) => line === 'aborted'))
  expect(
    ends.map((line) => line.split(' ')[2]),
    history,
  ).toEqual(ends.map(() => readFileSync(made, 'utf8')))
  expect(['ran reused', 'reused reused'], history).toContain(
    ends
      .map((line) => line.split(' ')[1])
      .sort()
      .join(' '),
  )
  expect(runs.length, history).toBeLessThanOrEqual(2 + aborted.length)
  // No two runs have the same fencing token.
  expect(new Set(runs).size, history).toBe(runs.length)
  for (const child of rest) child.signal('SIGKILL')
  await Promise.all(rest.map(({ ended }) => ended))
  return 'passed'
}

for (const { name, isThere, kills, jobs, ttlMs, start: startStore } of stores) {
  describe.skipIf(!isThere && !CI)(name, () => {
    let place: Place
    let folder: string
    beforeAll(async () => {
      folder = (await import('../support/temp.js')).makeTemp('/dev/shm')
      place = await startStore(folder)
    })
    afterAll(async () => {
      await place.stop()
      ;(await import('../support/temp.js')).removeTemp(folder)
    })

    test(`fleet/killed-builders: one result counts, whenever the builder is killed (${kills} kills)`, {
      timeout: LONG ? 900_000 : 60_000,
    }, async () => {
      await runRounds(kills, ttlMs, (...facts) => round(place.location, folder, ...facts))
    })

    test.skipIf(jobs === 0)(
      `fleet/killed-builders: one run counts, whenever its process is killed (${jobs} kills)`,
      {
        timeout: LONG ? 300_000 : 60_000,
      },
      async () => {
        await runRounds(jobs, ttlMs, (...facts) => jobRound(place.location, folder, ...facts))
      },
    )

    // The protocol is the same over each server: one folder and one server are enough for the short form.
    test.skipIf(!LONG && ttlMs > 1_500)(
      'fleet/build-stops-in-time: a builder that was stopped for longer than its lease publishes nothing',
      async ({ memory }) => {
        const [stopped, other] = (await startCallers(2, [program, JSON.stringify(place.location)])) as [Child, Child]
        ensure(stopped, 'stopped', join(memory, 'stopped'), ttlMs, 60_000)
        await stopped.line(/ building$/)
        ensure(other, 'stopped', join(memory, 'other'), ttlMs)
        await other.line(/ waiting /)
        stopped.signal('SIGSTOP')
        const built = await other.line(/ end built /)
        stopped.signal('SIGCONT')
        await stopped.line(/ aborted$/)
        const restored = await stopped.line(/ end /)
        expect(restored.split(' ').slice(1, 4)).toEqual(['end', 'restored', built.split(' ')[3]])
        expect(readFileSync(join(memory, 'stopped/builder'), 'utf8')).toBe(String(other.pid))
      },
    )
  })
}
