// cache.ensure() and prewarm() over a store, when the caller, its clock, its credentials or its disk are wrong: an outcome
// or a named error, one result that counts, and an unchanged target after every outcome that is not a success.
import { existsSync, mkdirSync, readFileSync, readdirSync, writeFileSync } from 'node:fs'
import type { ServerResponse } from 'node:http'
import { join } from 'node:path'
import { type EnsureOptions, openCache, prewarm } from 'warmswap'
import { afterAll, beforeAll, beforeEach, describe, expect } from 'vitest'
import { type FaultServer, startFaultServer } from '../support/fault-server.js'
import { mountTmpfs } from '../support/mounts.js'
import { test } from '../support/temp.js'
import { digest } from '../support/trees.js'

let server: FaultServer
beforeAll(async () => {
  server = await startFaultServer()
})
afterAll(() => server.stop())
beforeEach(() => {
  server.fault = undefined
  server.intercept = undefined
  server.objects.clear()
})

/** Options of a call whose build writes one file. */
function call(into: string, options: Partial<EnsureOptions> = {}): EnsureOptions {
  const build: EnsureOptions['build'] = ({ dir }) => writeFileSync(join(dir, 'file'), into)
  return { fingerprint: 'f', into, build, ...options }
}

/** A promise and what settles it. */
function signalled(): { promise: Promise<void>; done: () => void } {
  let done = (): void => {}
  const promise = new Promise<void>((resolve) => (done = resolve))
  return { promise, done }
}

/** A folder with a tree in it. */
function makeOld(into: string): string {
  mkdirSync(into, { recursive: true })
  writeFileSync(join(into, 'old'), 'an older tree')
  return into
}

function refuse(response: ServerResponse, code: string): true {
  response
    .writeHead(403, { 'content-type': 'application/xml' })
    .end(`<?xml version="1.0"?><Error><Code>${code}</Code><Message>${code}</Message></Error>`)
  return true
}

const isRecord = (path: string): boolean => path.includes('/.warmswap-ensure/')
const records = (): string[] => [...server.objects.keys()].filter(isRecord)

describe('clocks', () => {
  test('fleet/build-stops-in-time: a dead holder whose clock was wrong by decades is taken over after its lease', async ({
    memory,
  }) => {
    const roles = ['1999-01-01T00:00:00.000Z', '2099-01-01T00:00:00.000Z'].map(async (at, index) => {
      const store = join(memory, `store-${index}`)
      const cache = openCache(`file://${store}`)
      await cache.ensure('site', call(join(memory, `first-${index}`)))
      const folder = join(store, 'site/.warmswap-ensure')
      const record = { v: 1, token: 'ab', seq: 1, ttlMs: 1_000, holder: { host: 'pod', pid: 7 }, state: 'building', at }
      writeFileSync(join(folder, readdirSync(folder)[0] as string), JSON.stringify(record))
      const started = performance.now()
      const { role } = await cache.ensure('site', call(join(memory, `second-${index}`)))
      return [role, performance.now() - started >= 1_250]
    })
    expect(await Promise.all(roles)).toEqual([
      ['built', true],
      ['built', true],
    ])
  })

  test('fleet/alone-has-a-reason: a clock that the store refuses is named', async ({ memory }) => {
    server.intercept = (_, response) => refuse(response, 'RequestTimeTooSkewed')
    const result = await openCache(server.store('p')).ensure('site', call(join(memory, 'into')))
    expect(result).toMatchObject({ role: 'alone', reason: expect.stringMatching(/The clock of this machine differs/) })
    const job = { isReady: () => false as const, run: () => 'never' }
    await expect(prewarm(server.store('p/job'), job)).rejects.toThrow(/The clock of this machine differs/)
  })
})

