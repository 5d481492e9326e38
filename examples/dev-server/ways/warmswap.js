// The dev server's work with warmswap: restore under a lock, build once across all processes, swap, then drain.
import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { openBundles, prewarm, unpack } from 'warmswap'
import { buildInMemory, fingerprint, readSources, revisionOf } from '../build.js'
import { BundleWorker } from '../pool.js'

export async function createWay({ app, snapshot, log }) {
  const root = join(app, '.warmswap')
  const store = await openBundles(join(root, 'bundles'))
  let current
  let incarnation = 0
  let rebooting
  let last = Promise.resolve()

  /** Swaps run one after the other: a reboot that began before an edit must not bring back the older generation. */
  const inTurn = (work) => (last = last.catch(() => {}).then(work))

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

  /** Builds a generation from the bytes of the sources. The same bytes are built once across all processes. */
  async function build() {
    const sources = await readSources(app)
    return await store.ensure(
      async (stage) => {
        const revision = revisionOf(app, sources)
        log({ event: 'building', revision })
        await stage.writeAll(await buildInMemory(app, sources, stage.path), stage.path)
        await stage.write('revision.txt', String(revision))
      },
      { fingerprint: fingerprint(sources) },
    )
  }

  /** Builds, starts the new worker, swaps, and only then drains the old worker. */
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
    const began = performance.now()
    const worker = new BundleWorker({ store: store.root, generation })
    try {
      await worker.ready // from here on, the thread has its own pin
    } finally {
      pin.release()
    }
    void worker.exited.then(() => replaceCrashed(worker))
    return { worker, generation, incarnation: ++incarnation, startMs: performance.now() - began }
  }

  /** Replaced and closed workers may end. If the current worker ends, it has crashed. */
  async function replaceCrashed(worker) {
    if (current?.worker !== worker) return
    log({ event: 'worker-crashed', generation: current.generation })
    await way.reboot().catch((error) => log({ event: 'reboot-failed', message: error.message }))
  }

  /** Restarts on the served generation: the store's current one can be a late build of another process. */
  async function restartWorker() {
    const old = current
    current = await startWorker(store.pin({ generation: old.generation }))
    await old.worker.drain()
  }

  const way = {
    /** Starts even if the sources do not compile, as long as there is a working generation. */
    async start() {
      await prepare()
      await change().catch(async (error) => {
        if (store.current() === null) throw error
        log({ event: 'build-failed', message: error.message.split('\n')[0] })
        current = await startWorker(store.pin())
      })
    },
    change: () => inTurn(change),
    /** Concurrent reboots share one restart. */
    reboot: () => (rebooting ??= inTurn(restartWorker).finally(() => (rebooting = undefined))),
    ask: (path) => current.worker.ask(path),
    status: async () => ({
      way: 'warmswap',
      generation: current.generation,
      incarnation: current.incarnation,
      startMs: current.startMs,
      generations: (await store.list()).map(({ number }) => number),
    }),
    close: async () => {
      const last = current
      current = undefined
      await last?.worker.terminate()
      await store.close()
    },
  }
  return way
}

async function isNonEmpty(directory) {
  return (await readdir(directory).catch(() => [])).length > 0
}
