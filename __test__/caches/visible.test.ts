// @module-tag system
// The moment an object becomes visible: not after the call has settled, and nothing else of a write is left.
import { mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { openCache } from 'warmswap'
import { describe, expect } from 'vitest'
import { type Instance, type Interval, test as raceTest } from 'warmswap/vitest'
import { now } from '../../src/js/race-kit/clock.js'
import { type FaultServer, startFaultServer } from '../support/fault-server.js'
import { SWEEP_MS, sweepKills } from '../support/kills.js'
import { repository } from '../support/paths.js'
import { test } from '../support/temp.js'
import { noise } from '../support/trees.js'

const program = join(repository, '__test__/programs/caches-store.js')

function makeLarge(tree: string, seed: number): string {
  mkdirSync(tree)
  writeFileSync(join(tree, 'large'), noise(20 << 20, seed))
  return tree
}

/** A key that is one object, and a second upload of it that stops at its second part. */
async function startStalledUpload(
  memory: string,
  options: { deadlineMs: number; signal?: AbortSignal },
): Promise<{ server: FaultServer; before: Buffer; result: Promise<{ outcome: string }> }> {
  const server = await startFaultServer()
  const cache = openCache(server.store('p'))
  expect(await cache.snapshot({ key: 'cache.tar', from: makeLarge(join(memory, 'one'), 1) })).toMatchObject({
    outcome: 'uploaded',
  })
  const before = server.objects.get('p/cache.tar')!.bytes
  server.fault = {
    when: ({ path, query }) => path === 'p/cache.tar' && query.get('partNumber') === '2',
    what: 'stall-after-accept',
  }
  const other = makeLarge(join(memory, 'other'), 2)
  return {
    server,
    before,
    result: cache.snapshot({ key: 'cache.tar', from: other, idleMs: 60_000, minBytesPerSecond: 0, ...options }),
  }
}

const isPart = ({ method, path }: { method: string; path: string }): boolean =>
  method === 'PUT' && path === 'p/cache.tar'

describe('archives/no-late-commit: a key that is one object', () => {
  test('an upload that stalls is a timeout, and its parts never become the object', async ({ memory }) => {
    const { server, before, result } = await startStalledUpload(memory, { deadlineMs: 3000 })
    expect(await result).toMatchObject({ outcome: 'timeout' })
    server.fault = undefined
    await expect.poll(() => server.requests.filter(({ method }) => method === 'DELETE').length).toBeGreaterThan(0)
    expect(server.objects.get('p/cache.tar')!.bytes.equals(before)).toBe(true)
    expect(server.requests.filter(({ method, path }) => method === 'POST' && path === 'p/cache.tar')).toHaveLength(3)
    await server.stop()
  })

  test('an abort ends the upload, not only the promise', async ({ memory }) => {
    const over = new AbortController()
    const { server, before, result } = await startStalledUpload(memory, { deadlineMs: 50_000, signal: over.signal })
    const parts = (): number => server.requests.filter(isPart).length
    const first = parts()
    await expect.poll(parts, { timeout: 20_000 }).toBeGreaterThan(first)
    over.abort()
    expect(await result).toMatchObject({ outcome: 'aborted' })
    expect(server.objects.get('p/cache.tar')!.bytes.equals(before)).toBe(true)
    await server.stop()
  })
})

raceTest(
  'archives/all-or-nothing: a writer that is killed at a swept moment of its write leaves a folder store whole, and its litter goes with the next write',
  { timeout: SWEEP_MS },
  async ({ race, tempRoot }) => {
    const [store, tree, into, other] = ['store', 'tree', 'into', 'other'].map((name) => join(tempRoot, name)) as [
      string,
      string,
      string,
      string,
    ]
    const large = noise(32 << 20)
    for (const folder of [tree, other]) mkdirSync(folder)
    writeFileSync(join(tree, 'large'), large)
    const cache = openCache(`file://${store}`)
    await cache.snapshot({ key: 'cache.tar', from: tree })
    const temporaries = (): string[] => readdirSync(join(store, '.warmswap-tmp'))
    let writer: Instance
    let inTheMiddle = 0
    const write = async (): Promise<Interval> => {
      writer = await race.start({
        command: [process.execPath, program, 'write for ever', `file://${store}`, tree],
        ready: { line: /^writing$/ },
      })
      for (let after = writer.ready.after; ; await new Promise(setImmediate)) {
        const looked = now()
        if (temporaries().length > 0) return { after, before: now() }
        after = looked
      }
    }
    await sweepKills(race, 'a write', write, async () => {
      await writer.kill()
      inTheMiddle += temporaries().length
      expect(await cache.restore({ key: 'cache.tar', into })).toMatchObject({ outcome: 'restored' })
      expect(readFileSync(join(into, 'large')).equals(large)).toBe(true)
      rmSync(into, { recursive: true })
      // What is as it was is not written.
      writeFileSync(join(other, 'after'), `${writer.pid}`)
      expect(await cache.snapshot({ key: 'other.tar', from: other })).toMatchObject({ outcome: 'uploaded' })
      expect(temporaries()).toEqual([])
    })
    console.log(`${inTheMiddle} of the kills were in the middle of a write`)
    expect(inTheMiddle).toBeGreaterThan(0)
  },
)

test('caches/no-lost-update: two objects of one size that follow each other at once are two versions', async ({
  memory,
}) => {
  const tree = join(memory, 'tree')
  const store = join(memory, 'store')
  mkdirSync(tree)
  const cache = openCache(`file://${store}`)
  const seen = new Set<string>()
  for (let index = 0; index < 200; index += 1) {
    writeFileSync(join(tree, 'file'), String(1000 + index))
    const { outcome, generation } = await cache.snapshot({ key: 'cache.tar', from: tree })
    expect(outcome).toBe('uploaded')
    seen.add(generation!)
  }
  expect(seen.size).toBe(200)
  expect(readFileSync(join(store, 'cache.tar')).length).toBeGreaterThan(0)
})
