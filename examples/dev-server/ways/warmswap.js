// The dev server's work with warmswap: restore under a lock, build once over all processes, swap, then drain.
import { createHash } from 'node:crypto'
import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { openBundles, prewarm, unpack } from 'warmswap'
import { buildInMemory, readRevision } from '../build.js'
import { BundleWorker } from '../pool.js'

export async function createWay({ app, snapshot, log }) {
  const root = join(app, '.warmswap')
  const store = await openBundles(join(root, 'bundles'))
  let current
  let rebooting
  let changing = Promise.resolve()

  /** Dependencies come from the snapshot, once, whoever starts first; the others wait for it. */
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

  /** A generation is made from the bytes of the sources: the same bytes are built once over all processes. */
  async function build() {
    const wanted = await fingerprint(join(app, 'src'))
    return await store.ensure(
      async (stage) => {
        const revision = await readRevision(app)
        log({ event: 'building', revision })
        await stage.writeAll(await buildInMemory(app, revision, stage.path), stage.path)
        await stage.write('revision.txt', String(revision))
        // An edit while esbuild was reading: this tree would be filed under a fingerprint that is not its own.
        if ((await fingerprint(join(app, 'src'))) !== wanted) throw new SourcesChanged()
      },
      { fingerprint: wanted },
    )
  }

  /** Build, start the new worker, swap, and only then let the old one finish and go. */
  async function change() {
    const pin = await build()
    if (current?.generation === pin.generation.number) return pin.release()
    const revision = Number(await readFile(pin.resolve('revision.txt'), 'utf8'))
    const next = await startWorker(pin)
    const old = current
    current = next
    log({ event: 'published', revision, generation: next.generation })
    await old?.worker.drain()
  }

  async function startWorker(pin) {
    const generation = pin.generation.number
    const worker = new BundleWorker({ store: store.root, generation })
    try {
      await worker.ready // from here on the thread holds a pin of its own
    } finally {
      pin.release()
    }
    return { worker, generation }
  }

  async function restartWorker() {
    const old = current
    current = await startWorker(store.pin())
    await old?.worker.drain()
  }

  return {
    async start() {
      await prepare()
      await change()
    },
    /** Edits that arrive while a build runs are served by one build after it. */
    change: () => (changing = changing.catch(() => {}).then(change)),
    /** Any number of reboots at once is one reboot. */
    reboot: () => (rebooting ??= restartWorker().finally(() => (rebooting = undefined))),
    ask: (path) => current.worker.ask(path),
    status: async () => ({ way: 'warmswap', generation: current.generation, generations: (await store.list()).map(({ number }) => number) }),
    close: async () => {
      await current?.worker.terminate()
      await store.close()
    },
  }
}

/** The watcher reports the edit that caused it, and the change after this one builds again. */
class SourcesChanged extends Error {
  message = 'the sources changed during the build'
}

async function isNonEmpty(directory) {
  return (await readdir(directory).catch(() => [])).length > 0
}

async function fingerprint(directory) {
  const hash = createHash('sha256')
  const names = (await readdir(directory, { recursive: true, withFileTypes: true })).filter((entry) => entry.isFile())
  for (const path of names.map((entry) => join(entry.parentPath, entry.name)).sort()) hash.update(path).update(await readFile(path))
  return hash.digest('hex')
}
