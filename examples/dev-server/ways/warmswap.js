// The dev server's work with warmswap: dependencies are restored under a lock, and a coordinator builds, swaps and drains.
import { readdir } from 'node:fs/promises'
import { createServer } from 'node:http'
import { join } from 'node:path'
import { openBundles, openCoordinator, prewarm, startWorkerThread, unpack } from 'warmswap'
import { buildInMemory, readSources, revisionOf } from '../build.js'

/** The code in the worker: it answers HTTP requests with the handlers of its own generation. */
const worker = `
import { serveFetch } from ${JSON.stringify(import.meta.resolve('warmswap/worker'))}
import { handle } from './index.mjs'
serveFetch(async (request, { generation }) => {
  const { pathname } = new URL(request.url)
  try {
    return Response.json({ generation, ...(await handle(pathname)) })
  } catch (error) {
    if (error.code !== 'NO_ROUTE') throw error
    return Response.json({ generation, code: error.code, message: error.message }, { status: 404 })
  }
})
`

export async function createWay({ app, snapshot, log }) {
  const root = join(app, '.warmswap')
  const store = await openBundles(join(root, 'bundles'))
  let startMs = null
  const coordinator = openCoordinator(store, {
    async start(context) {
      const began = performance.now()
      const handle = await startWorkerThread(context, 'worker.mjs')
      startMs = performance.now() - began
      return handle
    },
  })
  /** Gets the requests of the dev server. It has no port of its own. */
  const workers = createServer()
  coordinator.attach(workers)

  /** Restores the dependencies from the snapshot. Exactly one process does so; the others wait for it. */
  async function prepare() {
    const target = join(app, 'node_modules')
    const isReady = async () => ((await isNonEmpty(target)) ? 'restored' : undefined)
    const run = async () => {
      const started = performance.now()
      await unpack(snapshot, target, { strict: true })
      log({ event: 'restored', ms: performance.now() - started })
      return 'restored'
    }
    const { waitedMs } = await prewarm(join(root, 'prewarm.lock'), { isReady, run })
    log({ event: 'prewarmed', waitedMs })
  }

  /** Writes the bundle of the current sources into the stage. The result becomes the generation's `meta`. */
  async function build({ stage }) {
    const sources = await readSources(app)
    const revision = revisionOf(app, sources)
    log({ event: 'building', revision })
    await stage.writeAll(await buildInMemory(app, sources, stage.path), stage.path)
    await stage.write('worker.mjs', worker)
    return { revision }
  }

  /** Builds, unless a build that started after this edit exists; starts the new worker, swaps, and drains the old one. */
  async function change() {
    const observed = coordinator.status().incarnation || null
    const { pin } = await coordinator.build({ atLeast: coordinator.change() }, build)
    try {
      await coordinator.reboot({ observed, reason: 'an edit' })
      log({ event: 'published', revision: pin.generation.meta.revision, generation: pin.generation.number })
    } finally {
      pin.release()
    }
  }

  return {
    /** Starts even if the sources do not compile, as long as there is a working generation. */
    async start() {
      await prepare()
      await change().catch((error) => {
        if (store.current() === null) throw error
        log({ event: 'build-failed', message: error.message.split('\n')[0] })
      })
    },
    change,
    /** Restarts the worker that the caller has seen. Callers that have seen the same one share one start. */
    reboot: (observed = coordinator.status().incarnation) =>
      coordinator.reboot({ observed: observed || null, reason: 'requested' }),
    answer: (request, response) => workers.emit('request', request, response),
    async status() {
      const { generation, incarnation } = coordinator.status()
      const generations = (await store.list()).map(({ number }) => number)
      return { way: 'warmswap', generation, incarnation, startMs, generations }
    },
    async close() {
      await coordinator[Symbol.asyncDispose]()
      await store.close()
    },
  }
}

async function isNonEmpty(directory) {
  return (await readdir(directory).catch(() => [])).length > 0
}
