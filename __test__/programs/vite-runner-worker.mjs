// A thread with module runners in it: of several environments, and several of each. Messages to it:
//   open {id, channel}           a runner on the channel of an environment
//   close {id}, clearCache {id}
//   call {id, call, url, name, args}   imports through that runner and calls the export, or reads it
//   vite {channel, id?, payload} Vite's own, for one runner of the channel or for all of them
import { parentPort, workerData } from 'node:worker_threads'

// A package, or the URL of its main file.
const isUrl = workerData.vite.startsWith('file:')
const { ModuleRunner, ESModulesEvaluator } = await import(
  isUrl ? new URL('module-runner.js', workerData.vite).href : `${workerData.vite}/module-runner`
)
const runners = new Map()

function open({ id, channel }) {
  const opened = { channel, onMessage() {} }
  runners.set(id, opened)
  const transport = {
    connect({ onMessage }) {
      opened.onMessage = onMessage
    },
    disconnect: () => void runners.delete(id),
    send: async (payload) => parentPort.postMessage({ type: 'vite', channel, id, payload }),
  }
  opened.runner = new ModuleRunner({ transport, hmr: { logger: false } }, new ESModulesEvaluator())
}

async function call({ id, call, url, name, args }) {
  try {
    const member = (await runners.get(id).runner.import(url))[name]
    parentPort.postMessage({
      type: 'called',
      call,
      value: typeof member === 'function' ? await member(...args) : member,
    })
  } catch (error) {
    parentPort.postMessage({ type: 'called', call, error: { ...error, message: error.message } })
  }
}

function vite({ channel, id, payload }) {
  for (const [each, opened] of runners)
    if (opened.channel === channel && (id === undefined || id === each)) opened.onMessage(payload)
}

const close = async ({ id }) => {
  await runners.get(id)?.runner.close()
  parentPort.postMessage({ type: 'closed', id })
}
const clearCache = ({ id }) => runners.get(id).runner.clearCache()

const handlers = { open, call, vite, close, clearCache }
parentPort.on('message', (message) => handlers[message.type](message))
parentPort.postMessage({ type: 'ready' })
