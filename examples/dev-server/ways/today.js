// The same work with today's common method: rm -rf and rebuild in place, a mkdir lock that is polled, tar -xzf.
// Modelled on the public reports (sst#6416, vercel/eve#432, deco-cx/deco#1182).
import { execFile } from 'node:child_process'
import { mkdir, rm, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { promisify } from 'node:util'
import esbuild from 'esbuild'
import { buildOptions, readRevision } from '../build.js'
import { BundleWorker } from '../pool.js'

const POLL_MS = 250
const STALE_MS = 30 * 60_000

export async function createWay({ app, snapshot, log }) {
  const dist = join(app, 'dist')
  let worker

  async function lock() {
    const directory = join(app, 'prewarm.lock')
    const started = performance.now()
    for (;;) {
      try {
        await mkdir(directory)
        log({ event: 'prewarmed', waitedMs: performance.now() - started })
        return () => rm(directory, { recursive: true })
      } catch (error) {
        if (error.code !== 'EEXIST') throw error
        const age = Date.now() - (await stat(directory).catch(() => ({ mtimeMs: Date.now() }))).mtimeMs
        if (age > STALE_MS) await rm(directory, { recursive: true, force: true })
        else await new Promise((resolve) => setTimeout(resolve, POLL_MS))
      }
    }
  }

  async function prepare() {
    const unlock = await lock()
    try {
      if (await stat(join(app, 'node_modules')).catch(() => undefined)) return
      const started = performance.now()
      await mkdir(join(app, 'node_modules'))
      await promisify(execFile)('tar', ['-xzf', snapshot, '-C', join(app, 'node_modules')])
      log({ event: 'restored', ms: performance.now() - started })
    } finally {
      await unlock()
    }
  }

  async function build() {
    const revision = await readRevision(app)
    log({ event: 'building', revision })
    await rm(dist, { recursive: true, force: true })
    await mkdir(dist, { recursive: true })
    await esbuild.build(buildOptions(app, revision, dist))
    log({ event: 'published', revision })
  }

  function start() {
    const started = new BundleWorker({ entry: pathToFileURL(join(dist, 'index.mjs')).href })
    started.ready.catch(() => {
      if (worker === started) worker = undefined
    })
    return started
  }

  /** Stops the worker and rebuilds. The next request starts a worker again. */
  async function change() {
    const old = worker
    worker = undefined
    await old?.terminate()
    await build()
  }

  return {
    async start() {
      await prepare()
      await build()
    },
    change,
    async reboot() {
      const old = worker
      worker = start()
      await old?.terminate()
    },
    ask(path) {
      worker ??= start()
      return worker.ask(path)
    },
    status: async () => ({ way: 'today', generation: null, generations: [] }),
    close: async () => await worker?.terminate(),
  }
}
