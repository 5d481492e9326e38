// The moment an object becomes visible: not after the call has settled, and nothing else of a write is left.
import { mkdirSync, readFileSync, readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { openCache } from 'warmswap'
import { describe, expect } from 'vitest'
import { start } from '../support/children.js'
import { type FaultServer, startFaultServer } from '../support/fault-server.js'
import { repository } from '../support/paths.js'
import { test } from '../support/temp.js'
import { noise } from '../support/trees.js'

const program = join(repository, '__test__/processes/caches-store.js')

function makeLarge(tree: string, seed: number): string {
  mkdirSync(tree)
  writeFileSync(join(tree, 'large'), noise(20 << 20, seed))
  return tree
}

/** A key that is one object, and a second upload of it that stops at its second part. */
async function startStalledUpload(memory: string, options: { deadlineMs: number; signal?: AbortSignal }): Promise<{ server: FaultServer; before: Buffer; result: Promise<{ outcome: string }> }> {
  const server = await startFaultServer()
  const cache = openCache(server.store('p'))
  expect(await cache.snapshot({ key: 'cache.tar', from: makeLarge(join(memory, 'one'), 1) })).toMatchObject({ outcome: 'uploaded' })
  const before = server.objects.get('p/cache.tar')!.bytes
  server.fault = { when: ({ path, query }) => path === 'p/cache.tar' && query.get('partNumber') === '2', what: 'stall-after-accept' }
  const other = makeLarge(join(memory, 'other'), 2)
  return { server, before, result: cache.snapshot({ key: 'cache.tar', from: other, idleMs: 60_000, minBytesPerSecond: 0, ...options }) }
}

const isPart = ({ method, path }: { method: string; path: string }): boolean => method === 'PUT' && path === 'p/cache.tar'

describe('I4: a key that is one object', () => {
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

test('I7: what a killed writer left in a folder store goes with the next write', { timeout: 120_000 }, async ({ memory }) => {
  const tree = join(memory, 'tree')
  const store = join(memory, 'store')
  mkdirSync(tree)
  writeFileSync(join(tree, 'large'), noise(64 << 20))
  const temporaries = (): string[] => {
    try {
      return readdirSync(join(store, '.warmswap-tmp'))
    } catch {
      return []
    }
  }
  await expect
    .poll(
      async () => {
        const child = start(process.execPath, [program, 'snapshot', `file://${store}`, tree])
        while (child.process.exitCode === null && temporaries().length === 0) await new Promise(setImmediate)
        child.signal('SIGKILL')
        await child.ended
        return temporaries()
      },
      { timeout: 100_000 },
    )
    .toHaveLength(1)
  expect(await openCache(`file://${store}`).snapshot({ key: 'other', from: tree })).toMatchObject({ outcome: 'uploaded' })
  expect(temporaries()).toEqual([])
})

test('I22: two objects of one size that follow each other at once are two versions', async ({ memory }) => {
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
