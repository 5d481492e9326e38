// @module-tag system
/** Stores whose responses do not end: each call resolves soon, by status and headers, and reads little of the body. */

import { rmSync, writeFileSync } from 'node:fs'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { join } from 'node:path'
import { type Cache, openCache } from 'warmswap'
import { afterAll, afterEach, beforeAll, describe, expect } from 'vitest'
import { FRAMINGS, type Framing, makeEndless, resetTaken, taken, trickle } from '../support/endless.js'
import { start } from '../support/children.js'
import { httpEndpoint } from '../support/endpoints.js'
import { restoreAwsEnvironment, setAwsEnvironment } from '../support/environment.js'
import { type FaultServer, startFaultServer } from '../support/fault-server.js'
import { repository } from '../support/paths.js'
import { test } from '../support/temp.js'
import { makeTree, noise } from '../support/trees.js'

/** What the kernel takes of an answer for a client that reads none of it (tcp_wmem, tcp_rmem), and the answer's own limit. */
const MOST_BYTES = 24 << 20
const DEADLINE_MS = 4000
const budget = { deadlineMs: DEADLINE_MS, attempts: 1 }

let server: FaultServer
beforeAll(async () => {
  server = await startFaultServer()
})
afterAll(() => server.stop())
afterEach(() => {
  server.intercept = undefined
  resetTaken()
})

type Told = { outcome: string; reason?: string }

/** Runs a call whose answers are endless where `matches` says so; checks time, bytes and that the connection is closed. */
async function endless(
  matches: (request: IncomingMessage) => boolean,
  answer: (response: ServerResponse) => boolean,
  call: () => Promise<Told>,
): Promise<Told> {
  server.intercept = (request, response) => matches(request) && answer(response)
  resetTaken()
  const started = performance.now()
  const told = await call()
  expect(performance.now() - started, `${told.outcome}: ${told.reason}`).toBeLessThan(DEADLINE_MS)
  server.intercept = undefined
  expect(taken.answers).toBeGreaterThan(0)
  await expect.poll(() => taken.open, { timeout: 5000 }).toBe(0)
  expect(taken.bytes / taken.answers, 'bytes of one answer').toBeLessThan(MOST_BYTES)
  return told
}

/** A status of its own, or what the server answers anyway, without an end. */
function without(status: number | undefined, framing: Framing): (response: ServerResponse) => boolean {
  return (response) => {
    makeEndless(response, framing)
    if (status !== undefined)
      response
        .writeHead(status, { 'content-type': 'application/xml', etag: '"e"' })
        .end('<?xml version="1.0"?><Error><Code>Endless</Code>')
    return status !== undefined
  }
}

const isGet = ({ method, url }: IncomingMessage): boolean => method === 'GET' && !url!.includes('list-type')
const isList = ({ url }: IncomingMessage): boolean => url!.includes('list-type')
const isBlob = (request: IncomingMessage): boolean => isGet(request) && request.url!.includes('/blobs/')
const isPut = ({ method }: IncomingMessage): boolean => method === 'PUT'
const isPointerPut = (request: IncomingMessage): boolean => isPut(request) && request.url!.includes('current.json')

async function published(memory: string, prefix: string): Promise<{ cache: Cache; tree: string; into: string }> {
  const cache = openCache(server.store(prefix))
  const tree = makeTree(join(memory, 'tree'), 3)
  expect(await cache.snapshot({ key: 'site', from: tree })).toMatchObject({ outcome: 'uploaded' })
  return { cache, tree, into: join(memory, 'into') }
}