describe('permissions and credentials', () => {
  test('fleet/one-build: a caller that may only read waits for the builder, and restores its result', async ({
    memory,
  }) => {
    server.intercept = ({ headers, method }, response) =>
      method === 'PUT' && String(headers.authorization).includes('READER') && refuse(response, 'AccessDenied')
    const [building, waiting] = [signalled(), signalled()]
    const first = openCache(server.store('p')).ensure(
      'site',
      call(join(memory, 'first'), {
        async build({ dir }) {
          building.done()
          await waiting.promise
          writeFileSync(join(dir, 'file'), 'built once')
        },
      }),
    )
    await building.promise
    const reader = openCache({ ...server.store('p'), accessKeyId: 'READER' })
    const build = (): never => {
      throw new Error('it may not build')
    }
    const into = join(memory, 'second')
    const onEvent: EnsureOptions['onEvent'] = ({ kind }) => void (kind === 'waiting' && waiting.done())
    expect(await reader.ensure('site', call(into, { build, onEvent }))).toMatchObject({ role: 'restored' })
    expect([(await first).role, readFileSync(join(into, 'file'), 'utf8')]).toEqual(['built', 'built once'])
  })

  test('fleet/build-stops-in-time, fleet/alone-has-a-reason: credentials that expire during a build, and before the upload, leave the caller with a tree of its own', async ({
    memory,
  }) => {
    const expired = new Set<string>()
    server.intercept = ({ headers }, response) =>
      [...expired].some((id) => String(headers.authorization).includes(id)) && refuse(response, 'ExpiredToken')
    const as = (accessKeyId: string) => openCache({ ...server.store(accessKeyId), accessKeyId })
    const ttlMs = 3_000
    const during = async (): Promise<void> => {
      const builds: (string | undefined)[] = []
      const into = makeOld(join(memory, 'during'))
      const build: EnsureOptions['build'] = async ({ dir, signal, alone }) => {
        builds.push(alone)
        if (builds.length === 1) {
          expired.add('DURING')
          await new Promise((resolve) => signal.addEventListener('abort', resolve))
          expect(existsSync(join(into, 'old'))).toBe(true)
          throw signal.reason
        }
        writeFileSync(join(dir, 'file'), 'alone')
      }
      const result = await as('DURING').ensure('site', call(into, { ttlMs, mode: 'replace', build }))
      expect(builds).toEqual([undefined, expect.stringMatching(/ExpiredToken/)])
      expect(result).toMatchObject({ role: 'alone', reason: builds[1] })
      expect(readdirSync(into)).toEqual(['file'])
    }
    const before = async (): Promise<void> => {
      const into = join(memory, 'before')
      const build: EnsureOptions['build'] = ({ dir }) => {
        expired.add('BEFORE')
        writeFileSync(join(dir, 'file'), 'mine')
      }
      const result = await as('BEFORE').ensure('site', call(into, { ttlMs, build }))
      expect(result).toMatchObject({ role: 'alone', reason: expect.stringMatching(/ExpiredToken/) })
      expect(readFileSync(join(into, 'file'), 'utf8')).toBe('mine')
    }
    await Promise.all([during(), before()])
    // The records are those of the builders, and no results.
    const states = records().map((path) => JSON.parse(String(server.objects.get(path)?.bytes)).state)
    expect(states).toEqual(['building', 'building'])
  })
})

describe('the store', () => {
  test('fleet/lost-answers: a record that a lifecycle rule deletes during a build costs one more build; one result counts', async ({
    memory,
  }) => {
    const building = signalled()
    let builds = 0
    const build: EnsureOptions['build'] = async ({ dir, signal }) => {
      builds += 1
      writeFileSync(join(dir, 'file'), `build ${builds}`)
      if (builds > 1) return
      building.done()
      await new Promise((resolve) => signal.addEventListener('abort', resolve))
      throw signal.reason
    }
    const onEvent: EnsureOptions['onEvent'] = ({ kind }) => {
      if (kind === 'waiting' && builds === 1) for (const path of records()) server.objects.delete(path)
    }
    const ensure = (name: string) =>
      openCache(server.store('p')).ensure('site', call(join(memory, name), { ttlMs: 3_000, build, onEvent }))
    const first = ensure('first')
    await building.promise
    const results = await Promise.all([first, ensure('second')])
    expect([builds, results.map(({ role }) => role).sort()]).toEqual([2, ['built', 'restored']])
    expect(new Set(results.map(({ generation }) => generation)).size).toBe(1)
    for (const name of ['first', 'second']) expect(readFileSync(join(memory, name, 'file'), 'utf8')).toBe('build 2')
  })
})

const isRoot = process.getuid?.() === 0
describe.skipIf(!isRoot)('the disk', () => {
  const large = ({ dir }: { dir: string }): void => writeFileSync(join(dir, 'file'), Buffer.alloc(4 << 20, 'x'))

  test('fleet/target-is-unchanged: a build, and a restore, that fill the disk fail with its error and leave no stage', async ({
    memory,
  }) => {
    await using mounted = mountTmpfs('2m')
    const into = makeOld(join(mounted.path, 'into'))
    const before = digest(into)
    const cache = openCache(server.store('p'))
    const full = call(into, { build: large, mode: 'replace' })
    await expect(cache.ensure('site', full)).rejects.toMatchObject({ code: 'ENOSPC' })
    expect(digest(into)).toEqual(before)
    await expect.poll(() => readdirSync(mounted.path)).toEqual(['into'])
    // The lease was given up: a caller with more space does not wait for it.
    expect(await cache.ensure('site', call(join(memory, 'into'), { build: large }))).toMatchObject({ role: 'built' })
    await expect(cache.ensure('site', full)).rejects.toMatchObject({ outcome: 'no-space' })
    expect(digest(into)).toEqual(before)
    await expect.poll(() => readdirSync(mounted.path)).toEqual(['into'])
    await cache.close()
  })
})
