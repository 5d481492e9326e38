/** Workers that listen: proxied HTTP, streams and upgrades; whose the listener is; what fails. */

import { type EventEmitter, once } from 'node:events'
import { appendFileSync, existsSync, readFileSync, writeFileSync } from 'node:fs'
import http, { createServer } from 'node:http'
import { createRequire } from 'node:module'
import { type AddressInfo, connect, type Socket } from 'node:net'
import { join } from 'node:path'
import { describe, expect } from 'vitest'
import { type ProcessHandle, startProcess, startWorkerThread } from 'warmswap'
import type { Start } from '../support/coordinators.js'
import { repository } from '../support/paths.js'
import { ask, publishServer, raw, test } from '../support/served.js'
import { publish } from '../support/stores.js'

const { WebSocket } = createRequire(import.meta.url)('ws') as { WebSocket: new (url: string) => WebSocketClient }

/** What the tests use of it. */
interface WebSocketClient extends EventEmitter {
  send(text: string): void
  close(): void
}

const child: Start = (context) => startProcess(context, 'server.mjs', { listen: true })
const thread: Start = (context) => startWorkerThread(context, 'server.mjs', { listen: true })

const MIRROR = `
const { url, method, headers } = request
if (url === '/stream') { response.write('first'); return }
if (url === '/head') return response.flushHeaders()
let body = ''; for await (const chunk of request) body += chunk
response.writeHead(201, 'Mirrored', { 'set-cookie': ['a=1', 'b=2'], 'x-version': version })
response.end(JSON.stringify({ url, method, headers, body }))`

/** Echoes messages, with the version in front. */
const SOCKETS = `import { createRequire } from 'node:module'
const { WebSocketServer } = createRequire(${JSON.stringify(join(repository, 'package.json'))})('ws')
const sockets = new WebSocketServer({ noServer: true })
server.on('upgrade', (request, socket, head) => {
  if (request.url === '/refuse') return socket.end('HTTP/1.1 403 Forbidden\\r\\ncontent-length: 2\\r\\nx-why: no\\r\\n\\r\\nno')
  sockets.handleUpgrade(request, socket, head, (client) => client.on('message', (data) => client.send(version + ' ' + data)))
})`

describe.each([
  ['threads', thread],
  ['processes', child],
] as const)('servers in %s', (_name, start) => {
  test('heads, bodies and cookies cross; Host is kept, and forwarding headers are replaced', async ({
    store,
    open,
    serve,
  }) => {
    await publishServer(store, 'one', MIRROR)
    const coordinator = open(start)
    const url = await serve((server) => coordinator.attach(server))
    const headers = { host: 'name.example', 'x-forwarded-for': '6.6.6.6', forwarded: 'for=6.6.6.6' }
    const { response, body } = await ask(url, { path: '/x?y=1', method: 'PUT', headers }, 'the body')
    expect([response.statusCode, response.statusMessage, response.headers['set-cookie']]).toEqual([
      201,
      'Mirrored',
      ['a=1', 'b=2'],
    ])
    expect(JSON.parse(body)).toMatchObject({
      url: '/x?y=1',
      method: 'PUT',
      body: 'the body',
      headers: { host: 'name.example', 'x-forwarded-for': '127.0.0.1', 'x-forwarded-host': 'name.example' },
    })
    expect(body).not.toContain('6.6.6.6')
    const fetched = await coordinator.fetch(new Request('http://name.example:7/z', { method: 'POST', body: 'b' }))
    expect(fetched.headers.getSetCookie()).toEqual(['a=1', 'b=2'])
    expect(await fetched.json()).toMatchObject({
      url: '/z',
      method: 'POST',
      body: 'b',
      headers: { host: 'name.example:7' },
    })
  })

  test('the head of an answer does not wait for its body', async ({ store, open, serve }) => {
    await publishServer(store, 'one', MIRROR)
    const url = await serve((server) => open(start).attach(server))
    const request = http.get(new URL('/head', url), { agent: false })
    const [response] = (await once(request, 'response')) as [http.IncomingMessage]
    expect(response.statusCode).toBe(200)
    request.destroy()
  })

  test('WebSockets reach the worker; an upgrade that it refuses is refused', async ({ store, open, serve }) => {
    await publishServer(store, 'one', MIRROR, { before: SOCKETS })
    const url = await serve((server) => open(start).attach(server))
    const socket = new WebSocket(`ws://${url.host}/`)
    await once(socket, 'open')
    socket.send('hello')
    expect(String((await once(socket, 'message'))[0])).toBe('one hello')
    socket.close()
    await once(socket, 'close')
    const head = 'GET /refuse HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n'
    expect(await raw(url, head)).toMatch(/^HTTP\/1\.1 403 Forbidden[\s\S]*x-why: no[\s\S]*no$/)
  })

  test('a reload: the drain waits for sockets and streams; then they are cut, a WebSocket with 1012', async ({
    store,
    open,
    serve,
  }) => {
    await publishServer(store, 'one', MIRROR, { before: SOCKETS })
    const coordinator = open(start, { drainMs: 1_000 })
    const url = await serve((server) => coordinator.attach(server))
    const socket = new WebSocket(`ws://${url.host}/`)
    await once(socket, 'open')
    const stream = await fetch(new URL('/stream', url))
    await publishServer(store, 'two', MIRROR, { before: SOCKETS })
    await coordinator.reboot({ observed: 1, reason: 'an edit' })
    expect((await ask(url, { path: '/' })).response.headers['x-version']).toBe('two')
    socket.send('still there')
    expect(String((await once(socket, 'message'))[0])).toBe('one still there')
    const closed = once(socket, 'close')
    await expect(stream.text()).rejects.toThrow()
    const [code, reason] = await closed
    expect([code, String(reason)]).toEqual([1012, 'the server was replaced'])
    await expect.poll(() => coordinator.status().state, { timeout: 20_000 }).toBe('ready')
  })
})

