/** serveFetch() in threads and processes: what `coordinator.fetch()` and `coordinator.attach()` carry, and what fails. */

import { once } from 'node:events'
import http, { type IncomingMessage } from 'node:http'
import { connect } from 'node:net'
import { describe, expect } from 'vitest'
import { child, publishFetchWorker, publishWorker, thread } from '../support/coordinators.js'
import { ask, raw, test, textOf } from '../support/served.js'
import { publish } from '../support/stores.js'

/** Answers with what it got. */
const MIRROR = `
const { pathname } = new URL(request.url)
if (pathname === '/mirror')
  return Response.json(
    { url: request.url, method: request.method, headers: [...request.headers], body: await request.text(), ...context, signal: undefined, version },
    { status: 201, statusText: 'Mirrored', headers: [['set-cookie', 'a=1'], ['set-cookie', 'b=2; Path=/']] },
  )
if (pathname === '/echo') return new Response(request.body)
if (pathname === '/empty') return new Response(null, { status: Number(new URL(request.url).searchParams.get('status')), headers: { etag: '"1"' } })
if (pathname === '/redirect') return Response.redirect('http://elsewhere.example/', 307)
if (pathname === '/throw') throw Object.assign(new RangeError('on purpose'), { code: 'ERR_MINE' })
if (pathname === '/nothing') return undefined
if (pathname === '/used') { const response = new Response('x'); await response.text(); return response }
if (pathname === '/exit') process.exit(3)
if (pathname === '/head') return new Response(new ReadableStream(), { status: 201 })
if (pathname === '/never') return await new Promise(() => {})
if (pathname === '/cut') return new Response(new ReadableStream({ async pull(controller) {
  if (this.begun) throw new Error('the source broke')
  this.begun = true
  controller.enqueue(new Uint8Array(10))
  await new Promise((resolve) => setTimeout(resolve, 20))
} }))
return new Response(version)`