describe('caches/responses-are-bounded: answers that do not end', () => {
  test('an error is reported by its status, for every form of length', { timeout: 60_000 }, async ({ memory }) => {
    const { cache, into } = await published(memory, 'errors')
    for (const framing of FRAMINGS) {
      for (const [status, outcome] of [
        [403, 'denied'],
        [404, 'miss'],
        [500, 'unavailable'],
        [400, 'unavailable'],
      ] as const) {
        const told = await endless(isGet, without(status, framing), () =>
          cache.restore({ key: 'site', into, ...budget }),
        )
        expect(told, `${framing} ${status}`).toMatchObject({ outcome })
      }
    }
  })

  test('of a PUT only status and headers count', { timeout: 60_000 }, async ({ memory }) => {
    const { cache, tree } = await published(memory, 'writes')
    let step = 0
    const snapshot = (): Promise<Told> => {
      writeFileSync(join(tree, 'step'), `${++step}`)
      return cache.snapshot({ key: 'site', from: tree, ...budget })
    }
    for (const framing of FRAMINGS) {
      expect(await endless(isPut, without(undefined, framing), snapshot), framing).toMatchObject({
        outcome: 'uploaded',
      })
      expect(await endless(isPointerPut, without(403, framing), snapshot), framing).toMatchObject({ outcome: 'denied' })
    }
    const deletes = ({ method }: IncomingMessage): boolean => method === 'DELETE'
    expect(await endless(deletes, without(403, 'chunked'), () => cache.remove('site', budget))).toMatchObject({
      outcome: 'denied',
    })
  })

  test('responses that have to be read have a limit, which the reason names', { timeout: 60_000 }, async ({
    memory,
  }) => {
    const { cache, tree, into } = await published(memory, 'pages')
    for (const framing of FRAMINGS) {
      const page = await endless(isList, without(200, framing), () => cache.prune({ key: 'site', ...budget }))
      expect(page, framing).toMatchObject({
        outcome: 'corrupt',
        reason: expect.stringContaining('at most 8388608 bytes'),
      })
      expect(await endless(isList, without(403, framing), () => cache.prune({ key: 'site', ...budget }))).toMatchObject(
        { outcome: 'denied' },
      )
      // The objects are stored without an encoding: an encoded answer is not the object, and proves nothing about it.
      const refused =
        framing === 'gzip'
          ? { outcome: 'unavailable', reason: expect.stringContaining("Content-Encoding 'gzip'") }
          : { outcome: 'corrupt' }
      const pointer = await endless(isGet, without(200, framing), () => cache.restore({ key: 'site', into, ...budget }))
      expect(pointer, framing).toMatchObject(refused)
      const blob = await endless(isBlob, without(undefined, framing), () =>
        cache.restore({ key: 'site', into, ...budget }),
      )
      expect(blob, framing).toMatchObject(refused)
    }
    // In several parts, so that S3's own answers are read.
    writeFileSync(join(tree, 'noise'), noise(9 << 20))
    const begins = ({ method, url }: IncomingMessage): boolean => method === 'POST' && /[?&]uploads/.test(url!)
    const begun = await endless(begins, without(200, 'chunked'), () =>
      cache.snapshot({ key: 'site', from: tree, ...budget }),
    )
    expect(begun).toMatchObject({ outcome: 'corrupt', reason: expect.stringContaining('at most 65536 bytes') })
  })

  test('an answer that trickles in ends with the idle time, or with the deadline where it is needed', {
    timeout: 60_000,
  }, async ({ memory }) => {
    const { cache, into } = await published(memory, 'slow')
    server.intercept = (request, response) => {
      if (isGet(request)) trickle(response, 403, 20)
      return isGet(request)
    }
    const started = performance.now()
    expect(await cache.restore({ key: 'site', into, ...budget, deadlineMs: 30_000, idleMs: 300 })).toMatchObject({
      outcome: 'denied',
    })
    expect(performance.now() - started).toBeLessThan(10_000)
    server.intercept = (request, response) => {
      if (isList(request)) trickle(response, 200, 20)
      return isList(request)
    }
    expect(await cache.prune({ key: 'site', ...budget, deadlineMs: 1000, idleMs: 300 })).toMatchObject({
      outcome: 'timeout',
    })
  })

  test('a list whose pages never end', { timeout: 120_000 }, async ({ memory }) => {
    const { cache } = await published(memory, 'list')
    const name = `list/site/blobs/${'0'.repeat(64)}.tar.zst`
    // The limit counts the bytes of names and ETags: long ones reach it with a seventh of the entries to parse.
    const etag = 'e'.repeat(1000)
    const entry = `<Contents><Key>${name}</Key><LastModified>2026-01-01T00:00:00.000Z</LastModified><ETag>${etag}</ETag><Size>1</Size></Contents>`
    let pages = 0
    server.intercept = (request, response) => {
      if (!isList(request)) return false
      pages += 1
      response
        .writeHead(200, { 'content-type': 'application/xml' })
        .end(
          `<ListBucketResult><IsTruncated>true</IsTruncated><NextContinuationToken>${pages}</NextContinuationToken>${entry.repeat(4000)}</ListBucketResult>`,
        )
      return true
    }
    const told = await cache.prune({ key: 'site', deadlineMs: 100_000 })
    expect(told).toMatchObject({ outcome: 'corrupt', reason: expect.stringContaining('lists more than') })
    expect(pages).toBeLessThan(20)
  })

  test('memory stays where it was', { timeout: 60_000 }, async ({ memory }) => {
    const { cache, into } = await published(memory, 'memory')
    const before = process.memoryUsage.rss()
    for (let round = 0; round < 8; round += 1) {
      await endless(isGet, without(403, 'chunked'), () => cache.restore({ key: 'site', into, ...budget }))
      await endless(isList, without(200, 'chunked'), () => cache.prune({ key: 'site', ...budget }))
    }
    expect(process.memoryUsage.rss() - before).toBeLessThan(128 << 20)
    rmSync(into, { recursive: true, force: true })
  })

  test('the seeded bug that reads responses completely is detected', { timeout: 60_000 }, async ({ memory }) => {
    for (const mutant of ['', 'read-answers-whole']) {
      server.intercept = (request, response) => isGet(request) && without(403, 'chunked')(response)
      const child = start(
        process.execPath,
        [
          join(repository, '__test__/programs/caches-calls.js'),
          'told',
          JSON.stringify(server.store('mutant')),
          join(memory, 'into'),
          '2000',
        ],
        { testing: true, env: { WARMSWAP_MUTANT: mutant } },
      )
      await child.ended
      expect(child.lines.join('\n'), child.stderr()).toMatch(mutant === '' ? /^denied/ : /^timeout/)
    }
  })

  test('the endpoint of credentials', { timeout: 60_000 }, async ({ memory }) => {
    const { accessKeyId: _, secretAccessKey: __, ...store } = server.store('credentials')
    for (const status of [200, 403]) {
      const agent = await httpEndpoint((_, response) => {
        makeEndless(response, 'chunked')
        response.writeHead(status, {}).end('{"AccessKeyId":"A"')
      })
      setAwsEnvironment({ AWS_CONTAINER_CREDENTIALS_FULL_URI: agent.url })
      resetTaken()
      const started = performance.now()
      const told = await openCache(store).restore({ key: 'site', into: join(memory, 'into'), ...budget })
      restoreAwsEnvironment()
      expect(told, JSON.stringify(told)).toMatchObject({ outcome: 'denied', stage: 'credentials' })
      expect(performance.now() - started).toBeLessThan(DEADLINE_MS)
      await agent.stop()
      expect(taken.bytes).toBeLessThan(MOST_BYTES * 3)
    }
  })
})
