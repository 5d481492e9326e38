// @module-tag system
/**
 * Responses of real object stores that differ from S3: no conditions, other codes, chunked bodies, errors inside a 200.
 */

// guarantee: caches/dialects-are-understood

import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, describe, expect } from 'vitest'
import { type Cache, openCache } from 'warmswap'
import { type FaultServer, startFaultServer } from '../support/fault-server.js'
import { test } from '../support/temp.js'
import { digest, makeTree, noise } from '../support/trees.js'

const budget = { deadlineMs: 20_000 }
const HINT = 's3:ListBucket'

let server: FaultServer
beforeAll(async () => {
  server = await startFaultServer()
})
afterEach(() => {
  server.intercept = undefined
  server.fault = undefined
  server.objects.clear()
  server.requests.length = 0
})
afterAll(() => server.stop())

function fail(response: ServerResponse, status: number, code: string, more = ''): true {
  const body = `<?xml version="1.0"?><Error><Code>${code}</Code><Message>${code}</Message>${more}</Error>`
  response.writeHead(status, { 'content-type': 'application/xml' })
  // The answer to a HEAD has no body.
  response.end(response.req.method === 'HEAD' ? undefined : body)
  return true
}

const isConditionalWrite = ({ method, headers }: IncomingMessage): boolean =>
  method !== 'GET' && method !== 'HEAD' && (headers['if-match'] ?? headers['if-none-match']) !== undefined
const isCompletion = ({ method, url }: IncomingMessage): boolean => method === 'POST' && /[?&]uploadId=/.test(url!)

/** A tree whose archive is sent in parts. */
function largeTree(path: string): string {
  mkdirSync(path)
  writeFileSync(join(path, 'noise'), noise(9 << 20))
  return path
}

/** Each call on a key, as its outcome and reason. */
async function callAll(cache: Cache, key: string, tree: string, into: string): Promise<Record<string, string>> {
  const said = async (call: Promise<{ outcome: string; reason?: string } | null | object>): Promise<string> => {
    try {
      const result = (await call) as { outcome?: string; reason?: string } | null
      return `${result?.outcome} ${result?.reason}`
    } catch (error) {
      return `rejected ${(error as { outcome?: string }).outcome} ${(error as Error).message}`
    }
  }
  return {
    restore: await said(cache.restore({ key, into, ...budget })),
    snapshot: await said(cache.snapshot({ key, from: tree, ...budget })),
    inspect: await said(cache.inspect(key, budget)),
    prune: await said(cache.prune({ key, ...budget })),
    remove: await said(cache.remove(key, budget)),
    probe: await said(cache.probe(budget)),
  }
}

describe('a store that refuses conditional writes', () => {
  // Alibaba OSS answers NotImplemented with 400 or 501.
  test.for([
    [400, 'NotImplemented'],
    [501, 'NotImplemented'],
    [400, 'InvalidArgument'],
    [405, 'MethodNotAllowed'],
  ] as const)(
    "%i %s: is written without conditions, and reported as guard 'none'",
    { timeout: 60_000 },
    async ([status, code], { memory }) => {
      server.intercept = (request, response) =>
        isConditionalWrite(request) && fail(response, status, code, '<Header>If-None-Match</Header>')
      const cache = openCache(server.store('plain'))
      expect(await cache.probe()).toEqual({
        conditionalPut: false,
        exclusiveWrites: false,
        conditionalMultipart: false,
        ranged: true,
        writable: true,
      })
      const large = largeTree(join(memory, 'large'))
      const small = makeTree(join(memory, 'small'), 3)
      for (const [key, from] of [
        ['site', large],
        ['site', small],
        ['one.tar.zst', small],
        ['one.tar.zst', large],
      ] as const) {
        const guard = { allowShrink: true }
        writeFileSync(join(from, 'key'), `${key} ${Math.random()}`)
        expect(await cache.snapshot({ key, from, guard, ...budget }), key).toMatchObject({
          outcome: 'uploaded',
          guard: 'none',
        })
        const into = join(memory, 'into')
        expect(await cache.restore({ key, into, mode: 'replace', ...budget })).toMatchObject({ outcome: 'restored' })
        expect(digest(into)).toEqual(digest(from))
      }
      expect([...server.objects.keys()].filter((path) => path.includes('probe'))).toEqual([])
    },
  )

  test('an upload in parts that refuses conditions only at its completion is repeated without', async ({ memory }) => {
    server.intercept = (request, response) =>
      isConditionalWrite(request) && isCompletion(request) && fail(response, 501, 'NotImplemented')
    const cache = openCache(server.store('parts'))
    const from = largeTree(join(memory, 'tree'))
    expect(await cache.snapshot({ key: 'site', from, ...budget })).toMatchObject({ outcome: 'uploaded', guard: 'etag' })
    expect(await cache.snapshot({ key: 'one.tar.zst', from, ...budget })).toMatchObject({
      outcome: 'uploaded',
      guard: 'none',
    })
  })

  test('a store that refuses every write is not one without conditions', async ({ memory }) => {
    server.intercept = (request, response) => request.method === 'PUT' && fail(response, 400, 'InvalidRequest')
    const snapshot = openCache(server.store('none')).snapshot({ key: 'site', from: makeTree(join(memory, 'tree'), 3) })
    expect(await snapshot).toMatchObject({
      outcome: 'unavailable',
      reason: expect.stringContaining('400 InvalidRequest'),
    })
  })

  test('the lost answer of the first write of a probe does not mean that another writer won', async ({ memory }) => {
    server.fault = {
      when: ({ method, path }) => method === 'PUT' && path.includes('probe'),
      what: 'lose-answer',
      times: 1,
    }
    const from = makeTree(join(memory, 'tree'), 3)
    expect(await openCache(server.store('lost')).snapshot({ key: 'site', from, ...budget })).toMatchObject({
      outcome: 'uploaded',
      guard: 'etag',
    })
  })
})

