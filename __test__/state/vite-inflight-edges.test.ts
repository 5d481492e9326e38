/** In-flight rescue: handlers, servers and runners that behave in unusual ways. Without Vite, except for the last test. */

// guarantee: state/overtaken-requests-are-rescued

import { AsyncLocalStorage } from 'node:async_hooks'
import { once } from 'node:events'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { connect, createServer as createHttp2Server } from 'node:http2'
import type { AddressInfo } from 'node:net'
import { pipeline, Readable } from 'node:stream'
import { text } from 'node:stream/consumers'
import { setImmediate as nextTurn } from 'node:timers/promises'
import type { DevEnvironment, PluginOption } from 'vite'
import { describe, expect, test } from 'vitest'
import * as plugins from 'warmswap/vite'
import { RunnerReports } from '../../src/js/plugins/vite/runner-reports.js'
import { FakeDevServer, FakeHot, type Handler, type Next, open } from '../support/fake-dev-server.js'
import { onStage, Signal } from '../support/rescue-checks.js'
import { versions } from '../support/vite.js'

const HOUR_MS = 3_600_000

/** A handler whose first attempt runs `first` after the commit, and whose later attempts answer 'replayed'. */
function overtaken(first: Handler): { handler: Handler; entered: Signal; proceed: Signal } {
  const [entered, proceed] = [new Signal(), new Signal()]
  const seen = new WeakSet<IncomingMessage>()
  const handler: Handler = async (request, response, next) => {
    if (seen.has(request)) {
      // Time for a second replay, which must not come.
      await nextTurn()
      return response.end('replayed')
    }
    seen.add(request)
    entered.give()
    await proceed.reached
    return first(request, response, next)
  }
  return { handler, entered, proceed }
}

/** The answer to a request whose first attempt was overtaken. */
async function answerTo(first: Handler, outer?: Handler): Promise<{ answer: string; server: FakeDevServer }> {
  const { handler, entered, proceed } = overtaken(first)
  const server = await open({ handler, ...(outer && { outer }) })
  const answer = server.ask()
  await entered.reached
  server.rescue.overtake()
  proceed.give()
  return { answer: await answer, server }
}

describe('the end of an overtaken attempt', () => {
  const failure = new Error('the context is lost')
  const ends: Record<string, Handler> = {
    'an answer and then an error': (_request, response, next) => {
      response.end('broken')
      next(failure)
    },
    'an error and then an answer': (_request, response, next) => {
      next(failure)
      response.end('broken')
    },
    'two errors': (_request, _response, next) => {
      next(failure)
      next(failure)
    },
    'destroy()': (_request, response) => response.destroy(failure),
    'a pipeline that fails': (_request, response) =>
      pipeline(
        new Readable({
          read() {
            this.destroy(failure)
          },
        }),
        response,
        () => {},
      ),
  }
  test.each(Object.entries(ends))('%s: the request is replayed once', async (_, first) => {
    const { answer, server } = await answerTo(first)
    expect(answer).toBe('200 replayed')
    expect(server.calls).toBe(2)
  })

  test('next(): the application around Vite answers', async () => {
    const outer: Handler = (request, response) => response.end(`outer ${request.url}`)
    const { answer, server } = await answerTo((_request, _response, next) => next(), outer)
    expect(answer).toBe('200 outer /')
    expect(server.calls).toBe(1)
  })

  test('an event stream that begins after the commit is sent', async () => {
    const { answer } = await answerTo((_request, response) => {
      response.writeHead(200, { 'Content-Type': 'text/event-stream' })
      response.end('data: 1\n\n')
    })
    expect(answer).toBe('200 data: 1\n\n')
  })
})

test('a connection that an overtaken attempt has broken costs no request, and only once', async () => {
  const reset = new TypeError('fetch failed', { cause: Object.assign(new Error('read'), { code: 'ECONNRESET' }) })
  let failures = 1
  const { handler: first, entered, proceed } = overtaken((_request, response) => response.end('broken'))
  const handler: Handler = (request, response, next) => {
    if (server.calls === 1) return first(request, response, next)
    failures -= 1
    return failures >= 0 ? next(reset) : response.end('fine')
  }
  const server: FakeDevServer = await open({ handler })
  const answer = server.ask()
  await entered.reached
  server.rescue.overtake()
  proceed.give()
  expect(await answer, 'a replay').toBe('200 fine')
  failures = 1
  expect(await server.ask(), 'a request after the reload').toBe('200 fine')
  failures = 2
  expect(await server.ask(), 'a worker that is gone').toMatch(/^500 TypeError: fetch failed/)
  failures = 1
  expect(await server.ask('/', { method: 'POST' }), 'a POST').toMatch(/^500 TypeError: fetch failed/)
})

