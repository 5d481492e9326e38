/** caches/credentials-stay-with-the-store: a redirect leads to the same host or to the region that the store names; credentials go nowhere else. */

import { once } from 'node:events'
import { writeFileSync } from 'node:fs'
import { type IncomingMessage, type Server, createServer } from 'node:http'
import { createServer as createTlsServer } from 'node:https'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect } from 'vitest'
import { type Cache, openCache } from 'warmswap'
import { makeCertificate } from '../support/certificates.js'
import { start } from '../support/children.js'
import { httpEndpoint } from '../support/endpoints.js'
import { restoreAwsEnvironment, setAwsEnvironment } from '../support/environment.js'
import { type FaultServer, startFaultServer } from '../support/fault-server.js'
import { startWithHosts } from '../support/mounts.js'
import { repository } from '../support/paths.js'
import { test } from '../support/temp.js'
import { digest, makeTree, noise } from '../support/trees.js'
import { isRoot } from '../support/users.js'

const STATUSES = [301, 302, 303, 307, 308]
const TOKEN = 'session token of the redirect test'
const budget = { deadlineMs: 10_000, attempts: 1 }

let server: FaultServer
/** What another host, and another port of the same one, were asked. */
const strangers: { server: Server; url: string }[] = []
const asked: IncomingMessage[] = []
beforeAll(async () => {
  server = await startFaultServer()
  for (const host of ['127.0.0.2', '127.0.0.1']) {
    // It responds to everything, so that a client that follows redirects would succeed.
    const stranger = createServer((request, response) => {
      asked.push(request)
      response
        .writeHead(200, { etag: '"e"', 'last-modified': new Date(0).toUTCString() })
        .end('<ListBucketResult><IsTruncated>false</IsTruncated></ListBucketResult>')
    }).listen(0, host)
    await once(stranger, 'listening')
    strangers.push({ server: stranger, url: `http://${host}:${(stranger.address() as AddressInfo).port}` })
  }
})
beforeEach(() => setAwsEnvironment())
afterEach(() => {
  server.intercept = undefined
  server.fault = undefined
  asked.length = 0
  restoreAwsEnvironment()
})
afterAll(async () => {
  for (const stranger of strangers) {
    stranger.server.closeAllConnections()
    stranger.server.close()
  }
  await server.stop()
})

const open = (prefix: string): Cache => openCache({ ...server.store(prefix), sessionToken: TOKEN })

/** Redirects what matches, as often as `times` says. */
function redirect(
  matches: (request: IncomingMessage) => boolean,
  status: number,
  to: (url: string) => string,
  times = Infinity,
): () => number {
  let count = 0
  server.intercept = (request, response) => {
    if (count >= times || !matches(request)) return false
    count += 1
    response.writeHead(status, { location: to(request.url!) }).end()
    return true
  }
  return () => count
}

type Told = { outcome: string; reason?: string }

/** One call for each kind of request that a store is sent. */
function calls(
  cache: Cache,
  tree: string,
  into: string,
): Record<string, [(request: IncomingMessage) => boolean, () => Promise<Told>]> {
  const is = (method: string) => (request: IncomingMessage) =>
    request.method === method && !request.url!.includes('list-type')
  const snapshot = (): Promise<Told> => {
    writeFileSync(join(tree, 'step'), String(Math.random()))
    return cache.snapshot({ key: 'site', from: tree, ...budget })
  }
  return {
    GET: [is('GET'), () => cache.restore({ key: 'site', into, ...budget })],
    HEAD: [is('HEAD'), () => cache.restore({ key: 'one.tar.zst', into, ...budget })],
    PUT: [is('PUT'), snapshot],
    LIST: [({ url }) => url!.includes('list-type'), () => cache.prune({ key: 'site', ...budget })],
    POST: [is('POST'), snapshot],
  }
}