describe.each([
  ['threads', thread],
  ['processes', child],
] as const)('serveFetch() in %s', (_name, start) => {
  test('head and body cross both ways, with several cookies', async ({ store, open }) => {
    await publishFetchWorker(store, 'one', MIRROR)
    const coordinator = open(start)
    const request = new Request('http://host.example:81/mirror?x=1', {
      method: 'POST',
      headers: { 'x-mine': 'ä'.normalize(), accept: 'text/plain' },
      body: 'some text',
    })
    const response = await coordinator.fetch(request)
    expect([response.status, response.statusText]).toEqual([201, 'Mirrored'])
    expect(response.headers.getSetCookie()).toEqual(['a=1', 'b=2; Path=/'])
    expect(await response.json()).toMatchObject({
      url: 'http://host.example:81/mirror?x=1',
      method: 'POST',
      body: 'some text',
      generation: 1,
      incarnation: 1,
      version: 'one',
    })
  })

  test('a body of 8 MiB is echoed while it is sent', async ({ store, open, serve }) => {
    await publishFetchWorker(store, 'one', MIRROR)
    const url = await serve((server) => open(start).attach(server))
    const part = new Uint8Array(64 * 1024).fill(7)
    let sent = 0
    const body = new ReadableStream({
      pull(controller) {
        if (sent === 128) return controller.close()
        sent += 1
        controller.enqueue(part)
      },
    })
    const response = await fetch(new URL('/echo', url), { method: 'POST', body, duplex: 'half' } as RequestInit)
    let got = 0
    for await (const chunk of response.body as unknown as AsyncIterable<Uint8Array>) {
      expect(chunk.every((byte) => byte === 7)).toBe(true)
      got += chunk.byteLength
    }
    expect(got).toBe(128 * part.byteLength)
  })

  test('the answers of node:http: HEAD, 204, 304, redirects', async ({ store, open, serve }) => {
    await publishFetchWorker(store, 'one', MIRROR)
    const url = await serve((server) => open(start).attach(server))
    const head = await fetch(url, { method: 'HEAD' })
    expect([head.status, await head.text()]).toEqual([200, ''])
    for (const status of [204, 304]) {
      const { response, body } = await ask(url, { path: `/empty?status=${status}` })
      expect([response.statusCode, response.headers.etag, response.headers['transfer-encoding'], body]).toEqual([
        status,
        '"1"',
        undefined,
        '',
      ])
    }
    const redirect = await fetch(new URL('/redirect', url), { redirect: 'manual' })
    expect([redirect.status, redirect.headers.get('location')]).toEqual([307, 'http://elsewhere.example/'])
  })

  test('the head of an answer does not wait for its body', async ({ store, open, serve }) => {
    await publishFetchWorker(store, 'one', MIRROR)
    const url = await serve((server) => open(start).attach(server))
    const request = http.get(new URL('/head', url), { agent: false })
    const [response] = (await once(request, 'response')) as [IncomingMessage]
    expect(response.statusCode).toBe(201)
    request.destroy()
  })

  test('Host is kept; forwarding headers are replaced', async ({ store, open, serve }) => {
    await publishFetchWorker(store, 'one', MIRROR)
    const url = await serve((server) => open(start).attach(server))
    const headers = {
      host: 'name.example',
      'x-forwarded-for': '6.6.6.6',
      forwarded: 'for=6.6.6.6',
      'x-real-ip': '6.6.6.6',
    }
    const { body } = await ask(url, { path: '/mirror', headers })
    const mirrored = JSON.parse(body)
    expect(mirrored.url).toBe('http://name.example/mirror')
    const got = Object.fromEntries(mirrored.headers)
    expect(got).toMatchObject({
      host: 'name.example',
      'x-forwarded-for': '127.0.0.1',
      'x-forwarded-host': 'name.example',
      'x-forwarded-proto': 'http',
      'x-forwarded-port': url.port,
    })
    expect(body).not.toContain('6.6.6.6')
  })

  test('one bad handler call fails alone, with the stack of the worker', async ({ store, open, serve }) => {
    await publishFetchWorker(store, 'one', MIRROR)
    const coordinator = open(start)
    const url = await serve((server) => coordinator.attach(server))
    const neighbour = fetch(new URL('/echo', url), { method: 'POST', body: 'x' })
    for (const [path, text] of [
      ['/throw', 'RangeError: on purpose'],
      ['/nothing', 'the handler of serveFetch() returned undefined. Expected a Response.'],
      ['/used', 'a response whose body was read already'],
    ] as const) {
      const response = await fetch(new URL(path, url), { headers: { accept: 'text/html' } })
      expect([path, response.status, response.headers.get('content-type')]).toEqual([
        path,
        502,
        'text/html; charset=utf-8',
      ])
      const page = await response.text()
      expect(page).toContain(text)
      if (path === '/throw') expect(page).toContain('worker.mjs:')
    }
    const plain = await coordinator.fetch(new Request('http://x/throw'), { development: false })
    expect([plain.status, plain.headers.get('x-warmswap-error'), await plain.text()]).toEqual([
      502,
      'handler',
      '502 Bad Gateway\n',
    ])
    expect(await (await neighbour).text()).toBe('x')
    expect(coordinator.status()).toMatchObject({ state: 'ready', incarnation: 1 })
  })

  test('a body that breaks after the head cuts the connection', async ({ store, open, serve }) => {
    await publishFetchWorker(store, 'one', MIRROR)
    const coordinator = open(start)
    const url = await serve((server) => coordinator.attach(server))
    const response = await fetch(new URL('/cut', url))
    expect(response.status).toBe(200)
    await expect(response.text()).rejects.toThrow()
    const direct = await coordinator.fetch(new Request('http://x/cut'))
    await expect(direct.text()).rejects.toThrow('the source broke')
  })

  test('a worker that ends is one 502 with its reason; the next request gets a new worker', async ({
    store,
    open,
    serve,
  }) => {
    await publishFetchWorker(store, 'one', MIRROR)
    const coordinator = open(start)
    const url = await serve((server) => coordinator.attach(server, { replay: 'safe' }))
    const response = await fetch(new URL('/exit', url), { method: 'POST', body: 'x' })
    expect([response.status, response.headers.get('x-warmswap-error')]).toEqual([502, 'ERR_WORKER_EXITED'])
    expect(await response.text()).toContain('ended while it had this request')
    expect(await (await fetch(url)).text()).toBe('one')
    expect(coordinator.status().incarnation).toBe(2)
  })

  test('a request that no worker answers in time is a 504; one that no worker has is a 503', async ({
    store,
    open,
  }) => {
    await publishFetchWorker(store, 'one', MIRROR)
    const coordinator = open(start)
    await (await coordinator.fetch(new Request('http://x/'))).text()
    const late = await coordinator.fetch(new Request('http://x/never'), { timeoutMs: 50 })
    expect([late.status, late.headers.get('x-warmswap-error')]).toEqual([504, 'ERR_TIMEOUT'])
    const starting = open(() => new Promise(() => {}))
    const waiting = await starting.fetch(new Request('http://x/'), { timeoutMs: 50 })
    expect([waiting.status, waiting.headers.get('retry-after')]).toEqual([503, '1'])
  })

  test('a client that disconnects aborts request.signal in the worker, before and after the head', async ({
    store,
    open,
    serve,
  }) => {
    await publishFetchWorker(
      store,
      'one',
      `
      if (request.url.endsWith('/seen')) { await seen.promise; seen = Promise.withResolvers?.() ?? deferred(); return new Response('seen') }
      request.signal.addEventListener('abort', () => seen.resolve())
      started.resolve()
      if (request.url.endsWith('/started')) { return new Response('started') }
      if (request.url.endsWith('/before')) await new Promise(() => {})
      return new Response(new ReadableStream({ start(controller) { controller.enqueue(new Uint8Array(1)) } }))`,
      `const deferred = () => { let resolve; const promise = new Promise((yes) => (resolve = yes)); return { promise, resolve } }
      let seen = deferred(); let started = deferred()`,
    )
    const coordinator = open(start)
    const url = await serve((server) => coordinator.attach(server))
    const leaving = new AbortController()
    const pending = fetch(new URL('/before', url), { signal: leaving.signal })
    pending.catch(() => {})
    // The worker handles messages in order: this one follows the request above, which it has begun then.
    await expect.poll(() => coordinator.status().state, { timeout: 20_000 }).toBe('ready')
    await (await fetch(new URL('/started', url))).text()
    leaving.abort()
    await expect(pending).rejects.toThrow()
    expect(await (await fetch(new URL('/seen', url))).text()).toBe('seen')
    const streaming = new AbortController()
    const response = await fetch(new URL('/after', url), { signal: streaming.signal })
    await (response.body as ReadableStream).getReader().read()
    streaming.abort()
    expect(await (await fetch(new URL('/seen', url))).text()).toBe('seen')
  })

  test('a body is read no faster than the worker reads it', async ({ store, open }) => {
    await publishFetchWorker(
      store,
      'one',
      `if (request.method === 'GET') { gate(); return new Response('open') }
      const reader = request.body.getReader(); await reader.read(); await opened
      let bytes = 0; for (;;) { const { done, value } = await reader.read(); if (done) return new Response(String(bytes)); bytes += value.byteLength }`,
      'let gate; const opened = new Promise((resolve) => (gate = resolve))',
    )
    const coordinator = open(start)
    let pulls = 0
    const body = new ReadableStream(
      {
        pull(controller) {
          pulls += 1
          if (pulls > 200) controller.close()
          else controller.enqueue(new Uint8Array(1000))
        },
      },
      { highWaterMark: 0 },
    )
    const posted = coordinator.fetch(new Request('http://x/', { method: 'POST', body, duplex: 'half' } as RequestInit))
    await expect.poll(() => pulls, { timeout: 20_000 }).toBeGreaterThan(1)
    const before = pulls
    // 16 parts and one that the handler holds.
    expect(before).toBeLessThanOrEqual(17)
    await (await coordinator.fetch(new Request('http://x/'))).text()
    expect(await (await posted).text()).toBe('199000')
  })
})