test('headers of one connection are not passed on, and an answer does not wait for the rest of a body', async ({
  store,
  open,
  serve,
}) => {
  await publishServer(
    store,
    'one',
    `response.writeHead(413, { connection: 'x-mine', 'x-mine': 'no', 'x-yours': 'yes', 'x-seen': JSON.stringify(request.headers) })
    response.end('too large')`,
  )
  const url = await serve((server) => open(thread).attach(server))
  const size = 4 * 2 ** 20
  const head = `POST / HTTP/1.1\r\nhost: x\r\nconnection: x-hop, keep-alive\r\nx-hop: no\r\nX-Kept: yes\r\ncontent-length: ${size}\r\n\r\n`
  const next = 'GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n'
  const answer = await raw(url, `${head}${'x'.repeat(size)}${next}`)
  const [first = '', second = ''] = answer.split('too large')
  expect(first).toMatch(/^HTTP\/1\.1 413 [\s\S]*x-yours: yes/)
  expect(first).not.toMatch(/x-mine/)
  expect(first).toMatch(/"x-kept":"yes"/)
  expect(first).not.toMatch(/x-hop|"expect"/)
  // The same connection of the client is used again.
  expect(second).toMatch(/^HTTP\/1\.1 413 /m)
})

test('a program that knows only PORT is proxied, and a Python server too', async ({ store, open, serve }) => {
  await publishServer(store, 'one', MIRROR, { on: 'process.env.PORT' })
  const url = await serve((server) => open(child).attach(server))
  expect((await ask(url, { path: '/' })).response.headers['x-version']).toBe('one')
  await publish(store, {
    'server.py':
      "import http.server, os\nclass H(http.server.BaseHTTPRequestHandler):\n  def do_GET(self):\n    self.send_response(200); self.end_headers(); self.wfile.write(b'from python')\nhttp.server.HTTPServer(('127.0.0.1', int(os.environ['PORT'])), H).serve_forever()\n",
  })
  const python = open((context) =>
    startProcess(context, 'server.py', { listen: true, execPath: 'python3', execArgv: [], outputPrefix: '[py] ' }),
  )
  const answer = await python.fetch(new Request('http://x/'))
  expect([answer.status, await answer.text()]).toEqual([200, 'from python'])
})

test.runIf(process.platform === 'linux')(
  'a program that listens on one address of the machine alone is reached there',
  async ({ store, open }) => {
    // Next.js listens on the address of $HOSTNAME.
    for (const host of ['127.0.0.2', '::ffff:127.0.0.1', '::1']) {
      await publishServer(store, host, MIRROR, { on: `process.env.PORT, '${host}'` })
      const answer = await open(child).fetch(new Request('http://x/'))
      expect([answer.headers.get('x-version'), ((await answer.json()) as { url: string }).url]).toEqual([host, '/'])
    }
  },
)

