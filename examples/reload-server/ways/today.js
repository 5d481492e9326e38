// The same dev server with the method of nitro and sst: a reload swaps in whichever build ends last, and pending
// requests belong to a worker.
import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { Worker } from 'node:worker_threads'
import { bundle } from '../build.js'

const program = (file) => `
import { parentPort } from 'node:worker_threads'
import { handler } from ${JSON.stringify(pathToFileURL(file).href)}
parentPort.on('message', async ({ id, request }) => parentPort.postMessage({ id, answer: await handler(request) }))
`

export async function createWay(folder) {
  const entry = join(folder, 'src/handler.ts')
  const out = join(folder, '.output')
  let builds = 0
  let ids = 0
  let worker
  const parked = new Map()

  async function start(file) {
    const entryFile = `${file}.worker.mjs`
    await writeFile(entryFile, program(file))
    const own = new Worker(pathToFileURL(entryFile))
    own.on('message', ({ id, answer }) => {
      parked.get(id)?.(answer)
      parked.delete(id)
    })
    // The requests of a worker are lost with it (function.go: delete(nextChan)).
    own.on('exit', () => {
      if (worker !== own) return
      worker = undefined
      parked.clear()
    })
    await new Promise((resolve) => own.once('online', resolve))
    await worker?.terminate()
    worker = own
  }

  let last
  return {
    async change() {
      builds += 1
      const file = join(out, `${builds}.mjs`)
      await mkdir(out, { recursive: true })
      const [{ contents }] = await bundle(entry, out)
      await writeFile(file, contents)
      last = file
      await start(file)
    },
    async reboot() {
      // 'got reboot but worker already exists'
      if (worker) return { outcome: 'worker already exists' }
      await start(last)
      return { outcome: 'started' }
    },
    request: (request) =>
      new Promise((resolve, reject) => {
        ids += 1
        parked.set(ids, resolve)
        worker?.postMessage({ id: ids, request })
        setTimeout(() => reject(new Error('no answer')), 2_000)
      }),
    close: () => worker?.terminate(),
  }
}
