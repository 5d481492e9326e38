/** Where a message of HTTP ends, and whom it is for: answers whose length is wrong, hosts, interim answers, trailers, upgrades. */

import { once } from 'node:events'
import http, { type InformationEvent, type IncomingMessage } from 'node:http'
import http2 from 'node:http2'
import { connect } from 'node:net'
import { describe, expect } from 'vitest'
import { startProcess, startWorkerThread } from 'warmswap'
import { child, publishFetchWorker, type Start, thread } from '../support/coordinators.js'
import { publishServer, raw, test, textOf } from '../support/served.js'

const listening: Start = (context) => startProcess(context, 'server.mjs', { listen: true })
const listeningThread: Start = (context) => startWorkerThread(context, 'server.mjs', { listen: true })

const HANDLER = `
const parts = (count) => { let sent = 0; return new ReadableStream({ async pull(controller) {
  await new Promise((resolve) => setTimeout(resolve, 5))
  if (sent++ < count) controller.enqueue(new TextEncoder().encode('part' + sent)); else controller.close() } }) }
const { pathname } = new URL(request.url)
const length = (of) => ({ headers: { 'content-length': String(of) } })
if (pathname === '/short') return new Response('abc', length(5))
if (pathname === '/long') return new Response('abcdef', length(3))
if (pathname === '/none') return new Response(null, length(3))
if (pathname === '/short-parts') return new Response(parts(2), length(50))
if (pathname === '/long-parts') return new Response(parts(3), length(7))
if (pathname === '/parts') return new Response(parts(2), length(10))
if (pathname === '/unchanged') return new Response(null, { status: 304, ...length(9) })
if (pathname === '/proxied') return new Response('abc', { headers: { 'transfer-encoding': 'chunked', trailer: 'x-t', 'content-length': '3' } })
return new Response(request.method + ' ' + request.headers.get('host') + ' ' + (await request.text()))`

const ANSWER = `let body = ''
for await (const chunk of request) body += chunk
response.end([request.method, request.headers.host, body].join(' '))`

const get = (path: string, more = 'host: x\r\n', method = 'GET', version = '1.1'): string =>
  `${method} ${path} HTTP/${version}\r\n${more}\r\n`

describe.each([
  ['threads', thread],
  ['processes', child],
] as const)('answers of serveFetch() in %s', (_name, start) => {
  test('an answer ends where its head says, or is refused, or is cut', async ({ store, open, serve }) => {
    await publishFetchWorker(store, 'one', HANDLER)
    const url = await serve((server) => open(start).attach(server))
    const last = get('/', 'host: x\r\nconnection: close\r\n')
    for (const [path, bytes] of [
      ['/short', 'content-length 5, and a body of 3 bytes'],
      ['/long', 'content-length 3, and a body of 6 bytes'],
      ['/none', 'content-length 3, and a body of 0 bytes'],
    ] as const) {
      const answer = await raw(url, get(path) + last)
      expect(answer).toMatch(/^HTTP\/1\.1 502 [\s\S]*x-warmswap-error: ERR_INVALID_ARGUMENT/)
      expect(answer).toContain(bytes)
      expect(answer).toMatch(/HTTP\/1\.1 200 OK[\s\S]*GET x $/)
    }
    expect(await raw(url, get('/short-parts') + last)).toMatch(/content-length: 50[\s\S]*\r\n\r\n(part1)?(part2)?$/)
    expect(await raw(url, get('/long-parts') + last)).toMatch(/content-length: 7[\s\S]*\r\n\r\n(part1)?$/)
    expect(await raw(url, get('/parts') + last)).toMatch(/part1part2HTTP\/1\.1 200/)
    for (const request of [get('/unchanged'), get('/short', 'host: x\r\n', 'HEAD')])
      expect(await raw(url, request + last)).toMatch(/content-length: [59]\r\n[\s\S]*?\r\n\r\nHTTP\/1\.1 200/)
  })

  test('headers of another connection do not decide how an answer is sent', async ({ store, open, serve }) => {
    await publishFetchWorker(store, 'one', HANDLER)
    const url = await serve((server) => open(start).attach(server))
    for (const version of ['1.0', '1.1']) {
      const answer = await raw(url, get('/proxied', 'host: x\r\nconnection: close\r\n', 'GET', version))
      expect(answer).not.toMatch(/transfer-encoding|trailer/i)
      expect(answer).toMatch(/content-length: 3[\s\S]*\r\n\r\nabc$/)
    }
  })
})