test('a broken connection costs no request while the runner evaluates the new graph', async () => {
  const reset = new TypeError('fetch failed', { cause: Object.assign(new Error('read'), { code: 'ECONNRESET' }) })
  const failed = new Signal()
  const handler: Handler = (_request, response, next) => {
    if (server.calls > 1) return response.end('fine')
    failed.give()
    next(reset)
  }
  const server: FakeDevServer = await open({ handler })
  RunnerReports.of(server.environment)
  server.hot.emit('warmswap:runner', undefined, 'client')
  server.rescue.overtake()
  while (server.hot.sent.length === 0) await nextTurn()
  server.hot.emit('warmswap:evaluating', undefined, 'client')
  const answer = server.ask()
  await failed.reached
  server.hot.emit('warmswap:ready', server.hot.sent.at(-1)?.data, 'client')
  expect(await answer).toBe('200 fine')
})

test('a connection that breaks without a reload is an error', async () => {
  const reset = new TypeError('fetch failed', { cause: Object.assign(new Error('read'), { code: 'ECONNRESET' }) })
  const server = await open({ handler: (_request, _response, next) => next(reset) })
  expect(await server.ask()).toMatch(/^500 TypeError: fetch failed/)
  expect(server.calls).toBe(1)
})

test('a replay that no handler of Vite answers reaches the application around Vite', async () => {
  const { handler, entered, proceed } = overtaken((_request, response) => response.end('broken'))
  const passing: Handler = (request, response, next) => (server.calls > 1 ? next() : handler(request, response, next))
  const server: FakeDevServer = await open({ handler: passing, outer: (_request, response) => response.end('outer') })
  const answer = server.ask()
  await entered.reached
  server.rescue.overtake()
  proceed.give()
  expect(await answer).toBe('200 outer')
})

test('a closed optimizer ends the hold, and so does a closed server', async () => {
  const server = await open({
    handler: (_request, response) => {
      response.write('first ')
      setImmediate(() => setImmediate(() => response.end('second')))
    },
  })
  // A closed optimizer resolves the promise and leaves it in the metadata.
  server.discovered.dep = { file: '/deps/dep.js', processing: Promise.resolve() }
  expect(await server.ask()).toBe('200 first second')
  const isHeld = new Signal()
  const held = await open({
    handler: (_request, response) => {
      response.write('first')
      isHeld.give()
    },
  })
  held.discovered.dep = { file: '/deps/dep.js', processing: new Promise(() => {}) }
  const answer = held.ask()
  await isHeld.reached
  expect(await Promise.race([answer, nextTurn('held')])).toBe('held')
  held.rescue.close()
  // The first byte is out now, so a commit would cut it. A closed server has none.
  held.rescue.overtake()
  expect(await Promise.race([answer, nextTurn('open')])).toBe('open')
})

test('a request whose body was read is not replayed', async () => {
  for (const isReadFirst of [true, false]) {
    const [entered, proceed] = [new Signal(), new Signal()]
    const server = await open({
      handler: async (request, response) => {
        if (isReadFirst) await text(request)
        entered.give()
        await proceed.reached
        if (!isReadFirst) await text(request)
        response.writeHead(500).end('broken')
      },
    })
    const answer = server.ask('/', { body: 'a query', headers: { 'content-length': 7 } })
    await entered.reached
    server.rescue.overtake()
    proceed.give()
    expect(await answer).toMatch(/^503 .*Retry it if it is idempotent/)
    expect(server.calls).toBe(1)
  }
})

test('a response whose body has begun is cut off unless its head has a length, and so is a flushed head', async () => {
  const answer = async (begin: (response: ServerResponse) => void): Promise<string> => {
    const begun = new Signal()
    const proceed = new Signal()
    const server = await open({
      handler: async (_request, response) => {
        begin(response)
        begun.give()
        await proceed.reached
        response.end('!')
      },
    })
    const answer = server.ask()
    await begun.reached
    server.rescue.overtake()
    proceed.give()
    return answer
  }
  expect(await answer((response) => response.writeHead(200, { 'Content-Length': 2 }).write('a'))).toBe('200 a!')
  expect(await answer((response) => response.writeHead(200, {}).write('a'))).toBe('cut')
  expect(await answer((response) => response.flushHeaders())).toBe('cut')
})

test('over HTTP/2 a response whose body has begun is reset with an error', async () => {
  const fake = new FakeDevServer({ handler: (_request, response) => response.write('half of an ') })
  const server = createHttp2Server((request, response) =>
    fake.middlewares(request as unknown as IncomingMessage, response as unknown as ServerResponse, () => {}),
  ).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const session = connect(`http://127.0.0.1:${(server.address() as AddressInfo).port}`)
  try {
    const stream = session.request({ ':path': '/' })
    await once(stream, 'data')
    fake.rescue.overtake()
    await expect(once(stream, 'end')).rejects.toThrow(/Stream closed with error code/)
  } finally {
    session.destroy()
    server.close()
  }
})

