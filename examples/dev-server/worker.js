// One worker thread of the methods without warmswap: imports the bundle at `workerData.entry`, and answers with it.
import { parentPort, workerData } from 'node:worker_threads'

const { handle, paths } = await import(workerData.entry)

parentPort.on('message', async ({ id, path }) => {
  try {
    parentPort.postMessage({ id, generation: null, ...(await handle(path)) })
  } catch (error) {
    parentPort.postMessage({ id, generation: null, error: { code: error.code, message: error.message } })
  }
})
parentPort.postMessage({ ready: true, paths })