test('Expect: 100-continue: a handler that reads the body lets the client send it; one that does not, refuses it', async ({
  store,
  open,
  serve,
}) => {
  await publishFetchWorker(
    store,
    'one',
    "if (request.url.endsWith('/no')) return new Response('too large', { status: 413 }); return new Response(await request.text())",
  )
  const url = await serve((server) => open(thread).attach(server))
  const expectations = async (path: string): Promise<{ continued: boolean; status?: number; body: string }> => {
    const request = http.request(new URL(path, url), { method: 'POST', headers: { expect: '100-continue' } })
    let continued = false
    request.on('continue', () => {
      continued = true
      request.end('the body')
    })
    request.flushHeaders()
    const [response] = (await once(request, 'response')) as [IncomingMessage]
    const body = await textOf(response)
    request.destroy()
    return { continued, status: response.statusCode as number, body }
  }
  expect(await expectations('/yes')).toEqual({ continued: true, status: 200, body: 'the body' })
  expect(await expectations('/no')).toEqual({ continued: false, status: 413, body: 'too large' })
})

test('an upgrade without a worker that listens is a 501, and other requests go on', async ({ store, open, serve }) => {
  await publishFetchWorker(store, 'one', MIRROR)
  const url = await serve((server) => open(thread).attach(server))
  const answer = await raw(
    url,
    'GET / HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: websocket\r\nsec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==\r\nsec-websocket-version: 13\r\n\r\n',
  )
  expect(answer).toMatch(/^HTTP\/1\.1 501 /)
  expect(answer).toContain('listen: true')
  expect(await (await fetch(url)).text()).toBe('one')
})