describe('the option conditions', () => {
  test("'required' writes nothing under a key of a store without conditions", async ({ memory }) => {
    const tree = makeTree(join(memory, 'tree'), 3)
    const large = largeTree(join(memory, 'large'))
    const cache = openCache(server.store('required'), { conditions: 'required' })
    const refuse = [
      (request: IncomingMessage, response: ServerResponse) =>
        isConditionalWrite(request) && fail(response, 501, 'NotImplemented'),
      // Ignored, as s3rver does.
      ({ headers }: IncomingMessage) => {
        delete headers['if-match']
        delete headers['if-none-match']
        return false
      },
    ]
    for (const intercept of refuse)
      for (const key of ['site', 'one.tar.zst']) {
        server.intercept = intercept
        const fresh = openCache(server.store('required'), { conditions: 'required' })
        expect(await fresh.snapshot({ key, from: tree, ...budget })).toMatchObject({
          ok: false,
          outcome: 'unguarded',
          reason: expect.stringContaining("'required'"),
        })
        await expect(fresh.snapshot({ key, from: tree, strict: true, ...budget })).rejects.toMatchObject({
          code: 'ERR_UNSUPPORTED',
          outcome: 'unguarded',
        })
        expect([...server.objects.keys()]).toEqual([])
      }
    // Only the completion ignores them.
    server.intercept = (request) => {
      if (isCompletion(request)) delete request.headers['if-none-match']
      return false
    }
    expect(await cache.snapshot({ key: 'large.tar.zst', from: large, ...budget })).toMatchObject({
      outcome: 'unguarded',
    })
    server.intercept = undefined
    expect(await cache.snapshot({ key: 'site', from: tree, ...budget })).toMatchObject({
      outcome: 'uploaded',
      guard: 'etag',
    })
  })

  test("'off' sends none, and looks for none", { timeout: 60_000 }, async ({ memory }) => {
    const sent: string[] = []
    server.intercept = (request) => {
      if (isConditionalWrite(request)) sent.push(request.url!)
      return false
    }
    const cache = openCache(server.store('off'), { conditions: 'off' })
    const tree = largeTree(join(memory, 'tree'))
    for (const key of ['site', 'one.tar.zst'])
      for (const step of [1, 2]) {
        writeFileSync(join(tree, 'step'), `${step}`)
        expect(await cache.snapshot({ key, from: tree, ...budget })).toMatchObject({
          outcome: 'uploaded',
          guard: 'none',
        })
      }
    expect(await cache.probe()).toMatchObject({ conditionalPut: false, conditionalMultipart: false, writable: true })
    expect(sent).toEqual([])
    const auto = openCache(server.store('off'))
    writeFileSync(join(tree, 'step'), '3')
    expect(await auto.snapshot({ key: 'site', from: tree, ...budget })).toMatchObject({ guard: 'etag' })
    expect(sent.length).toBeGreaterThan(0)
  })

  test('caches/unguarded-writers-overwrite: two writers at the same time both succeed, and one of their trees is left', async ({
    memory,
  }) => {
    const cache = openCache(`file://${join(memory, 'store')}`, { conditions: 'off' })
    const trees = ['one', 'other'].map((name) => {
      mkdirSync(join(memory, name))
      writeFileSync(join(memory, name, 'file'), name)
      return join(memory, name)
    })
    const results = await Promise.all(trees.map((from) => cache.snapshot({ key: 'site', from })))
    expect(results.map(({ outcome, guard }) => [outcome, guard])).toEqual([
      ['uploaded', 'none'],
      ['uploaded', 'none'],
    ])
    expect(await cache.restore({ key: 'site', into: join(memory, 'into') })).toMatchObject({ outcome: 'restored' })
    expect(['one', 'other']).toContain(readFileSync(join(memory, 'into/file'), 'utf8'))
  })

  test('anything else is refused', () => {
    expect(() => openCache('memory:', { conditions: 'always' as 'auto' })).toThrow(
      expect.objectContaining({ code: 'ERR_INVALID_ARGUMENT' }),
    )
  })
})

