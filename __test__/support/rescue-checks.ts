/**
 * The guarantees of the in-flight rescue, as checks that fail with the seeded bugs. Each takes the plugins and a
 * version of Vite.
 */

import { once } from 'node:events'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { connect, createServer as createHttp2Server } from 'node:http2'
import type { AddressInfo } from 'node:net'
import { text } from 'node:stream/consumers'
import { setImmediate as nextTurn } from 'node:timers/promises'
import type { PluginOption } from 'vite'
import { expect } from 'vitest'
import type { InFlightRescueOptions } from 'warmswap/vite'
import {
  type Answer,
  applicationPlugin,
  Calls,
  ENTRY,
  type Entry,
  type Fixture,
  openFixture,
  runnerOf,
  type Version,
} from './vite.js'
import type { Plugins } from './vite-checks.js'

export type RescueCheck = (plugins: Plugins, version: Version) => Promise<void>

type Http2Handler = Parameters<typeof createHttp2Server>[1]
type Handler = (request: IncomingMessage, response: ServerResponse) => unknown

/** A promise that the test resolves. */
export class Signal {
  readonly reached: Promise<void>
  give!: () => void

  constructor() {
    this.reached = new Promise((resolve) => {
      this.give = resolve
    })
  }
}

interface Scene {
  fixture: Fixture
  calls: Calls
  /** Resolves at the next call of the handler. */
  entered(): Promise<void>
  /** Causes the late discovery of a dependency. Resolves after the commit and its reload. */
  reoptimize(): Promise<void>
  /** Makes the optimizer look busy, until the returned function is called. */
  pretendDiscovery(): () => void
  get(path: string, init?: RequestInit): Promise<Response>
}

interface Stage {
  plugins: Plugins
  version: Version
  rescue?: InFlightRescueOptions | false
  /** Responds to each request below /handler. */
  handler?: Handler
}

export async function onStage(
  { plugins, version, rescue, handler }: Stage,
  work: (scene: Scene) => Promise<void>,
): Promise<void> {
  const calls = new Calls()
  const waiting: (() => void)[] = []
  const handlerPlugin: PluginOption = {
    name: 'fixture:handler',
    configureServer: (server) => () => {
      server.middlewares.use(async (request, response, next) => {
        if (!request.originalUrl?.startsWith('/handler')) return next()
        calls.methods.push(request.method ?? '')
        for (const resolve of waiting.splice(0)) resolve()
        try {
          await handler?.(request, response)
        } catch (error) {
          next(error)
        }
      })
    },
  }
  const appCalls = new Calls()
  const fixture = await openFixture({
    version,
    context: 'plain',
    plugins: [
      plugins.default(rescue === undefined ? undefined : { recovery: { rescue } }),
      handlerPlugin,
      applicationPlugin(appCalls),
    ],
  })
  let end = (): void => {}
  try {
    await fixture.entry()
    const url = await fixture.url()
    await work({
      fixture,
      calls: handler === undefined ? appCalls : calls,
      entered: () => new Promise((resolve) => waiting.push(resolve)),
      reoptimize: () => reoptimize(plugins, fixture),
      pretendDiscovery: () => (end = pretendDiscovery(fixture)),
      get: (path, init) => fetch(url + path, init),
    })
  } finally {
    end()
    await fixture.close()
  }
}

async function reoptimize({ onReoptimize }: Plugins, fixture: Fixture): Promise<void> {
  const committed = new Signal()
  using _ = onReoptimize(fixture.server, ({ reload }) => reload && committed.give())
  const entry = await runnerOf(fixture.ssr).import<Entry>(ENTRY)
  await Promise.allSettled([Promise.resolve(entry.handle('route-b')), committed.reached])
}

function pretendDiscovery({ ssr }: Fixture): () => void {
  const { metadata } = ssr.depsOptimizer as { metadata: { discovered: Record<string, unknown> } }
  const { discovered } = metadata
  const committed = new Signal()
  discovered['never-imported'] = { id: 'never-imported', file: '/never-imported.js', processing: committed.reached }
  return () => {
    delete discovered['never-imported']
    committed.give()
  }
}

/** Enough turns of the event loop for everything that is not held back. */
async function turns(count = 200): Promise<void> {
  for (let turn = 0; turn < count; turn += 1) await nextTurn()
}