test('bytes that are no request, huge headers and impossible hosts are refused; half a body aborts its request alone', async ({
  store,
  open,
  serve,
}) => {
  await publishFetchWorker(store, 'one', MIRROR)
  const url = await serve((server) => open(thread).attach(server))
  expect(await raw(url, 'NONSENSE\r\n\r\n')).toMatch(/^HTTP\/1\.1 400 /)
  expect(await raw(url, `GET / HTTP/1.1\r\nhost: x\r\nx: ${'y'.repeat(40_000)}\r\n\r\n`)).toMatch(/^HTTP\/1\.1 431 /)
  expect(await raw(url, 'GET / HTTP/1.1\r\nhost: a b\r\nconnection: close\r\n\r\n')).toMatch(/^HTTP\/1\.1 (400|200) /)
  expect(await raw(url, 'TRACE / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n')).toMatch(/^HTTP\/1\.1 501 /)
  const half = connect(Number(url.port), '127.0.0.1')
  half.write('POST /echo HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\nhalf')
  await once(half, 'data')
  half.destroy()
  expect(await (await fetch(url)).text()).toBe('one')
})

test('a worker that posts a malformed answer of its own is a 502', async ({ store, open }) => {
  await publishFetchWorker(
    store,
    'one',
    "return new Response('x')",
    `import { parentPort } from 'node:worker_threads'
    const post = parentPort.postMessage.bind(parentPort)
    parentPort.postMessage = (message) => post(message.warmswap === 'reply' ? { ...message, value: { head: { status: 99, statusText: '', headers: [] }, body: null } } : message)`,
  )
  const response = await open(thread).fetch(new Request('http://x/'))
  expect([response.status, await response.text()]).toEqual([
    502,
    expect.stringContaining('malformed answer to an HTTP request: its status is 99'),
  ])
})

test('a worker that does not boot, a store without a generation and a worker without serveFetch() say so', async ({
  store,
  open,
}) => {
  const empty = await open(thread).fetch(new Request('http://x/'))
  expect([empty.status, empty.headers.get('x-warmswap-error')]).toEqual([503, 'ERR_NO_GENERATION'])
  await publish(store, { 'worker.mjs': "throw new Error('cannot boot')" })
  const broken = await open(thread).fetch(new Request('http://x/'))
  expect([broken.status, broken.headers.get('retry-after')]).toEqual([503, '1'])
  expect(await broken.text()).toMatch(/cannot boot[\s\S]*worker\.mjs:1/)
  await publishWorker(store, 'one', 'return version')
  const other = open(thread)
  const without = await other.fetch(new Request('http://x/'))
  expect([without.status, await without.text()]).toEqual([501, expect.stringContaining('does not call serveFetch()')])
  expect(await other.dispatch('x')).toBe('one')
})

test('an error of the last build is on the page while there is no generation', async ({ open }) => {
  const coordinator = open(thread)
  const failing = coordinator.build({ atLeast: coordinator.change() }, async () => {
    throw new Error('line 7 does not parse')
  })
  await expect(failing).rejects.toThrow('line 7')
  const response = await coordinator.fetch(new Request('http://x/', { headers: { accept: 'text/html' } }))
  expect([response.status, await response.text()]).toEqual([503, expect.stringContaining('line 7 does not parse')])
})

test('bad arguments are refused', async ({ open }) => {
  const coordinator = open(thread)
  const server = http.createServer()
  await expect(coordinator.fetch('http://x/' as never)).rejects.toMatchObject({ code: 'ERR_INVALID_ARGUMENT' })
  await expect(coordinator.fetch(new Request('http://x/'), { replay: 'always' as never })).rejects.toThrow(/replay/)
  expect(() => coordinator.attach({} as never)).toThrow(/server/)
  expect(() => coordinator.attach(server, { timeoutMs: -1 })).toThrow(/timeoutMs/)
  const detach = coordinator.attach(server)
  expect(() => coordinator.attach(server)).toThrow(/no coordinator is attached/)
  detach()
  expect(['request', 'checkContinue', 'upgrade', 'clientError'].map((name) => server.listenerCount(name))).toEqual([
    0, 0, 0, 0,
  ])
  const aborted = AbortSignal.abort(new Error('not any more'))
  await expect(coordinator.fetch(new Request('http://x/', { signal: aborted }))).rejects.toThrow('not any more')
})