describe('a response with status 200 that contains an error', () => {
  const whole = '<?xml version="1.0"?>\n<Error><Code>SlowDown</Code></Error>'
  const bodies: [string, string, boolean][] = [
    ['white space that keeps the connection alive', ` \n\n \n${whole}`, false],
    [
      'an element with a namespace',
      '<Error xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Code>InternalError</Code></Error>',
      false,
    ],
    ['no body', '', false],
    ['white space only', ' \n\n ', false],
    ['a document that ends early', '<?xml version="1.0"?><CompleteMultipartUploadResult><ETag>"1', false],
    ['a body that is shorter than its length', '<CompleteMultipartUploadResult>', true],
  ]
  test.for(bodies)(
    'a completion with %s is completed again',
    { timeout: 60_000 },
    async ([, body, isShort], { memory }) => {
      const from = largeTree(join(memory, 'tree'))
      for (const key of ['site', 'one.tar.zst']) {
        let count = 0
        server.intercept = (request, response) => {
          if (!isCompletion(request) || request.headers['if-none-match'] === undefined || /probe/.test(request.url!))
            return false
          if (count++ > 0) return false
          response.writeHead(200, isShort ? { 'content-length': body.length + 10 } : {})
          response.write(body, () => (isShort ? request.socket.end() : response.end()))
          return true
        }
        expect(await openCache(server.store('inside')).snapshot({ key, from, ...budget })).toMatchObject({
          outcome: 'uploaded',
        })
        expect(count, 'sent again').toBe(2)
      }
    },
  )

  test('a lasting error is the outcome that its name stands for', { timeout: 60_000 }, async ({ memory }) => {
    const from = largeTree(join(memory, 'tree'))
    for (const [code, outcome] of [
      ['AccessDenied', 'denied'],
      ['ExpiredToken', 'denied'],
      ['PreconditionFailed', 'superseded'],
      ['NoSuchUpload', 'unavailable'],
      ['QuotaExceeded', 'no-space'],
    ] as const) {
      server.intercept = (request, response) =>
        isCompletion(request) && !/probe/.test(request.url!) && fail(response, 200, code)
      const told = await openCache(server.store(code)).snapshot({ key: 'one.tar.zst', from, ...budget })
      expect(told, code).toMatchObject({ outcome, reason: expect.stringContaining(`200 ${code}`) })
    }
  })

  test('a completion whose answer was lost is found, although the upload is no longer known', async ({ memory }) => {
    const from = largeTree(join(memory, 'tree'))
    for (const key of ['site', 'one.tar.zst']) {
      server.intercept = undefined
      server.fault = {
        when: ({ method, query, path }) => method === 'POST' && query.has('uploadId') && !path.includes('probe'),
        what: 'lose-answer',
        times: 1,
      }
      let isLost = false
      server.intercept = (request, response) => {
        if (!isCompletion(request) || /probe/.test(request.url!)) return false
        if (isLost) return fail(response, 404, 'NoSuchUpload')
        isLost = true
        return false
      }
      expect(await openCache(server.store('upload')).snapshot({ key, from, ...budget }), key).toMatchObject({
        outcome: 'uploaded',
      })
      expect(isLost).toBe(true)
    }
  })

  test('an error inside a list is not an empty list', async ({ memory }) => {
    const cache = openCache(server.store('list'))
    await cache.snapshot({ key: 'site', from: makeTree(join(memory, 'tree'), 3) })
    const isList = ({ url }: IncomingMessage): boolean => /list-type|prefix=/.test(url!)
    let count = 0
    server.intercept = (request, response) => isList(request) && count++ === 0 && fail(response, 200, 'SlowDown')
    expect(await cache.prune({ key: 'site' })).toMatchObject({ outcome: 'pruned' })
    expect(count).toBe(2)
    server.intercept = (request, response) => isList(request) && fail(response, 200, 'InternalError')
    expect(await cache.prune({ key: 'site' })).toMatchObject({
      outcome: 'unavailable',
      reason: expect.stringContaining('InternalError'),
    })
  })

  test('a timeout of a request, which S3 answers with 400, is repeated', async ({ memory }) => {
    let count = 0
    server.intercept = ({ method, url }, response) =>
      method === 'PUT' && url!.includes('current.json') && count++ === 0 && fail(response, 400, 'RequestTimeout')
    const from = makeTree(join(memory, 'tree'), 3)
    expect(await openCache(server.store('timeout')).snapshot({ key: 'site', from })).toMatchObject({
      outcome: 'uploaded',
    })
    expect(count).toBe(2)
  })
})

