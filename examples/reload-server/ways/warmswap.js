// The dev server with warmswap: builds are single flight, reboots are per incarnation, and requests belong to the
// bundle.
import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { openBundles, openCoordinator, startWorkerThread } from 'warmswap'
import { bundle } from '../build.js'

/** The code in the worker: the handler of its own generation. */
const worker = `
import { serveFetch, serveRequests } from ${JSON.stringify(import.meta.resolve('warmswap/worker'))}
import { handler } from './handler.mjs'
serveRequests((request) => handler(request))
serveFetch(async ({ url }) => new Response(await handler(new URL(url).pathname) + '\\n'))
`

export async function createWay(folder) {
  const entry = join(folder, 'src/handler.ts')
  await mkdir(join(folder, '.warmswap'), { recursive: true })
  const store = await openBundles(join(folder, '.warmswap/handler'))
  const coordinator = openCoordinator(store, { start: (context) => startWorkerThread(context, 'worker.mjs') })

  async function run({ stage }) {
    await stage.writeAll(await bundle(entry, stage.path), stage.path)
    await stage.write('worker.mjs', worker)
  }

  return {
    /** Call it after an edit. Resolves when a worker that has the edit answers. */
    async change() {
      const observed = coordinator.status().incarnation || null
      const { pin } = await coordinator.build({ atLeast: coordinator.change() }, run)
      try {
        await coordinator.reboot({ observed, reason: 'an edit' })
      } finally {
        pin.release()
      }
    },
    /** Call it when the worker has failed. */
    reboot: () => coordinator.reboot({ observed: coordinator.status().incarnation || null, reason: 'it failed' }),
    request: (request) => coordinator.dispatch(request, { replay: 'idempotent', timeoutMs: 5_000 }),
    /** Answers the requests of a server of node:http. */
    attach: (server) => coordinator.attach(server),
    status: () => coordinator.status(),
    async close() {
      await coordinator[Symbol.asyncDispose]()
      await store.close()
    },
  }
}
