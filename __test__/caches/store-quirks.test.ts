// @module-tag system
/** Answers of single stores: what they say of regions and endpoints, versions, encodings, clocks and pauses. */

// guarantee: caches/dialects-are-understood

import { mkdirSync, writeFileSync } from 'node:fs'
import type { IncomingMessage, OutgoingHttpHeaders, ServerResponse } from 'node:http'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import { afterAll, afterEach, beforeAll, describe, expect } from 'vitest'
import { openCache } from 'warmswap'
import { type FaultServer, startFaultServer } from '../support/fault-server.js'
import { test } from '../support/temp.js'
import { digest, makeTree, noise } from '../support/trees.js'

const budget = { deadlineMs: 60_000 }
const KEYS = ['site', 'one.tar.zst'] as const

let server: FaultServer
beforeAll(async () => {
  server = await startFaultServer()
})
afterEach(() => {
  server.intercept = undefined
  server.objects.clear()
  server.requests.length = 0
})
afterAll(() => server.stop())

function fail(response: ServerResponse, status: number, code: string, more = '', headers: OutgoingHttpHeaders = {}) {
  const body = `<?xml version="1.0"?><Error><Code>${code}</Code><Message>${code}</Message>${more}</Error>`
  response.writeHead(status, { 'content-type': 'application/xml', ...headers })
  response.end(response.req.method === 'HEAD' || code === '' ? undefined : body)
  return true
}

const isConditionalWrite = ({ method, headers }: IncomingMessage): boolean =>
  method !== 'GET' && method !== 'HEAD' && (headers['if-match'] ?? headers['if-none-match']) !== undefined

/** Changes the headers of each answer, and the text of documents. */
function change(
  response: ServerResponse,
  headers: (headers: Record<string, string>) => void,
  text = (body: string): string => body,
): void {
  const writeHead = response.writeHead.bind(response) as (status: number, headers: object) => ServerResponse
  response.writeHead = ((status: number, given: Record<string, string> = {}) => {
    const changed = { ...given }
    headers(changed)
    return writeHead(status, changed)
  }) as typeof response.writeHead
  const end = response.end.bind(response) as (body?: unknown) => ServerResponse
  response.end = ((body?: unknown) => end(typeof body === 'string' ? text(body) : body)) as typeof response.end
}

/** Both kinds of keys, written twice, found unchanged, restored and removed: each with these outcomes. */
async function useStore(memory: string, guard: 'etag' | 'none'): Promise<void> {
  for (const key of KEYS) {
    const cache = openCache(server.store('quirk'))
    const from = join(memory, key)
    mkdirSync(from)
    writeFileSync(join(from, 'noise'), noise(9 << 20))
    expect(await cache.snapshot({ key, from, ...budget }), key).toMatchObject({ outcome: 'uploaded', guard })
    expect(await cache.snapshot({ key, from, ...budget }), key).toMatchObject({ outcome: 'unchanged' })
    writeFileSync(join(from, 'more'), 'more')
    expect(await cache.snapshot({ key, from, ...budget }), key).toMatchObject({ outcome: 'uploaded', guard })
    const into = join(memory, `into-${key}`)
    const { ticket, ...told } = await cache.restore({ key, into, ...budget })
    expect(told, key).toMatchObject({ outcome: 'restored' })
    expect(digest(into)).toEqual(digest(from))
    writeFileSync(join(from, 'more'), 'even more')
    const next = { key, from, ticket, ...budget } as Parameters<typeof cache.snapshot>[0]
    expect(await cache.snapshot(next), key).toMatchObject({ outcome: 'uploaded', guard })
    expect(await cache.snapshot({ ...next, from: into }), `${key}: the ticket is old`).toMatchObject({
      outcome: 'superseded',
    })
    expect(await cache.remove(key, budget)).toMatchObject({ outcome: 'removed' })
  }
}

