// @module-tag system
// cache.ensure() in several processes: builders that are killed at swept points and builders that are stopped for longer
// than their lease. One result counts, and every waiter ends.
import { readFileSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect } from 'vitest'
import { type Child, start } from '../support/children.js'
import { startFaultServer } from '../support/fault-server.js'
import { repository } from '../support/paths.js'
import { motoPrograms, s3sProgram, startMoto, startS3s } from '../support/s3.js'
import { serialize } from '../support/serializing-proxy.js'
import { test } from '../support/temp.js'

const CI = process.env.CI !== undefined
const LONG = process.env.WARMSWAP_LONG === '1'
const program = join(repository, '__test__/programs/caches-ensure.mjs')
const TTL_MS = 1_500

interface Place {
  location: unknown
  stop(): Promise<void>
}

/** Each store with the kills of the short form and those of the long form. */
const stores: { name: string; isThere: boolean; kills: number; start(folder: string): Promise<Place> }[] = [
  {
    name: 'a folder',
    isThere: true,
    kills: LONG ? 200 : 10,
    start: async (folder) => ({ location: { scheme: 'file', path: join(folder, 'store') }, stop: async () => {} }),
  },
  { name: 'a bucket', isThere: true, kills: LONG ? 200 : 10, start: async () => placeOf(await startFaultServer()) },
  {
    name: 'moto',
    isThere: motoPrograms() !== undefined,
    kills: LONG ? 60 : 0,
    start: async () => placeOf(await startMoto()),
  },
  {
    name: 's3s-fs, its writes one after the other',
    isThere: s3sProgram() !== undefined,
    kills: LONG ? 60 : 0,
    start: async () => placeOf(await serialize(await startS3s())),
  },
]

function placeOf(server: { store(prefix: string): unknown; stop(): Promise<void> }): Place {
  return { location: server.store('fleet'), stop: () => server.stop() }
}

/** Milliseconds after the build began: during it, during the upload, and after the result was published. */
const DELAYS = [0, 10, 40, 60, 80, 100, 130, 170, 220, 400]
const BUILD_MS = 40
/** Callers of one fingerprint. */
const CALLERS = 3

const ensure = (child: Child, fingerprint: string, into: string, buildMs = BUILD_MS): void =>
  child.say(JSON.stringify({ key: 'site', fingerprint, into, buildMs, ttlMs: TTL_MS }))

async function startCallers(location: unknown, count: number): Promise<Child[]> {
  const children = Array.from({ length: count }, () => start(process.execPath, [program, JSON.stringify(location)]))
  await Promise.all(children.map((child) => child.line(/^ready$/)))
  return children
}

const linesOf = (child: Child, fingerprint: string, event: string): number =>
  child.lines.filter((line) => line.startsWith(`${fingerprint} ${event}`)).length

/** One fingerprint: all callers start, the builder is killed, and the others end with one result. Resolves with what to say if it is wrong. */
async function round(location: unknown, folder: string, index: number): Promise<void> {
  const fingerprint = `round-${index}`
  const callers = await startCallers(location, CALLERS)
  const into = (at: number): string => join(folder, `${fingerprint}-${at}`)
  for (const [at, child] of callers.entries()) ensure(child, fingerprint, into(at))
  const victim = await Promise.race(
    callers.map(async (child) => {
      await child.line(/ building$/)
      return child
    }),
  )
  await new Promise((resolve) => setTimeout(resolve, DELAYS[index % DELAYS.length]))
  victim.signal('SIGKILL')
  await victim.ended
  const rest = callers.filter((child) => child !== victim)
  const ends = await Promise.all(rest.map((child) => child.line(/ (end|failed) /)))
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
}

for (const { name, isThere, kills, start: startStore } of stores) {
  if (kills === 0) continue
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
      for (let index = 0; index < kills; index += 2)
        await Promise.all([round(place.location, folder, index), round(place.location, folder, index + 1)])
    })

    test('fleet/build-stops-in-time: a builder that was stopped for longer than its lease publishes nothing', async ({
      memory,
    }) => {
      const [stopped, other] = (await startCallers(place.location, 2)) as [Child, Child]
      ensure(stopped, 'stopped', join(memory, 'stopped'), 60_000)
      await stopped.line(/ building$/)
      ensure(other, 'stopped', join(memory, 'other'))
      await other.line(/ waiting /)
      stopped.signal('SIGSTOP')
      const built = await other.line(/ end built /)
      stopped.signal('SIGCONT')
      await stopped.line(/ aborted$/)
      const restored = await stopped.line(/ end /)
      expect(restored.split(' ').slice(1, 4)).toEqual(['end', 'restored', built.split(' ')[3]])
      expect(readFileSync(join(memory, 'stopped/builder'), 'utf8')).toBe(String(other.pid))
    })
  })
}