/** Fails if a promise does not settle: only a broken build reaches the limit. */
export function soon<T>(promise: Promise<T>, what: string): Promise<T> {
  let timer: NodeJS.Timeout
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`expected ${what} within 5 s`)), 5000)
  })
  return Promise.race([promise, late]).finally(() => clearTimeout(timer))
}

/** A POST that was overtaken and failed is answered with 503, and its handler is called once. */
export const postIsNotReplayed: RescueCheck = async (plugins, version) => {
  const proceed = new Signal()
  const handler: Handler = async (request, response) => {
    await proceed.reached
    response.statusCode = request.url?.includes('fine') ? 201 : 500
    response.setHeader('content-type', 'text/html')
    response.end('the context is lost')
  }
  await onStage({ plugins, version, handler }, async ({ get, entered, reoptimize, calls }) => {
    const failing = get('/handler', { method: 'POST' })
    const fine = get('/handler/fine', { method: 'DELETE' })
    while (calls.count < 2) await entered()
    await reoptimize()
    proceed.give()
    const refused = await failing
    expect(refused.status).toBe(503)
    expect(refused.headers.get('retry-after')).toBe('1')
    expect(await refused.text()).toContain('Retry it if it is idempotent')
    expect((await fine).status).toBe(201)
    expect(calls.count).toBe(2)
    // A failure without a re-optimization belongs to the application.
    expect((await get('/handler', { method: 'POST' })).status).toBe(500)
  })
}

/** A response whose body has begun is cut off, and the request is not replayed. */
export const begunBodyIsCut: RescueCheck = async (plugins, version) => {
  const proceed = new Signal()
  const handler: Handler = async (_request, response) => {
    response.writeHead(200, { 'content-type': 'text/plain' })
    response.write('half of an ')
    await proceed.reached
    response.end('answer')
  }
  await onStage({ plugins, version, handler }, async ({ get, reoptimize, calls }) => {
    const response = await get('/handler')
    const text = response.text().then(
      (whole) => `whole: ${whole}`,
      () => 'cut',
    )
    await reoptimize()
    proceed.give()
    expect(await soon(text, 'the end of the body')).toBe('cut')
    await turns()
    expect(calls.count).toBe(1)
  })
}

/** A hold ends with the discovery, and after `holdMs` or `holdBytes` if that comes first. */
export const holdsAreBounded: RescueCheck = async (plugins, version) => {
  let size = 10
  const proceed = new Signal()
  const handler: Handler = async (_request, response) => {
    response.write('x'.repeat(size))
    await proceed.reached
    response.end()
  }
  const first = async (response: Response): Promise<number> => {
    const { value } = await (response.body as ReadableStream<Uint8Array>).getReader().read()
    return value?.length ?? 0
  }
  const limits = { holdMs: 30_000, holdBytes: 1000 }
  await onStage({ plugins, version, handler, rescue: limits }, async ({ get, entered, pretendDiscovery }) => {
    const end = pretendDiscovery()
    const entry = entered()
    let isAnswered = false
    const held = get('/handler').then((response) => {
      isAnswered = true
      return response
    })
    held.catch(() => {})
    await entry
    await turns()
    expect(isAnswered).toBe(false)
    size = 1001
    expect(await soon(get('/handler').then(first), 'an answer over holdBytes')).toBe(1001)
    end()
    expect(await soon(held.then(first), 'the answer after the discovery')).toBe(10)
    proceed.give()
  })
  await onStage({ plugins, version, handler, rescue: { holdMs: 50 } }, async ({ get, pretendDiscovery }) => {
    size = 10
    pretendDiscovery()
    expect(await soon(get('/handler').then(first), 'an answer after holdMs')).toBe(10)
  })
}