describe('caches/credentials-stay-with-the-store: redirects', () => {
  test('another host or port gets no request, and the outcome names it', { timeout: 60_000 }, async ({ memory }) => {
    const cache = open('away')
    const tree = makeTree(join(memory, 'tree'), 3)
    // Large enough for parts, which are begun by a POST.
    writeFileSync(join(tree, 'noise'), noise(9 << 20))
    for (const key of ['site', 'one.tar.zst'])
      expect(await cache.snapshot({ key, from: tree })).toMatchObject({ outcome: 'uploaded' })
    for (const [kind, [matches, call]] of Object.entries(calls(cache, tree, join(memory, 'into')))) {
      for (const status of STATUSES) {
        for (const { url } of strangers) {
          const count = redirect(matches, status, (path) => url + path)
          const told = await call()
          expect(count(), `${kind} ${status}`).toBeGreaterThan(0)
          expect(told, `${kind} ${status} ${url}`).toMatchObject({
            outcome: 'unavailable',
            reason: expect.stringContaining(`'${url}'`),
          })
          expect(
            asked.map(({ method, headers }) => ({ method, headers })),
            `${kind} ${status} ${url}`,
          ).toEqual([])
          server.intercept = undefined
        }
      }
    }
  })

  test('the same host is followed with the same method and body, three times', { timeout: 60_000 }, async ({
    memory,
  }) => {
    const cache = open('home')
    const tree = makeTree(join(memory, 'tree'), 3)
    for (const key of ['site', 'one.tar.zst'])
      expect(await cache.snapshot({ key, from: tree })).toMatchObject({ outcome: 'uploaded' })
    const each = calls(cache, tree, join(memory, 'into'))
    for (const kind of ['GET', 'HEAD', 'PUT', 'LIST']) {
      const [matches, call] = each[kind]!
      for (const status of STATUSES) {
        const followed = redirect(matches, status, (path) => path, 3)
        const told = await call()
        if (kind === 'PUT' && status === 303) {
          // A GET instead of a PUT would be answered 200, and nothing would be written.
          expect(told).toMatchObject({ outcome: 'unavailable', reason: expect.stringContaining('303') })
          continue
        }
        expect(told.outcome, `${kind} ${status}: ${told.reason}`).toMatch(
          /^(restored|unchanged|uploaded|pruned|target-not-empty)$/,
        )
        expect(followed()).toBe(3)
        if (kind === 'PUT')
          expect(await cache.restore({ key: 'site', into: join(memory, 'seen'), mode: 'replace' })).toMatchObject({
            outcome: 'restored',
          })
        if (kind === 'PUT') expect(digest(join(memory, 'seen'))).toEqual(digest(tree))
        const circle = redirect(matches, status, (path) => path)
        expect(await call(), `${kind} ${status}`).toMatchObject({
          outcome: 'unavailable',
          reason: expect.stringContaining('more than 3 times'),
        })
        expect(circle()).toBeLessThan(10)
      }
    }
  })

  test('the seeded bug that follows redirects is detected', { timeout: 60_000 }, async ({ memory }) => {
    for (const mutant of ['', 'follow-redirects']) {
      asked.length = 0
      redirect(
        () => true,
        307,
        (path) => strangers[0]!.url + path,
      )
      const store = JSON.stringify({ ...server.store('mutant'), sessionToken: TOKEN })
      const child = start(
        process.execPath,
        [join(repository, '__test__/programs/caches-calls.js'), 'told', store, join(memory, 'into')],
        { testing: true, env: { WARMSWAP_MUTANT: mutant } },
      )
      await child.ended
      expect(child.lines.join('\n'), child.stderr()).toMatch(mutant === '' ? /^unavailable/ : /^corrupt/)
      expect(asked.filter(({ headers }) => headers['x-amz-security-token'] === TOKEN)).toHaveLength(
        mutant === '' ? 0 : 1,
      )
    }
  })

  test('https never becomes http', { timeout: 60_000 }, async ({ memory }) => {
    const { key, cert, file: certificate } = makeCertificate(memory, 'IP:127.0.0.1')
    const plain = strangers[1]!.url
    let requests = 0
    const tls = createTlsServer({ key, cert }, (request, response) => {
      requests += 1
      response.writeHead(307, { location: plain + request.url }).end()
    }).listen(0, '127.0.0.1')
    await once(tls, 'listening')
    const store = { ...server.store('tls'), endpoint: `https://127.0.0.1:${(tls.address() as AddressInfo).port}` }
    const child = start(
      process.execPath,
      [join(repository, '__test__/programs/caches-calls.js'), 'told', JSON.stringify(store), join(memory, 'into')],
      { env: { SSL_CERT_FILE: certificate } },
    )
    await child.ended
    tls.closeAllConnections()
    tls.close()
    expect(requests, child.stderr()).toBeGreaterThan(0)
    expect(child.lines.join('\n')).toMatch(/^unavailable .*is not encrypted/)
    expect(asked).toEqual([])
  })

  test('redirects of a credentials endpoint are not followed either', { timeout: 60_000 }, async ({ memory }) => {
    const agent = await httpEndpoint(
      (request, response) => void response.writeHead(302, { location: strangers[0]!.url + request.url }).end(),
    )
    const { accessKeyId: _, secretAccessKey: __, ...store } = server.store('agent')
    setAwsEnvironment({
      AWS_CONTAINER_CREDENTIALS_FULL_URI: `${agent.url}/credentials`,
      AWS_CONTAINER_AUTHORIZATION_TOKEN: TOKEN,
    })
    const told = await openCache(store).restore({ key: 'site', into: join(memory, 'into'), ...budget })
    await agent.stop()
    expect(told).toMatchObject({
      ok: false,
      stage: 'credentials',
      reason: expect.stringContaining(`'${strangers[0]!.url}'`),
    })
    expect(asked).toEqual([])
  })
})

