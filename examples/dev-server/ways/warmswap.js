// The dev server's work with warmswap: restore under a lock, build once over all processes, swap, then drain.
import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { openBundles, prewarm, unpack } from 'warmswap'
import { buildInMemory, fingerprint, readSources, revisionOf } from '../build.js'
import { BundleWorker } from '../pool.js'

export async function createWay({ app, snapshot, log }) {
  const root = join(app, '.warmswap')
  const store = await openBundles(join(root, 'bundles'))
  let current
  let rebooting
  let last = Promise.resolve()

  /** One swap after the other: a reboot that began before an edit must not put the older generation back. */
  const inTurn = (work) => (last = last.catch(() => {}).then(work))

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
    void worker.exited.then(() => replaceCrashed(worker))
    return { worker, generation }
  }

  /** A worker that was followed or closed may end; one that is served from has crashed. */
  async function replaceCrashed(worker) {
    if (current?.worker !== worker) return
    log({ event: 'worker-crashed', generation: current.generation })
    await way.reboot().catch((error) => log({ event: 'reboot-failed', message: error.message }))
  }

  /** On the generation that is served: the store's current one can be the late build of another process. */
  async function restartWorker() {
    const old = current
    current = await startWorker(store.pin({ generation: old.generation }))
    await old.worker.drain()
  }

  const way = {
    /** Sources that do not compile are no reason not to start while there is a generation that works. */
    async start() {
      await prepare()
      await change().catch(async (error) => {
        if (store.current() === null) throw error
        log({ event: 'build-failed', message: error.message.split('\n')[0] })
        current = await startWorker(store.pin())
      })
    },
    change: () => inTurn(change),
    /** Any number of reboots at once is one reboot. */
    reboot: () => (rebooting ??= inTurn(restartWorker).finally(() => (rebooting = undefined))),
    ask: (path) => current.worker.ask(path),
    status: async () => ({
      way: 'warmswap',
      generation: current.generation,
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