test('each request other than GET and HEAD gets a connection of its own', async ({ store, open, serve }) => {
  await publishServer(store, 'one', 'request.resume(); response.end(String(request.socket.number))', {
    before: "let count = 0; server.on('connection', (socket) => (socket.number = ++count))",
  })
  const url = await serve((server) => open(child).attach(server))
  const connectionOf = async (method: string): Promise<string> => (await ask(url, { path: '/', method }, '')).body
  const first = await connectionOf('GET')
  expect(await connectionOf('GET')).toBe(first)
  const posts = [await connectionOf('POST'), await connectionOf('POST'), await connectionOf('DELETE')]
  expect(new Set([first, ...posts]).size).toBe(4)
  expect(await connectionOf('GET')).toBe(first)
})

test('a worker that does not listen in time, or listens elsewhere, is named with the way out', async ({
  store,
  open,
}) => {
  const start: Start = (context) => startProcess(context, 'server.mjs', { listen: true, readyTimeoutMs: 1_500 })
  await publish(store, { 'server.mjs': 'setInterval(() => {}, 1000)' })
  const silent = await open(start).fetch(new Request('http://x/'))
  expect([silent.status, silent.headers.get('x-warmswap-error')]).toEqual([503, 'ERR_NOT_READY'])
  expect(await silent.text()).toContain('listen on process.env.WARMSWAP_LISTEN (a socket path) or on process.env.PORT')
  await publishServer(store, 'one', MIRROR, { on: '0' })
  const elsewhere = await open(start).fetch(new Request('http://x/'))
  expect(await elsewhere.text()).toMatch(/It listens on port \d+ instead/)
})

test('a stranger that takes the port of a worker never gets a request', async ({ store, open, serve }) => {
  let strange = 0
  const stranger = createServer((_request, response) => {
    strange += 1
    response.end('from a stranger')
  })
  stranger.listen(0, '127.0.0.1')
  await once(stranger, 'listening')
  const { port } = stranger.address() as AddressInfo
  const start: Start = (context) =>
    startProcess(context, 'server.mjs', { listen: true, env: { PORT: String(port) }, readyTimeoutMs: 1_500 })
  await publish(store, { 'server.mjs': 'setInterval(() => {}, 1000)' })
  const before = await open(start).fetch(new Request('http://x/'))
  expect(await before.text()).toContain(`Another program listens on port ${port}`)
  stranger.close()
  await once(stranger, 'close')
  // The worker has the port first, and gives it up in the middle of its life.
  await publishServer(store, 'one', "response.end('mine', () => { server.close(); server.closeAllConnections() })", {
    on: 'process.env.PORT, "127.0.0.1"',
  })
  const url = await serve((server) => open(start).attach(server))
  expect((await ask(url, { path: '/' })).body).toBe('mine')
  await expect.poll(() => isFree(port), { timeout: 20_000 }).toBe(true)
  const second = stranger.listen(port, '127.0.0.1')
  await once(second, 'listening')
  const { response, body } = await ask(url, { path: '/' })
  expect([response.statusCode, response.headers['x-warmswap-error']]).toEqual([503, 'ERR_NOT_READY'])
  expect(body).toContain('accepts no connections')
  expect(strange).toBe(0)
  second.close()
})

test('a worker that closes its socket is a 503 that says so; a malformed answer is a 502', async ({
  store,
  open,
  serve,
}) => {
  await publishServer(
    store,
    'one',
    `if (request.url === '/close') { response.end('closing'); return void server.close() }
    if (request.url === '/bad') return void request.socket.end('HTTP/1.1 200 OK\\r\\nbad\\0header: x\\r\\n\\r\\n')
    if (request.url === '/gone') return void request.socket.destroy()
    response.end('fine')`,
  )
  const url = await serve((server) => open(child).attach(server))
  for (const path of ['/bad', '/gone']) {
    const { response, body } = await ask(url, { path, method: 'POST' }, 'x')
    expect([path, response.statusCode, body]).toEqual([
      path,
      502,
      expect.stringContaining('worker 1 broke off the connection before it had answered'),
    ])
  }
  expect((await ask(url, { path: '/' })).body).toBe('fine')
  expect((await ask(url, { path: '/close', method: 'POST' }, 'x')).body).toBe('closing')
  // The worker can close its socket a moment after its answer: it breaks off a connection of that moment.
  const post = () => ask(url, { path: '/', method: 'POST' }, 'x')
  await expect.poll(async () => (await post()).response.statusCode, { timeout: 20_000 }).toBe(503)
  expect((await post()).body).toContain('accepts no connections')
})