describe('credentials that the store does not accept', () => {
  test.for([
    [403, 'InvalidAccessKeyId'],
    [403, 'SignatureDoesNotMatch'],
    [403, 'RequestTimeTooSkewed'],
    [400, 'ExpiredToken'],
    [400, 'InvalidToken'],
    [401, 'Unauthorized'],
  ] as const)('%i %s: every call says so, and probe rejects', async ([status, code], { memory }) => {
    server.intercept = (_, response) => fail(response, status, code)
    const tree = makeTree(join(memory, 'tree'), 3)
    for (const key of ['site', 'one.tar.zst']) {
      const told = await callAll(openCache(server.store()), key, tree, join(memory, 'into'))
      for (const [verb, text] of Object.entries(told)) {
        expect(text, `${verb} ${key}`).toMatch(/^(rejected )?denied /)
        expect(text, `${verb} ${key}`).toContain(code)
        expect(text, `${verb} ${key}`).not.toContain(HINT)
      }
      expect(told.probe).toMatch(/^rejected/)
    }
  })

  test('a token that expires in the middle of a call is named', { timeout: 60_000 }, async ({ memory }) => {
    const from = largeTree(join(memory, 'tree'))
    const cache = openCache(server.store('middle'))
    expect(await cache.snapshot({ key: 'site', from, ...budget })).toMatchObject({ outcome: 'uploaded' })
    server.intercept = ({ headers }, response) => headers.range !== undefined && fail(response, 400, 'ExpiredToken')
    expect(await cache.restore({ key: 'site', into: join(memory, 'into'), ...budget })).toMatchObject({
      outcome: 'denied',
      reason: expect.stringContaining('ExpiredToken'),
    })
    writeFileSync(join(from, 'more'), 'more')
    // While conditions are probed: no reason to write without them.
    server.intercept = ({ method, headers }, response) =>
      method === 'PUT' && headers['if-match'] !== undefined && fail(response, 400, 'ExpiredToken')
    expect(await openCache(server.store('middle')).snapshot({ key: 'site', from, ...budget })).toMatchObject({
      outcome: 'denied',
      reason: expect.stringContaining('ExpiredToken'),
    })
  })

  test('the sentence about s3:ListBucket is only in what reads an object and is AccessDenied', async ({ memory }) => {
    server.intercept = (_, response) => fail(response, 403, 'AccessDenied')
    const tree = makeTree(join(memory, 'tree'), 3)
    for (const key of ['site', 'one.tar.zst']) {
      const told = await callAll(openCache(server.store()), key, tree, join(memory, 'into'))
      for (const verb of ['restore', 'snapshot', 'inspect', 'prune']) expect(told[verb], verb).toContain(HINT)
      expect(told.remove).toMatch(/^denied .*AccessDenied/)
      expect(told.remove).not.toContain(HINT)
      // The credentials are right, and may not write.
      expect(told.probe).not.toMatch(/^rejected/)
    }
    expect(await openCache(server.store()).probe()).toMatchObject({ writable: false })
  })
})