/** A replay begins when the runner has the new module graph, and not before. */
export const replayWaitsForTheRunner: RescueCheck = async (plugins, version) => {
  const ended = new Signal()
  let environment: Fixture['ssr'] | undefined
  const handler: Handler = async (_request, response) => {
    try {
      const entry = await runnerOf(environment).import<Entry>(ENTRY)
      response.end(JSON.stringify(await entry.handle('route-b')))
    } finally {
      ended.give()
    }
  }
  await onStage({ plugins, version, handler }, async ({ fixture, get, calls }) => {
    environment = fixture.ssr
    const { hot } = fixture.ssr
    type Payload = { type: string; event?: string }
    const send = hot.send.bind(hot) as (payload: Payload) => void
    const late: Payload[] = []
    // As on workerd: the reload, and messages sent after it, arrive late, and modules do not.
    hot.send = ((payload: Payload) => {
      const isAfterReload = late.length > 0 && payload.event?.startsWith('warmswap:')
      if (payload.type === 'full-reload' || isAfterReload) late.push(payload)
      else send(payload)
    }) as typeof hot.send
    const before = (await (await fixture.entry()).evaluations()).entry
    const response = get('/handler')
    await ended.reached
    // The absence of an event cannot be awaited: a replay that does not wait for the runner begins within 20 ms.
    await new Promise((resolve) => setTimeout(resolve, 200))
    const inTheOldGraph = calls.count
    hot.send = send as typeof hot.send
    for (const payload of late.splice(0)) send(payload)
    const answer = (await (await soon(response, 'an answer')).json()) as Answer
    expect(inTheOldGraph, 'expected no replay before the reload').toBe(1)
    expect(answer).toMatchObject({ store: { user: 'ada' }, evaluations: { entry: before + 1 } })
    expect(calls.count).toBe(2)
  })
}

/** A runner that never reports delays requests by `readyMs`. */
export const waitForTheRunnerIsBounded: RescueCheck = async (plugins, version) => {
  const handler: Handler = (_request, response) => response.end('answered')
  await onStage({ plugins, version, handler, rescue: { readyMs: 100 } }, async ({ fixture, get, reoptimize }) => {
    const { hot } = fixture.ssr
    const send = hot.send.bind(hot) as (payload: { event?: string }) => void
    hot.send = ((payload: { event?: string }) => {
      if (!payload.event?.startsWith('warmswap:')) send(payload)
    }) as typeof hot.send
    await reoptimize()
    const response = await soon(get('/handler'), 'an answer after readyMs')
    expect(await response.text()).toBe('answered')
  })
}

/** A long poll: an overtaken response that comes after `holdMs` is sent unchanged, and replayed if it has failed. */
export const lateAnswers: RescueCheck = async (plugins, version) => {
  const proceed = new Signal()
  const seen = new WeakSet<IncomingMessage>()
  const handler: Handler = async (request, response) => {
    if (seen.has(request)) return response.end('replayed')
    seen.add(request)
    await proceed.reached
    if (request.url?.includes('fails')) response.statusCode = 500
    response.end('the event')
  }
  const stage = { plugins, version, handler, rescue: { holdMs: 1 } }
  await onStage(stage, async ({ fixture, get, entered, reoptimize, calls }) => {
    const [event, failed] = [get('/handler'), get('/handler/fails')]
    while (calls.count < 2) await entered()
    const ready = new Signal()
    fixture.ssr.hot.on('warmswap:ready', () => ready.give())
    await reoptimize()
    // The limit of 1 ms begins when the runner is ready.
    await ready.reached
    await new Promise((resolve) => setTimeout(resolve, 20))
    proceed.give()
    expect(await (await soon(event, 'the late answer')).text()).toBe('the event')
    expect(await (await soon(failed, 'the replay')).text()).toBe('replayed')
  })
}

/** The output of an overtaken attempt is dropped: status, headers and body are those of the replay. */
export const firstAnswerIsDropped: RescueCheck = async (plugins, version) => {
  const proceed = new Signal()
  const seen = new WeakSet<IncomingMessage>()
  const handler: Handler = async (request, response) => {
    if (seen.has(request)) return response.setHeader('x-second', 'true').end(`answer to ${request.url}`)
    seen.add(request)
    response.setHeader('x-first', 'true')
    await proceed.reached
    if (request.url?.includes('throws')) throw new Error('Invalid hook call')
    if (!request.url?.includes('head-first')) return response.writeHead(500).end('the context is lost')
    // Astro sends its head before it fails, and then ends with an empty body.
    response.writeHead(200, { 'x-first': 'true' }).flushHeaders()
    response.end()
  }
  await onStage({ plugins, version, handler }, async ({ get, entered, reoptimize, calls }) => {
    const paths = ['/handler/head-first?a=1', '/handler/throws', '/handler/fails']
    const responses = paths.map((path) => get(path))
    const head = get('/handler/fails', { method: 'HEAD' })
    while (calls.count < 4) await entered()
    await reoptimize()
    proceed.give()
    for (const [index, response] of (await soon(Promise.all(responses), 'answers')).entries()) {
      expect(response.status).toBe(200)
      expect(await response.text()).toBe(`answer to ${paths[index]}`)
      expect(response.headers.has('x-second')).toBe(true)
      expect(response.headers.has('x-first')).toBe(false)
    }
    expect((await head).status).toBe(200)
    expect(calls.count).toBe(8)
  })
}

