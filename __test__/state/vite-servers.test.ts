/** state/other-servers-and-builds: Vite inside Express and Hono, where the errors of handlers do not reach Vite's middlewares. */

import { once } from 'node:events'
import { createServer, type RequestListener } from 'node:http'
import type { AddressInfo } from 'node:net'
import { getRequestListener } from '@hono/node-server'
import express from 'express'
import { Hono } from 'hono'
import { afterEach, describe, expect, onTestFinished, test } from 'vitest'
import { resetState } from 'warmswap/state'
import warmswap, { importWithRecovery } from 'warmswap/vite'
import { type Answer, ENTRY, type Entry, type Fixture, modes, openFixture } from '../support/vite.js'

afterEach(() => resetState())

type Render = (route: string) => Promise<Answer>

function inExpress(fixture: Fixture, render: Render): RequestListener {
  const app = express()
  app.use(fixture.server.middlewares)
  app.get('/:route', async (request, response) => void response.json(await render(request.params.route)))
  app.use(
    ((error, _request, response, _next) =>
      void response.status(500).send(String(error))) as express.ErrorRequestHandler,
  )
  return app
}

/** Hono answers requests by itself; Vite's middlewares stand before it. */
function inHono(fixture: Fixture, render: Render): RequestListener {
  const app = new Hono()
  app.get('/:route', async (context) => context.json(await render(context.req.param('route'))))
  app.onError((error, context) => context.text(String(error), 500))
  const listener = getRequestListener(app.fetch)
  return (request, response) => fixture.server.middlewares(request, response, () => void listener(request, response))
}

async function listen(listener: RequestListener): Promise<string> {
  const server = createServer(listener).listen(0, '127.0.0.1')
  await once(server, 'listening')
  onTestFinished(() => void server.close())
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`
}

const frameworks = [
  { framework: 'Express', around: inExpress },
  { framework: 'Hono', around: inHono },
]

describe.each(modes)('state/other-servers-and-builds: $name', (mode) => {
  test.each(frameworks)(
    'a handler of $framework is answered through importWithRecovery, and not without it',
    async ({ around }) => {
      const fixture = await openFixture({ ...mode, context: 'kept', plugins: [warmswap()] })
      onTestFinished(() => fixture.close())
      const bare = await listen(around(fixture, async (route) => (await fixture.entry()).handle(route)))
      const recovering = await listen(
        around(fixture, (route) =>
          importWithRecovery<Entry, Answer>(fixture.ssr, ENTRY, { use: (entry) => entry.handle(route) }),
        ),
      )
      expect((await fetch(`${bare}/route-a`)).status).toBe(200)
      // Both meet the same re-optimization.
      const [without, response] = await Promise.all([fetch(`${bare}/route-b`), fetch(`${recovering}/route-b`)])
      expect([response.status, ((await response.json()) as Answer).store]).toEqual([200, { user: 'ada' }])
      expect(without.status).toBe(mode.silent ? 200 : 500)
    },
  )
})