describe('answers without a length', () => {
  /** Lets the server answer without Content-Length: chunked, and none with a HEAD. */
  function withoutLength(matches: (request: IncomingMessage) => boolean): void {
    server.intercept = (request, response) => {
      if (!matches(request)) return false
      const writeHead = response.writeHead.bind(response) as (status: number, headers: object) => ServerResponse
      response.writeHead = ((status: number, { 'content-length': _, ...headers }: Record<string, string> = {}) =>
        writeHead(status, headers)) as typeof response.writeHead
      return false
    }
  }

  test('a pointer, the size of an object and its ranges are read', { timeout: 60_000 }, async ({ memory }) => {
    const from = largeTree(join(memory, 'tree'))
    withoutLength(({ method }) => method === 'GET' || method === 'HEAD')
    const cache = openCache(server.store('chunked'))
    for (const key of ['site', 'one.tar.zst']) {
      expect(await cache.snapshot({ key, from, ...budget })).toMatchObject({ outcome: 'uploaded' })
      expect(await cache.snapshot({ key, from, ...budget })).toMatchObject({ outcome: 'unchanged' })
      const into = join(memory, `into-${key}`)
      expect(await cache.restore({ key, into, ...budget })).toMatchObject({ outcome: 'restored' })
      expect(digest(into)).toEqual(digest(from))
      expect((await cache.inspect(key))?.compressedBytes).toBeGreaterThan(9 << 20)
      expect(await cache.prune({ key })).toMatchObject({ outcome: 'pruned' })
    }
  })

  test('a pointer without a length that never ends is refused', async ({ memory }) => {
    server.intercept = ({ url }, response) => {
      if (!url!.includes('current.json')) return false
      response.writeHead(200, { etag: '"e"', 'last-modified': new Date(0).toUTCString() })
      const more = (): void => void (response.destroyed || response.write(' '.repeat(1024), () => setImmediate(more)))
      more()
      return true
    }
    expect(await openCache(server.store()).restore({ key: 'site', into: join(memory, 'into') })).toMatchObject({
      outcome: 'corrupt',
      reason: expect.stringContaining('4096'),
    })
  })

  test('a pointer that breaks off is read again', async ({ memory }) => {
    const cache = openCache(server.store('broken'))
    await cache.snapshot({ key: 'site', from: makeTree(join(memory, 'tree'), 3) })
    for (const what of ['short-body', 'reset-mid-body'] as const) {
      server.fault = { when: ({ method, path }) => method === 'GET' && path.includes('current.json'), what, times: 1 }
      const into = join(memory, what)
      expect(await cache.restore({ key: 'site', into, ...budget }), what).toMatchObject({ outcome: 'restored' })
    }
  })
})

describe('what a response says about the bucket', () => {
  const scope = ({ headers }: IncomingMessage): string =>
    /Credential=[^/]+\/\d+\/([^/]+)\//.exec(headers.authorization ?? '')?.[1] ?? ''

  test.for([
    [400, 'AuthorizationHeaderMalformed'],
    [301, 'PermanentRedirect'],
    [307, 'TemporaryRedirect'],
    [403, 'SignatureDoesNotMatch'],
  ] as const)(
    '%i %s: a region in the body is followed, once',
    { timeout: 60_000 },
    async ([status, code], { memory }) => {
      let wrong = 0
      server.intercept = (request, response) => {
        if (scope(request) === 'eu-central-1') return false
        wrong += 1
        return fail(response, status, code, '<Region>eu-central-1</Region>')
      }
      for (const key of ['site', 'one.tar.zst']) {
        wrong = 0
        const cache = openCache(server.store(`region-${status}`))
        const from = makeTree(join(memory, `tree-${key}`), 3)
        // The first request for one object is a HEAD, whose answer names no region.
        expect(await cache.inspect(key, budget)).toBeNull()
        expect(await cache.snapshot({ key, from, ...budget })).toMatchObject({ outcome: 'uploaded' })
        expect(await cache.restore({ key, into: join(memory, `into-${key}`), ...budget })).toMatchObject({
          outcome: 'restored',
        })
        expect(wrong).toBe(key === 'site' ? 1 : 2)
      }
    },
  )

  test('a text that is not a region is not used', async ({ memory }) => {
    for (const region of ['evil.test/', 'us-east-1', 'A', '']) {
      server.requests.length = 0
      server.intercept = (_, response) =>
        fail(response, 400, 'AuthorizationHeaderMalformed', `<Region>${region}</Region>`)
      const told = await openCache(server.store()).restore({ key: 'site', into: join(memory, 'into'), ...budget })
      expect(told).toMatchObject({
        outcome: 'unavailable',
        reason: expect.stringContaining('AuthorizationHeaderMalformed'),
      })
      expect(told.reason).not.toContain('evil')
      expect(server.requests).toHaveLength(1)
    }
  })

  test('NoSuchBucket is reported by every call, with both kinds of keys', async ({ memory }) => {
    server.intercept = (_, response) => fail(response, 404, 'NoSuchBucket')
    const tree = makeTree(join(memory, 'tree'), 3)
    for (const key of ['site', 'one.tar.zst']) {
      const told = await callAll(openCache(server.store()), key, tree, join(memory, 'into'))
      for (const [verb, text] of Object.entries(told))
        expect(text, `${verb} ${key}`).toMatch(/^(rejected )?unavailable .*NoSuchBucket/)
    }
  })
})