describe.each([
  ['that calls serveFetch()', thread],
  ['that listens', listening],
] as const)('requests to a worker %s', (_name, start) => {
  test('one host: HTTP/1.0 needs none, and two are refused', async ({ store, open, serve }) => {
    await (start === thread ? publishFetchWorker(store, 'one', HANDLER) : publishServer(store, 'one', ANSWER))
    const url = await serve((server) => open(start).attach(server))
    expect(await raw(url, get('/', '', 'GET', '1.0'))).toMatch(/^HTTP\/1\.1 200 /)
    const two = 'host: x\r\nHOST: y\r\nconnection: close\r\n'
    expect(await raw(url, get('/', two))).toMatch(/^HTTP\/1\.1 400 [\s\S]*more than one Host/)
    const upgrade = 'host: x\r\nhost: y\r\nconnection: upgrade\r\nupgrade: websocket\r\n'
    expect(await raw(url, get('/', upgrade))).toMatch(/^HTTP\/1\.1 400 [\s\S]*more than one Host/)
  })

  test('an offer of HTTP/2 (curl --http2, Java) is answered as a request without it, body and all', async ({
    store,
    open,
    serve,
  }) => {
    await (start === thread ? publishFetchWorker(store, 'one', HANDLER) : publishServer(store, 'one', ANSWER))
    const url = await serve((server) => open(start).attach(server))
    const offer = 'host: x\r\nconnection: Upgrade, HTTP2-Settings\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABk\r\n'
    const last = get('/', 'host: x\r\nconnection: close\r\n')
    const answer = await raw(url, `${get('/', `${offer}content-length: 3\r\n`, 'POST')}abc${last}`)
    expect(answer).toMatch(/^HTTP\/1\.1 200 [\s\S]*POST x abcHTTP\/1\.1 200 [\s\S]*GET x $/)
  })
})

test('a server of node:http2 and a Request that is being read are refused', async ({ open }) => {
  const coordinator = open(thread)
  expect(() => coordinator.attach(http2.createServer() as never)).toThrow(/not of node:http2/)
  const request = new Request('http://x/', { method: 'POST', body: 'x' })
  request.body?.getReader()
  await expect(coordinator.fetch(request)).rejects.toMatchObject({ code: 'ERR_INVALID_ARGUMENT' })
})

test('trailers and early hints cross to and from a worker that listens', async ({ store, open, serve }) => {
  await publishServer(
    store,
    'one',
    `response.writeProcessing(); response.writeEarlyHints({ link: ['</a.css>; rel=preload', '</b.css>; rel=preload'] })
    request.resume(); await new Promise((resolve) => request.once('end', resolve))
    response.writeHead(200, { trailer: 'x-sum' }); response.write('body')
    response.addTrailers({ 'x-sum': JSON.stringify(request.trailers) }); response.end()`,
  )
  const url = await serve((server) => open(listening).attach(server))
  const request = http.request(url, { agent: false, method: 'POST', headers: { trailer: 'x-t' } })
  const interim: InformationEvent[] = []
  request.on('information', (information) => interim.push(information))
  request.write('body')
  request.addTrailers({ 'x-t': 'sent', 'x-forwarded-for': '6.6.6.6' })
  request.end()
  const [response] = (await once(request, 'response')) as [IncomingMessage]
  expect(await textOf(response)).toBe('body')
  expect(response.trailers).toEqual({ 'x-sum': '{"x-t":"sent"}' })
  expect(interim.map(({ statusCode, headers }) => [statusCode, headers.link])).toEqual([
    [102, undefined],
    [103, '</a.css>; rel=preload, </b.css>; rel=preload'],
  ])
  // HTTP/1.0 has neither.
  expect(await raw(url, get('/', 'host: x\r\n', 'GET', '1.0'))).toMatch(/^HTTP\/1\.1 200 [\s\S]*\r\n\r\nbody$/)
  const unsent = 'host: x\r\nconnection: close\r\ntrailer: x-t\r\n'
  expect(await raw(url, get('/', unsent))).toMatch(/^HTTP\/1\.1 102 [\s\S]*HTTP\/1\.1 200 /)
})