describe('caches/credentials-stay-with-the-store: the region that the store names', () => {
  const scope = ({ headers }: IncomingMessage): string =>
    /Credential=[^/]+\/\d+\/([^/]+)\//.exec(headers.authorization ?? '')?.[1] ?? ''

  test.for([
    [301, undefined],
    [307, undefined],
    [400, undefined],
    [301, 'elsewhere'],
  ] as const)(
    'status %i: the operation is signed again, for the same host',
    { timeout: 60_000 },
    async ([status, elsewhere], { memory }) => {
      const cache = open(`region-${status}-${elsewhere}`)
      const tree = makeTree(join(memory, 'tree'), 3)
      writeFileSync(join(tree, 'noise'), noise(9 << 20))
      const wrong: string[] = []
      server.intercept = (request, response) => {
        if (scope(request) === 'eu-west-1') return false
        wrong.push(scope(request))
        response
          .writeHead(status, {
            'x-amz-bucket-region': 'eu-west-1',
            ...(elsewhere === undefined ? {} : { location: strangers[0]!.url }),
          })
          .end()
        return true
      }
      expect(await cache.snapshot({ key: 'site', from: tree, ...budget })).toMatchObject({ outcome: 'uploaded' })
      expect(await cache.restore({ key: 'site', into: join(memory, 'into'), ...budget })).toMatchObject({
        outcome: 'restored',
      })
      expect(digest(join(memory, 'into'))).toEqual(digest(tree))
      expect(await cache.prune({ key: 'site', ...budget })).toMatchObject({ outcome: 'pruned' })
      expect(wrong, 'the region is remembered').toEqual(['us-east-1'])
      expect(asked).toEqual([])
    },
  )

  test('a store that names another region each time is reported, not followed', async ({ memory }) => {
    let count = 0
    server.intercept = (_, response) => {
      response.writeHead(301, { 'x-amz-bucket-region': `region-${++count}` }).end()
      return true
    }
    const told = await open('regions').restore({ key: 'site', into: join(memory, 'into'), ...budget })
    expect(told).toMatchObject({ outcome: 'unavailable', reason: expect.stringContaining("region 'region-2'") })
    expect(count).toBe(2)
  })

  test.skipIf(!isRoot)('the host of the region is the one of the endpoint', { timeout: 60_000 }, async ({ memory }) => {
    const hosts = join(memory, 'hosts')
    writeFileSync(
      hosts,
      '127.0.0.1 s3.us-east-1.store.test s3.eu-west-1.store.test\n127.0.0.2 s3.eu-west-1.other.test\n',
    )
    const port = new URL(server.endpoint).port
    const store = { ...server.store('hosts'), endpoint: `http://s3.us-east-1.store.test:${port}` }
    const restore = async (location: string): Promise<string> => {
      server.intercept = (request, response) => {
        if (request.headers.host === `s3.eu-west-1.store.test:${port}` && scope(request) === 'eu-west-1') return false
        response.writeHead(307, { location }).end()
        return true
      }
      const program = join(repository, '__test__/programs/caches-calls.js')
      const child = startWithHosts(hosts, program, 'told', JSON.stringify(store), join(memory, 'into'))
      await child.ended
      return child.lines.join('\n') + child.stderr()
    }
    await openCache(server.store('hosts')).snapshot({ key: 'site', from: makeTree(join(memory, 'tree')) })
    expect(await restore(`http://s3.eu-west-1.store.test:${port}/bucket`)).toMatch(/^restored/)
    expect(await restore(`http://s3.eu-west-1.other.test:${port}/bucket`)).toMatch(
      /^unavailable .*'http:\/\/s3\.eu-west-1\.other\.test/,
    )
  })

  test.runIf(isRoot)('an endpoint with a host in another script is its host in ASCII', async ({ memory }) => {
    const hosts = join(memory, 'hosts')
    writeFileSync(hosts, '127.0.0.1 xn--bcher-kva.store.test\n')
    const port = new URL(server.endpoint).port
    const named = new Set<string | undefined>()
    server.intercept = (request) => {
      named.add(request.headers.host)
      return false
    }
    await openCache(server.store('scripts')).snapshot({ key: 'site', from: makeTree(join(memory, 'tree')) })
    const restore = async (store: object, into: string): Promise<string> => {
      const program = join(repository, '__test__/programs/caches-calls.js')
      const child = startWithHosts(hosts, program, 'told', JSON.stringify(store), join(memory, into))
      await child.ended
      return child.lines.join('\n') + child.stderr()
    }
    for (const [index, host] of ['bücher.store.test', 'BÜCHER。store.test', 'xn--bcher-kva.store.test'].entries()) {
      named.clear()
      const store = { ...server.store('scripts'), endpoint: `http://${host}:${port}` }
      expect(await restore(store, `into-${index}`), host).toMatch(/^restored/)
      expect([...named], host).toEqual([`xn--bcher-kva.store.test:${port}`])
    }
    // Credentials, and a host that is none.
    for (const address of [`http://user:secret@bücher.store.test:${port}`, 'http://bü cher.store.test'])
      expect(() => openCache({ ...server.store('scripts'), endpoint: address })).toThrow(/Invalid store\.endpoint/)
    // The addon reads the environment itself.
    setAwsEnvironment({ AWS_ENDPOINT_URL: `http://bücher.store.test:${port}` })
    const { endpoint: _, ...unnamed } = server.store('scripts')
    expect(() => openCache({ ...unnamed, region: 'us-east-1' })).toThrow(/AWS_ENDPOINT_URL.*'xn--'/)
  })
})
