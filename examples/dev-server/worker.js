// One worker thread: imports the bundle that `workerData` names, and answers requests with it.
import { parentPort, workerData } from 'node:worker_threads'

/** With warmswap the worker pins the generation itself. The pin is released when this thread ends, for any reason. */
async function locateBundle() {
  if (workerData.entry) return { url: workerData.entry, generation: null }
  const { openBundles } = await import('warmswap')
  const store = await openBundles(workerData.store)
  const pin = store.pin({ generation: workerData.generation })
  return { url: pin.url('index.mjs'), generation: pin.generation.number }
}

const { url, generation } = await locateBundle()
const { handle, paths } = await import(url)

parentPort.on('message', async ({ id, path }) => {
  try {
    parentPort.postMessage({ id, generation, ...(await handle(path)) })
  } catch (error) {
    parentPort.postMessage({ id, generation, error: { code: error.code, message: error.message } })
  }
})
parentPort.postMessage({ ready: true, paths })
