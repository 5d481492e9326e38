// The same work with today's common method: builds in place after rm -rf, a mkdir lock that is polled, tar -xzf. Builds run
// one after the other, and the old worker serves until the new build is done.
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
  let pending
  let last = Promise.resolve()
  const inTurn = (work) => (last = last.catch(() => {}).then(work))

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
    return revision
  }

  function start() {
    const started = new BundleWorker({ entry: pathToFileURL(join(dist, 'index.mjs')).href })
    started.ready.catch(() => {
      if (worker === started) worker = undefined
    })
    return started
  }

  /** Rebuilds, then replaces the worker. */
  async function change() {
    const revision = await build()
    await replace()
    log({ event: 'published', revision })
  }

  /** Requests wait for the new worker until it has loaded the bundle. */
  async function replace() {
    const old = worker
    worker = start()
    await old?.terminate()
  }

  return {
    async start() {
      await prepare()
      await inTurn(change)
    },
    /** Edits during a build share the next one. */
    change: () =>
      (pending ??= inTurn(() => {
        pending = undefined
        return change()
      })),
    reboot: replace,
    ask(path) {
      worker ??= start()
      return worker.ask(path)
    },
    status: async () => ({ way: 'today', generation: null, generations: [] }),
    close: async () => await worker?.terminate(),
  }
}