test('exclude is called once for each request, with its own URL', async () => {
  const urls: (string | undefined)[] = []
  const { handler, entered, proceed } = overtaken((_request, response) => response.end('broken'))
  const rewriting: Handler = (request, response, next) => {
    request.url = '/rewritten'
    return handler(request, response, next)
  }
  const exclude = ({ url }: IncomingMessage): boolean => {
    urls.push(url)
    return false
  }
  const server = await open({ handler: rewriting, options: { rescue: { exclude } } })
  const answer = server.ask('/base/page')
  await entered.reached
  server.rescue.overtake()
  proceed.give()
  expect(await answer).toBe('200 replayed')
  expect(urls).toEqual(['/base/page'])
})

test('requests that server.proxy passes on are not rescued', async () => {
  for (const path of ['/api/users', '/v1/graphql']) {
    const { handler, entered, proceed } = overtaken((_request, response) => response.writeHead(500).end('backend'))
    const server = await open({ handler, proxy: { '/api': 'http://backend', '^/v\\d+/graphql$': 'http://backend' } })
    const answer = server.ask(path)
    await entered.reached
    server.rescue.overtake()
    proceed.give()
    expect(await answer).toBe('500 backend')
  }
})

test('a replay runs in the asynchronous context that the request began in, without the wrappers of the first attempt', async () => {
  const storage = new AsyncLocalStorage<string>()
  const contexts: (string | undefined)[] = []
  const { handler, entered, proceed } = overtaken((_request, response) => {
    response.on = () => response
    response.end('broken')
  })
  const server = await open({
    handler: (request, response, next) => {
      contexts.push(storage.getStore())
      if (contexts.length > 1) expect(Object.hasOwn(response, 'on')).toBe(false)
      return storage.run('first attempt', () => handler(request, response, next))
    },
  })
  const answer = server.ask()
  await entered.reached
  server.rescue.overtake()
  proceed.give()
  expect(await answer).toBe('200 replayed')
  expect(contexts).toEqual([undefined, undefined])
})

test('callbacks of a refused answer are called', async () => {
  const ended = new Signal()
  const { handler, entered, proceed } = overtaken((_request, response, _next: Next) => {
    response.statusCode = 500
    response.write('broken', () => response.end(() => ended.give()))
  })
  const server = await open({ handler })
  const answer = server.ask('/', { method: 'POST' })
  await entered.reached
  server.rescue.overtake()
  proceed.give()
  expect(await answer).toMatch(/^503 /)
  await ended.reached
})

describe('reports of runners', () => {
  const [RUNNING, READY] = ['warmswap:runner', 'warmswap:ready']
  const reportsOf = (hot: FakeHot): RunnerReports => RunnerReports.of({ name: 'ssr', hot } as unknown as DevEnvironment)
  const latest = (hot: FakeHot): number | undefined => hot.sent.at(-1)?.data

  test('a runner that has not reported is not waited for until it reports, also late', async () => {
    const hot = new FakeHot()
    const reports = reportsOf(hot)
    hot.emit(RUNNING, undefined, 'client')
    await reports.settled(1)
    // It may have been closed.
    await reports.settled(HOUR_MS)
    // On a machine under load a large application needs longer than the limit (Astro: over 5 s).
    hot.emit(READY, latest(hot), 'client')
    const settled = reports.settled(HOUR_MS).then(() => 'settled')
    expect(await Promise.race([settled, nextTurn('waiting')])).toBe('waiting')
    hot.emit(READY, latest(hot), 'client')
    expect(await settled).toBe('settled')
  })

  test('a disconnected runner is not waited for', async () => {
    const hot = new FakeHot()
    const reports = reportsOf(hot)
    hot.emit(RUNNING, undefined, 'client')
    const settled = reports.settled(HOUR_MS)
    hot.emit('vite:client:disconnect', undefined, 'client')
    await settled
    await reports.settled(HOUR_MS)
    expect(hot.sent).toHaveLength(1)
  })

  test('a channel that throws delays no request', async () => {
    const server = await open({ handler: (_request, response) => response.end('answered') })
    RunnerReports.of(server.environment)
    server.hot.emit(RUNNING, undefined, 'client')
    server.hot.send = () => {
      throw new Error('the socket is closed')
    }
    server.rescue.overtake()
    expect(await server.ask()).toBe('200 answered')
  })
})

test('a replay begins before the middlewares that a framework puts in front', async () => {
  const stripBase: PluginOption = {
    name: 'fixture:base',
    configureServer: (server) => () => {
      server.middlewares.stack.unshift({
        route: '',
        handle: (request: IncomingMessage, response: ServerResponse, next: Next) => {
          if (!request.url?.startsWith('/handler/docs')) return response.writeHead(404).end()
          request.url = request.url.replace('/handler/docs', '')
          next()
        },
      })
    },
  }
  const { handler, entered, proceed } = overtaken((_request, response) => response.end('broken'))
  const [version] = versions
  await onStage(
    {
      plugins: { ...plugins, default: (options) => [plugins.default(options), stripBase] } as typeof plugins,
      version,
      handler: (request, response) => handler(request, response, () => {}),
    },
    async ({ get, reoptimize }) => {
      const answer = get('/handler/docs/page')
      await entered.reached
      await reoptimize()
      proceed.give()
      expect(await (await answer).text()).toBe('replayed')
    },
  )
})