test('a request that had not begun when its worker was killed goes to the next one, body and all', async ({
  store,
  open,
  serve,
}) => {
  await publishServer(store, 'one', MIRROR)
  let first: ProcessHandle | undefined
  const coordinator = open(async (context) => {
    const handle = await startProcess(context, 'server.mjs', { listen: true })
    if (first) return handle
    first = handle
    // As if the worker were killed after the last request was answered and before it was noticed.
    const connect = async (): Promise<Socket> => {
      handle.process.kill('SIGKILL')
      throw new Error('connection refused')
    }
    return { ...handle, connect }
  })
  const url = await serve((server) => coordinator.attach(server))
  const { response, body } = await ask(url, { path: '/', method: 'POST' }, 'kept')
  expect([response.statusCode, JSON.parse(body).body, coordinator.status().incarnation]).toEqual([201, 'kept', 2])
})

test("replay: 'safe' sends a GET again, but not one whose head was sent, and no POST", async ({
  store,
  open,
  serve,
  disk,
}) => {
  const log = join(disk, 'log')
  writeFileSync(log, '')
  await publishServer(
    store,
    'one',
    `appendFileSync(${JSON.stringify(log)}, request.method + ' ' + request.url + '\\n')
    if (request.url === '/after') { response.write('part'); setTimeout(() => process.kill(process.pid, 'SIGKILL'), 50); return }
    if (request.url === '/before' && !existsSync(${JSON.stringify(join(disk, 'died'))})) { writeFileSync(${JSON.stringify(join(disk, 'died'))}, ''); process.kill(process.pid, 'SIGKILL') }
    if (request.method === 'POST') process.kill(process.pid, 'SIGKILL')
    response.end('fine')`,
    { before: "import { appendFileSync, existsSync, writeFileSync } from 'node:fs'" },
  )
  const url = await serve((server) => open(child).attach(server, { replay: 'safe' }))
  expect((await ask(url, { path: '/before' })).body).toBe('fine')
  const cut = await fetch(new URL('/after', url))
  await expect(cut.text()).rejects.toThrow()
  // The next worker has begun: the POST would otherwise reach a worker that is being killed.
  expect((await ask(url, { path: '/between' })).body).toBe('fine')
  const post = await ask(url, { path: '/post', method: 'POST' }, 'x')
  expect([post.response.statusCode, post.response.headers['x-warmswap-error']]).toEqual([502, 'ERR_WORKER_EXITED'])
  expect((await ask(url, { path: '/end' })).body).toBe('fine')
  expect(readFileSync(log, 'utf8').trim().split('\n')).toEqual([
    'GET /before',
    'GET /before',
    'GET /after',
    'GET /between',
    'POST /post',
    'GET /end',
  ])
})

test('a server that drops its requests on SIGTERM gets it when nothing is under way', async ({
  store,
  open,
  serve,
  disk,
}) => {
  const gate = join(disk, 'gate')
  const log = join(disk, 'log')
  await publishServer(
    store,
    'one',
    `if (request.url === '/slow') while (!existsSync(${JSON.stringify(gate)})) await new Promise((resolve) => setTimeout(resolve, 5)); response.end(version)`,
    {
      before: `import { appendFileSync, existsSync } from 'node:fs'
      process.on('SIGTERM', () => { appendFileSync(${JSON.stringify(log)}, 'SIGTERM'); process.exit(0) })`,
    },
  )
  const coordinator = open(child)
  const url = await serve((server) => coordinator.attach(server))
  const slow = ask(url, { path: '/slow' })
  await ask(url, { path: '/' })
  await coordinator.reboot({ observed: 1, reason: 'an edit' })
  expect(existsSync(log)).toBe(false)
  appendFileSync(gate, '')
  expect((await slow).body).toBe('one')
  await expect.poll(() => existsSync(log), { timeout: 20_000 }).toBe(true)
  expect(coordinator.status().incarnation).toBe(2)
})

function isFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1')
    socket.once('error', () => resolve(true))
    socket.once('connect', () => {
      socket.destroy()
      resolve(false)
    })
  })
}
