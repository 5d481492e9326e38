// A module runner in a worker thread. Messages {type: 'call', id, url, name, args} import and call; all others are Vite's.
import { parentPort, workerData } from 'node:worker_threads'

const { ModuleRunner, ESModulesEvaluator } = await import(`${workerData.vite}/module-runner`)
const runner = new ModuleRunner(
  {
    transport: {
      connect({ onMessage, onDisconnection }) {
        parentPort.on('message', (message) => message.type !== 'call' && onMessage(message))
        parentPort.on('close', onDisconnection)
      },
      send: async (payload) => parentPort.postMessage(payload),
    },
    hmr: { logger: false },
  },
  new ESModulesEvaluator(),
)

parentPort.on('message', async ({ type, id, url, name, args }) => {
  if (type !== 'call') return
  try {
    const module = await runner.import(url)
    const member = module[name]
    parentPort.postMessage({ type: 'called', id, value: typeof member === 'function' ? await member(...args) : member })
  } catch (error) {
    parentPort.postMessage({ type: 'called', id, error: { ...error, message: error.message } })
  }
})
parentPort.postMessage({ type: 'ready' })
