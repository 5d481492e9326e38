/** Servers that hold on to their port when they are replaced: the reports of EADDRINUSE of today's dev servers. */

import { once } from 'node:events'
import { type AddressInfo, createServer } from 'node:net'
import { expect } from 'vitest'
import { type BundleStore, startProcess } from 'warmswap'
import { ask, test } from '../support/served.js'
import { publish } from '../support/stores.js'

/** As babel-node, ts-node and npm do: the server is a child of the program that was started, and SIGTERM does not end it. */
async function publishLauncher(store: BundleStore, version: string): Promise<void> {
  await publish(store, {
    'server.mjs': `import { spawn } from 'node:child_process'
process.on('SIGTERM', () => {})
spawn(process.execPath, [new URL('app.mjs', import.meta.url).pathname], { stdio: 'inherit' })`,
    'app.mjs': `import http from 'node:http'
process.on('SIGTERM', () => {})
http.createServer((_request, response) => response.end('${version}')).listen(Number(process.env.PORT), '127.0.0.1')`,
  })
}

const versions = ['1', '2']

test.skipIf(process.platform !== 'linux')(
  'nodemon#333, #623, #1316, #1473: a server that keeps its port after SIGTERM does not stop the next one',
  async ({ store, open, serve }) => {
    const coordinator = open((context) => startProcess(context, 'server.mjs', { listen: true }), { drain: 200 })
    const url = await serve((server) => coordinator.attach(server))
    for (const version of versions) {
      await publishLauncher(store, version)
      await coordinator.reboot({ observed: coordinator.status().incarnation || null, reason: 'an edit' })
      expect((await ask(url, { path: '/' })).body).toBe(version)
    }
  },
)

test.skipIf(process.platform !== 'linux')(
  'nodemon#702, #1629, #1937: with a fixed port and stop-first the next server starts when the whole group has ended',
  async ({ store, open, serve }) => {
    const placeholder = createServer().listen(0, '127.0.0.1')
    await once(placeholder, 'listening')
    const { port } = placeholder.address() as AddressInfo
    await new Promise((resolve) => placeholder.close(resolve))
    const coordinator = open(
      (context) => startProcess(context, 'server.mjs', { listen: true, env: { PORT: String(port) } }),
      { order: 'stop-first', drain: 200 },
    )
    const url = await serve((server) => coordinator.attach(server))
    for (const version of versions) {
      await publishLauncher(store, version)
      const reboot = coordinator.reboot({ observed: coordinator.status().incarnation || null, reason: 'an edit' })
      // Requests wait while no worker exists.
      expect((await ask(url, { path: '/' })).body).toBe(version)
      await reboot
    }
  },
)
