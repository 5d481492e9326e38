// The same work, done carefully by hand: builds in a temporary folder that a swapped symlink points to, a lock of
// proper-lockfile, and an archive that is extracted into a temporary folder and renamed.
import { execFile } from 'node:child_process'
import { mkdir, mkdtemp, readdir, realpath, rename, rm, stat, symlink } from 'node:fs/promises'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { promisify } from 'node:util'
import esbuild from 'esbuild'
import lockfile from 'proper-lockfile'
import { buildOptions, readRevision } from '../build.js'
import { BundleWorker } from '../pool.js'

/** Retries for 30 s. A lock whose holder was killed is stale after 10 s, proper-lockfile's default. */
const LOCK = { realpath: false, retries: { retries: 300, factor: 1, minTimeout: 100, maxTimeout: 100 } }

export const lock = (app) => lockfile.lock(join(app, 'prewarm'), LOCK)

/** Build folders of this way that exist in an app. */
export const buildFolders = async (app) => (await readdir(join(app, 'builds')).catch(() => [])).length

export async function createWay({ app, snapshot, log }) {
  const builds = join(app, 'builds')
  const current = join(app, 'current')
  let worker
  let old
  let pending
  let last = Promise.resolve()
  const inTurn = (work) => (last = last.catch(() => {}).then(work))

  async function prepare() {
    const started = performance.now()
    const unlock = await lock(app)
    log({ event: 'prewarmed', waitedMs: performance.now() - started })
    try {
      const target = join(app, 'node_modules')
      if (await stat(target).catch(() => undefined)) return
      const began = performance.now()
      const temporary = await mkdtemp(join(app, '.node_modules-'))
      await promisify(execFile)('tar', ['-xzf', snapshot, '-C', temporary])
      await rename(temporary, target)
      log({ event: 'restored', ms: performance.now() - began })
    } finally {
      await unlock()
    }
  }

  /** Builds into a new folder, then replaces the symlink by rename. A killed process leaves its folder behind. */
  async function build() {
    const revision = await readRevision(app)
    log({ event: 'building', revision })
    await mkdir(builds, { recursive: true })
    const folder = await mkdtemp(join(builds, `${process.pid}-`))
    try {
      await esbuild.build(buildOptions(app, revision, folder))
    } catch (error) {
      await rm(folder, { recursive: true })
      throw error
    }
    const link = `${current}.${process.pid}`
    await symlink(folder, link)
    await rename(link, current)
    return { folder, revision }
  }

  async function start(folder) {
    const started = new BundleWorker({ entry: pathToFileURL(join(folder, 'index.mjs')).href })
    await started.ready
    return started
  }

  /** Removes the build before the previous one. Other processes may still use the previous one. */
  async function change() {
    const { folder, revision } = await build()
    const next = await start(folder)
    const previous = worker
    worker = next
    log({ event: 'published', revision })
    await previous?.drain()
    if (old?.previous) await rm(old.previous, { recursive: true, force: true })
    old = { folder, previous: old?.folder }
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
    reboot: () =>
      inTurn(async () => {
        const previous = worker
        worker = await start(await realpath(current))
        await previous.drain()
      }),
    ask: (path) => worker.ask(path),
    status: async () => ({ way: 'careful', generation: null, generations: [] }),
    close: async () => await worker?.terminate(),
  }
}