describe('another region or endpoint: the reason names the setting', () => {
  const region = "Set the region (currently 'us-east-1') or the endpoint of the store"
  const at = (host: string): string => `The bucket is at '${host}'. Set the endpoint of the store`
  test.for([
    ['a redirect that names nothing', 301, 'PermanentRedirect', '', region],
    ['a redirect without a body', 301, '', '', region],
    ['a temporary redirect', 307, 'TemporaryRedirect', '', region],
    ['a malformed scope without a region', 400, 'AuthorizationHeaderMalformed', '', region],
    ['a region that R2 does not have', 400, 'InvalidRegionName', '', region],
    ['a location constraint', 400, 'IllegalLocationConstraintException', '', region],
    [
      'an endpoint without a region',
      301,
      'PermanentRedirect',
      '<Endpoint>bucket.s3.example.com</Endpoint>',
      at('bucket.s3.example.com'),
    ],
    [
      'an endpoint of Alibaba OSS',
      403,
      'AccessDenied',
      '<Endpoint>oss-cn-hangzhou.aliyuncs.com</Endpoint>',
      at('oss-cn-hangzhou.aliyuncs.com'),
    ],
    ['an endpoint that is no host', 301, 'PermanentRedirect', '<Endpoint>http://evil.test/?a</Endpoint>', region],
    ['a bucket in the path', 403, 'SecondLevelDomainForbidden', '', 'Set pathStyle of the store to false'],
  ] as const)('%s', async ([, status, code, more, expected], { memory }) => {
    server.intercept = (_, response) => fail(response, status, code, more)
    const from = makeTree(join(memory, 'tree'), 3)
    for (const key of KEYS) {
      const cache = openCache(server.store())
      server.requests.length = 0
      const calls = {
        restore: await cache.restore({ key, into: join(memory, 'into'), ...budget }),
        snapshot: await cache.snapshot({ key, from, ...budget }),
      }
      for (const [verb, { outcome, reason }] of Object.entries(calls)) {
        expect(outcome, verb).toBe('unavailable')
        expect(reason, `${verb} ${key}`).toContain(expected)
        expect(reason, verb).not.toContain('evil')
        expect(reason, verb).not.toContain('s3:ListBucket')
      }
      await expect(cache.probe(budget)).rejects.toThrow(expected)
      expect(new Set(server.requests.map(({ headers }) => headers.host))).toEqual(
        new Set([new URL(server.endpoint).host]),
      )
    }
  })

  test('a store that names another region for each', async ({ memory }) => {
    const regions = ['eu-central-1', 'eu-west-1', 'ap-south-1']
    let count = 0
    server.intercept = (_, response) =>
      fail(response, 400, 'AuthorizationHeaderMalformed', `<Region>${regions[count++ % 3]}</Region>`)
    const told = await openCache(server.store()).restore({ key: 'site', into: join(memory, 'into'), ...budget })
    expect(told).toMatchObject({
      outcome: 'unavailable',
      reason: expect.stringContaining("The bucket is in region 'eu-west-1'. Set the region of the store"),
    })
    expect(count).toBe(2)
  })
})

describe('conditional writes that are refused', () => {
  test.for([
    [400, 'BadRequest'],
    [400, 'UnsupportedHeader'],
    [411, ''],
    [415, 'UnsupportedMediaType'],
    [417, ''],
    [422, 'UnprocessableEntity'],
    [501, ''],
  ] as const)('with %i %s: written without', async ([status, code], { memory }) => {
    server.intercept = (request, response) => isConditionalWrite(request) && fail(response, status, code)
    const from = makeTree(join(memory, 'tree'), 3)
    for (const key of KEYS)
      expect(await openCache(server.store()).snapshot({ key, from, ...budget })).toMatchObject({
        outcome: 'uploaded',
        guard: 'none',
      })
  })

  test('DigitalOcean Spaces takes a version without its quotes only', { timeout: 180_000 }, async ({ memory }) => {
    server.intercept = (request, response) => {
      const version = request.headers['if-match']
      if (version === undefined || !isConditionalWrite(request)) return false
      if (version.startsWith('"')) return fail(response, 412, 'PreconditionFailed')
      request.headers['if-match'] = `"${version}"`
      return false
    }
    await useStore(memory, 'etag')
  })

  test('a store that rejects every version has no guard', async ({ memory }) => {
    server.intercept = (request, response) =>
      isConditionalWrite(request) && 'if-match' in request.headers && fail(response, 412, 'PreconditionFailed')
    const from = makeTree(join(memory, 'tree'), 3)
    const cache = openCache(server.store())
    for (const step of ['1', '2']) {
      writeFileSync(join(from, 'step'), step)
      expect(await cache.snapshot({ key: 'site', from, ...budget })).toMatchObject({
        outcome: 'uploaded',
        guard: 'none',
      })
    }
  })
})

describe('versions in other forms', () => {
  const unquoted = (text = ''): string => text.replaceAll('"', '')

  test('without quotes everywhere', { timeout: 180_000 }, async ({ memory }) => {
    server.intercept = (request, response) => {
      const version = request.headers['if-match']
      if (version?.startsWith('"') && !/^"0+"$/.test(version)) return fail(response, 412, 'PreconditionFailed')
      if (version !== undefined) request.headers['if-match'] = `"${unquoted(version)}"`
      const plain = (headers: Record<string, string>): void => {
        if (headers.etag !== undefined) headers.etag = unquoted(headers.etag)
      }
      change(response, plain, (body) => body.replaceAll('&quot;', ''))
      return false
    }
    await useStore(memory, 'etag')
  })

  test('without quotes in documents only', { timeout: 180_000 }, async ({ memory }) => {
    server.intercept = (_, response) => {
      change(
        response,
        () => {},
        (body) => body.replaceAll('&quot;', ''),
      )
      return false
    }
    await useStore(memory, 'etag')
  })

  test('weak, because a proxy compresses', { timeout: 180_000 }, async ({ memory }) => {
    server.intercept = (request, response) => {
      if (request.headers['if-match']?.startsWith('W/')) return fail(response, 412, 'PreconditionFailed')
      change(response, (headers) => {
        if (headers.etag !== undefined) headers.etag = `W/${headers.etag}`
      })
      return false
    }
    await useStore(memory, 'etag')
  })
})

