/** Clients and handlers that misbehave: each gets a clear answer, and the requests next to it are not affected. */

import { once } from 'node:events'
import http, { type IncomingMessage } from 'node:http'
import { connect } from 'node:net'
import { describe, expect } from 'vitest'
import { startProcess, startWorkerThread } from 'warmswap'
import { publishFetchWorker, type Start, thread } from '../support/coordinators.js'
import { ask, publishServer, raw, test, textOf } from '../support/served.js'

const listening: Start = (context) => startWorkerThread(context, 'server.mjs', { listen: true })
const process: Start = (context) => startProcess(context, 'server.mjs', { listen: true })

const SERVER = `
if (request.url === '/ended') { response.end(String(aborted)); return }
let body = ''
try { for await (const chunk of request) body += chunk } catch { aborted += 1 }
response.end(body)`

describe.each([
  ['threads', listening],
  ['processes', process],
] as const)('servers in %s', (_name, start) => {
  test('Expect: 100-continue: the client sends its body once the worker has the request', async ({
    store,
    open,
    serve,
  }) => {
    await publishServer(store, 'one', SERVER, { before: 'let aborted = 0' })
    const url = await serve((server) => open(start).attach(server))
    const request = http.request(url, { method: 'POST', agent: false, headers: { expect: '100-continue' } })
    request.flushHeaders()
    await once(request, 'continue')
    request.end('the body')
    const [response] = (await once(request, 'response')) as [IncomingMessage]
    expect([response.statusCode, await textOf(response)]).toEqual([200, 'the body'])
  })

  test('half a body ends its own request in the worker, and no other', async ({ store, open, serve }) => {
    await publishServer(store, 'one', SERVER, { before: 'let aborted = 0' })
    const url = await serve((server) => open(start).attach(server))
    const neighbour = http.request(url, { method: 'POST', agent: false })
    neighbour.write('a ')
    const half = connect(Number(url.port), url.hostname)
    half.write('POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\nhalf')
    await once(half, 'connect')
    // The worker has both: it answers what comes after them.
    await ask(url, { path: '/', method: 'POST' }, 'x')
    half.destroy()
    await expect.poll(async () => (await ask(url, { path: '/ended' })).body, { timeout: 20_000 }).toBe('1')
    neighbour.end('neighbour')
    const [response] = (await once(neighbour, 'response')) as [IncomingMessage]
    expect(await textOf(response)).toBe('a neighbour')
  })
})

test.for([
  ['serveFetch()', thread],
  ['a server that listens', listening],
] as const)(
  'a body that stops is a 504 of %s, and the connection is closed',
  async ([, start], { store, open, serve }) => {
    await publishFetchWorker(store, 'one', 'return new Response(await request.text())')
    if (start === listening) await publishServer(store, 'one', SERVER, { before: 'let aborted = 0' })
    const coordinator = open(start)
    await coordinator.reboot({ observed: null, reason: 'a test' })
    const hurried = await serve((server) => coordinator.attach(server, { timeoutMs: 300 }))
    const url = await serve((server) => coordinator.attach(server))
    const answer = await raw(hurried, 'POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\nhalf')
    expect(answer).toMatch(/^HTTP\/1\.1 504 [\s\S]*connection: close/i)
    expect((await ask(url, { path: '/', method: 'POST' }, 'still there')).body).toBe('still there')
    expect(coordinator.status()).toMatchObject({ state: 'ready', incarnation: 1 })
  },
)

test.skipIf(globalThis.process.env.WARMSWAP_LONG !== '1').for([
  ['serveFetch()', thread],
  ['a server that listens', listening],
] as const)(
  'a slow body may take longer than timeoutMs, if no pause does: %s',
  async ([, start], { store, open, serve }) => {
    await publishFetchWorker(store, 'one', 'return new Response(await request.text())')
    if (start === listening) await publishServer(store, 'one', SERVER, { before: 'let aborted = 0' })
    const url = await serve((server) => open(start).attach(server, { timeoutMs: 10_000 }))
    const request = http.request(url, { method: 'POST', agent: false })
    for (let part = 0; part < 13; part += 1) {
      request.write('x')
      await new Promise((resolve) => setTimeout(resolve, 1_000))
    }
    request.end()
    const [response] = (await once(request, 'response')) as [IncomingMessage]
    expect([response.statusCode, await textOf(response)]).toEqual([200, 'x'.repeat(13)])
  },
)

test.for([
  ['a name with a space', "['bad name', 'x']"],
  ['a value with a line break', "['x-bad', 'a\\r\\nset-cookie: stolen=1']"],
  ['a length that is no number', "['content-length', 'many']"],
])('an answer whose header has %s is a 502 and splits no response', async ([, header], { store, open, serve }) => {
  await publishFetchWorker(
    store,
    'one',
    "return new Response(request.url.endsWith('/bad') ? 'bad' : 'good')",
    `import { parentPort } from 'node:worker_threads'
    const post = parentPort.postMessage.bind(parentPort)
    parentPort.postMessage = (message) => {
      if (message.value?.body?.length === 3) message.value.head.headers = [${header}]
      post(message)
    }`,
  )
  const coordinator = open(thread)
  const url = await serve((server) => coordinator.attach(server))
  const answer = await raw(url, 'GET /bad HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n')
  expect(answer).toMatch(/^HTTP\/1\.1 502 /)
  expect(answer).not.toMatch(/^set-cookie/im)
  expect((await coordinator.fetch(new Request('http://x/bad'))).status).toBe(502)
  expect((await ask(url, { path: '/' })).body).toBe('good')
})