const UPGRADES = `server.on('upgrade', (request, socket) => {
  if (request.url === '/refuse') return socket.end('HTTP/1.1 403 Forbidden\\r\\ncontent-length: 2\\r\\n\\r\\nno')
  socket.write('HTTP/1.1 101 Switching Protocols\\r\\nconnection: upgrade\\r\\nupgrade: x\\r\\n\\r\\n')
  if (request.url === '/headers') return socket.end(JSON.stringify(request.rawHeaders))
  socket.end(Buffer.alloc(8 * 1024 * 1024))
})`
const upgrade = (path: string, more = ''): string =>
  get(path, `host: x\r\nconnection: upgrade\r\nupgrade: x\r\n${more}`)

test('an upgrade: a slow client gets the last byte, and each header crosses', async ({ store, open, serve }) => {
  await publishServer(store, 'one', ANSWER, { before: UPGRADES })
  const coordinator = open(listening)
  const url = await serve((server) => coordinator.attach(server))
  const headers = await raw(url, upgrade('/headers', 'constructor: one\r\nX-A: 1\r\nx-a: 2\r\n'))
  expect(headers).toContain('"constructor","one","X-A","1","x-a","2"')

  const slow = connect(Number(url.port), url.hostname).pause()
  slow.write(upgrade('/large'))
  let bytes = 0
  slow.on('readable', () => {
    // One read in each turn: the worker has closed its side long before the last one.
    const read = (): void => {
      const chunk = slow.read() as Buffer | null
      if (chunk === null) return
      bytes += chunk.length
      setImmediate(read)
    }
    setImmediate(read)
  })
  await once(slow, 'close')
  expect(bytes).toBeGreaterThan(8 * 1024 * 1024)
})

test('a client that keeps its side of a refused upgrade open does not hold up its worker', async ({
  store,
  open,
  serve,
}) => {
  await publishServer(store, 'one', ANSWER, { before: UPGRADES })
  const coordinator = open(listening, { drain: 'until-quiet' })
  const url = await serve((server) => coordinator.attach(server))
  const client = connect({ port: Number(url.port), host: url.hostname, allowHalfOpen: true })
  client.on('error', () => {})
  client.write(upgrade('/refuse'))
  let answer = ''
  client.on('data', (data) => (answer += String(data)))
  await once(client, 'end')
  expect(answer).toMatch(/^HTTP\/1\.1 403 [\s\S]*no$/)
  await coordinator.reboot({ observed: 1, reason: 'an edit' })
  await expect.poll(() => coordinator.status().state).toBe('ready')
  client.destroy()
})

const EARLY = `if (request.url === '/large') { response.writeHead(413); return response.end('too large') }
response.write('head'); for await (const chunk of request) response.write(chunk); response.end()`

test('an answer before the end of the body arrives, although the worker closes the connection', async ({
  store,
  open,
  serve,
}) => {
  await publishServer(store, 'one', EARLY)
  const url = await serve((server) => open(listeningThread).attach(server))
  const client = connect(Number(url.port), url.hostname).setEncoding('latin1')
  client.write('POST / HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 3\r\n\r\n')
  // The client sends its body after it has the first part of the answer.
  let answer = ''
  client.on('data', (data) => (answer += String(data)))
  await expect.poll(() => answer).toContain('head')
  client.write('abc')
  await once(client, 'close')
  expect(answer).toContain('abc')

  const size = 3_000_000
  const large = `POST /large HTTP/1.1\r\nhost: x\r\ncontent-length: ${size}\r\n\r\n${'x'.repeat(size)}`
  for (let count = 0; count < 10; count++)
    expect(await raw(url, large + get('/', 'host: x\r\nconnection: close\r\n'))).toMatch(
      /^HTTP\/1\.1 413 [\s\S]*too large[\s\S]*HTTP\/1\.1 200 /,
    )
})