describe('encoded answers', () => {
  test.for([['current.json'], ['blobs/']] as const)(
    'a proxy that compresses %s: the stored object is not reported as damaged',
    async ([what], { memory }) => {
      const cache = openCache(server.store())
      await cache.snapshot({ key: 'site', from: makeTree(join(memory, 'tree'), 3), ...budget })
      server.intercept = ({ method, url }, response) => {
        if (method !== 'GET' || !url!.includes(what)) return false
        const [, object] = [...server.objects].find(([path]) => path.includes(what))!
        response.writeHead(200, { etag: object.etag, 'content-encoding': 'gzip' }).end(gzipSync(object.bytes))
        return true
      }
      expect(await cache.restore({ key: 'site', into: join(memory, 'into'), ...budget })).toMatchObject({
        outcome: 'unavailable',
        reason: expect.stringContaining("Content-Encoding 'gzip'"),
      })
    },
  )

  test('Cloud Storage decodes an object that was stored with an encoding', async ({ memory }) => {
    const cache = openCache(server.store())
    await cache.snapshot({ key: 'one.tar.gz', from: makeTree(join(memory, 'tree'), 3), ...budget })
    server.intercept = ({ method }, response) => {
      if (method !== 'GET') return false
      response.writeHead(200, { etag: '"e"', 'x-guploader-response-body-transformations': 'gunzipped' })
      response.end(Buffer.alloc(10_240))
      return true
    }
    expect(await cache.restore({ key: 'one.tar.gz', into: join(memory, 'into'), ...budget })).toMatchObject({
      outcome: 'unavailable',
      reason: expect.stringContaining("Remove Content-Encoding from the object's metadata"),
    })
  })

  test('the aws-chunked of an upload, and gzip of an object of another writer, are ignored', async ({ memory }) => {
    const from = makeTree(join(memory, 'tree'), 3)
    for (const [key, encoding] of [
      ['site', 'aws-chunked'],
      ['site', 'identity'],
      ['one.tgz', 'gzip'],
    ] as const) {
      server.intercept = (_, response) => {
        change(response, (headers) => {
          headers['content-encoding'] = encoding
        })
        return false
      }
      const cache = openCache(server.store(encoding))
      await cache.snapshot({ key, from, ...budget })
      const into = join(memory, encoding)
      expect(await cache.restore({ key, into, ...budget }), encoding).toMatchObject({ outcome: 'restored' })
    }
  })
})

describe('pauses, clocks and quotas', () => {
  test('a short Retry-After is waited for', async ({ memory }) => {
    const at: number[] = []
    server.intercept = ({ url }, response) => {
      if (!url!.includes('current.json')) return false
      at.push(performance.now())
      return at.length === 1 && fail(response, 503, 'SlowDown', '', { 'retry-after': '1' })
    }
    expect(
      await openCache(server.store()).restore({ key: 'site', into: join(memory, 'into'), ...budget }),
    ).toMatchObject({ outcome: 'miss', retries: 1 })
    expect(at[1]! - at[0]!).toBeGreaterThan(950)
  })

  test.for([
    [503, 'SlowDown'],
    [429, 'TooManyRequests'],
  ] as const)('%i with a long Retry-After: not repeated, and the reason has it', async ([status, code], { memory }) => {
    server.intercept = (_, response) => fail(response, status, code, '', { 'retry-after': '3600' })
    expect(
      await openCache(server.store()).restore({ key: 'site', into: join(memory, 'into'), ...budget }),
    ).toMatchObject({
      outcome: 'unavailable',
      retries: 0,
      reason: expect.stringContaining('Try again after 3600 s'),
    })
    expect(server.requests).toHaveLength(1)
  })

  test('a wrong clock is named', async ({ memory }) => {
    server.intercept = (_, response) => fail(response, 403, 'RequestTimeTooSkewed')
    for (const key of KEYS)
      expect(await openCache(server.store()).restore({ key, into: join(memory, 'into'), ...budget })).toMatchObject({
        outcome: 'denied',
        reason: expect.stringContaining('The clock of this machine'),
      })
  })

  test('a quota is no-space, and the name of an error is whole', async ({ memory }) => {
    const from = makeTree(join(memory, 'tree'), 3)
    for (const [status, code, outcome] of [
      [400, 'XMinioAdminBucketQuotaExceeded', 'no-space'],
      [403, 'QuotaExceeded', 'no-space'],
      [507, '', 'no-space'],
      [400, 'KMS.NotFoundException', 'unavailable'],
    ] as const) {
      server.intercept = ({ method }, response) => method === 'PUT' && fail(response, status, code)
      expect(await openCache(server.store()).snapshot({ key: 'site', from, ...budget }), code).toMatchObject({
        outcome,
        reason: expect.stringMatching(code === '' ? /507/ : new RegExp(`\\d ${code}`)),
      })
    }
  })
})