/** HTTP/2, which Vite serves with `server.https`, has other classes of requests and responses. */
export const http2IsRescued: RescueCheck = async (plugins, version) => {
  const proceed = new Signal()
  const seen = new WeakSet<IncomingMessage>()
  const handler: Handler = async (request, response) => {
    if (seen.has(request)) return response.writeHead(200, { 'content-type': 'text/plain' }).end('replayed')
    seen.add(request)
    await proceed.reached
    response.writeHead(500, { 'content-type': 'text/plain' })
    response.end('the context is lost')
  }
  await onStage({ plugins, version, handler }, async ({ fixture, entered, reoptimize }) => {
    const server = createHttp2Server(fixture.server.middlewares as unknown as Http2Handler).listen(0, '127.0.0.1')
    await once(server, 'listening')
    const session = connect(`http://127.0.0.1:${(server.address() as AddressInfo).port}`)
    try {
      const entry = entered()
      const stream = session.request({ ':path': '/handler', host: '127.0.0.1' })
      const head = once(stream, 'response')
      await soon(entry, 'a request')
      await reoptimize()
      proceed.give()
      const [headers] = await soon(head, 'a head')
      expect(headers[':status']).toBe(200)
      expect(await text(stream)).toBe('replayed')
    } finally {
      session.destroy()
      server.close()
    }
  })
}

/** Requests that are never replayed, and answers that are never held. */
export const handsOff: RescueCheck = async (plugins, version) => {
  const proceed = new Signal()
  const handler: Handler = async (request, response) => {
    if (request.url?.includes('events')) response.setHeader('content-type', 'text/event-stream')
    if (request.url?.includes('early')) return response.end('complete')
    if (request.url?.includes('events')) response.write('data: 1\n\n')
    await proceed.reached
    if (!request.url?.includes('events')) response.statusCode = 500
    response.end('data: 2\n\n')
  }
  const exclude = (request: IncomingMessage): boolean => request.url?.startsWith('/handler/callback') ?? false
  await onStage(
    { plugins, version, handler, rescue: { exclude } },
    async ({ get, entered, reoptimize, pretendDiscovery, calls }) => {
      const end = pretendDiscovery()
      // A complete response belongs to the old module graph, and is not held.
      expect(await (await soon(get('/handler/early'), 'a complete answer')).text()).toBe('complete')
      const events = await soon(get('/handler/events'), 'the head of an event stream')
      end()
      const callback = get('/handler/callback?code=1')
      const range = get('/handler/part', { headers: { range: 'bytes=0-1' } })
      while (calls.count < 4) await entered()
      await reoptimize()
      proceed.give()
      expect(await events.text()).toBe('data: 1\n\ndata: 2\n\n')
      expect((await callback).status).toBe(503)
      expect((await range).status).toBe(503)
      await turns()
      expect(calls.count).toBe(4)
    },
  )
}

/** `rescue: false` does not change requests. */
export const canBeTurnedOff: RescueCheck = async (plugins, version) => {
  const proceed = new Signal()
  const handler: Handler = async (_request, response) => {
    await proceed.reached
    response.writeHead(500).end('the context is lost')
  }
  await onStage({ plugins, version, handler, rescue: false }, async ({ get, entered, reoptimize, calls }) => {
    const entry = entered()
    const response = get('/handler')
    await entry
    await reoptimize()
    proceed.give()
    expect(await (await response).text()).toBe('the context is lost')
    expect(calls.count).toBe(1)
  })
}
