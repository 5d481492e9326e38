/** A worker that is a thread of this process. */

import { fileURLToPath } from 'node:url'
import { Worker } from 'node:worker_threads'
import { WarmswapError } from '../native/errors.js'
import { refuseLoss, uncopyable } from '../native/loss.js'
import { options as checkedOptions, milliseconds, string } from '../native/validate.js'
import { Channel, refuseUnreadable } from './channel.js'
import type { WorkerHandle } from './handle.js'
import { becomeReady, READY_TIMEOUT_MS } from './ready.js'
import { fromRemote, toRemote } from './remote-error.js'
import { checkedStartContext, type GivenContext } from './start-context.js'
import { isUnlocated, locate } from './syntax-error.js'
import { within } from './wait.js'

/** Options of {@link startWorkerThread}. */
export interface WorkerThreadOptions {
  /** `workerData` of the thread. */
  workerData?: unknown
  /** Time limit in milliseconds for the entry to call serveRequests(). @default 30_000 */
  readyTimeoutMs?: number
}

/**
 * Starts `entry`, a file of the pinned generation, as a thread. Resolves once it calls serveRequests(). A thread shares
 * the working directory of its process.
 *
 * @throws {WarmswapError} ERR_NOT_READY if the entry does not call serveRequests() in time; ERR_WORKER_EXITED if it
 * ends before, with the uncaught error that ended it, and the worker's stack, as `cause`.
 */
export async function startWorkerThread<Q = unknown, R = unknown>(
  context: GivenContext,
  entry: string,
  options?: WorkerThreadOptions,
): Promise<WorkerHandle<Q, R>> {
  const { workerData, readyTimeoutMs = READY_TIMEOUT_MS } = checkedOptions('options', options, [
    'workerData',
    'readyTimeoutMs',
  ])
  const { pin, signal } = checkedStartContext(context)
  const url = new URL(pin.url(string('entry', entry)))
  milliseconds('options.readyTimeoutMs', readyTimeoutMs)
  signal.throwIfAborted()

  const thread = startThread(url, workerData)
  const channel = new Channel<Q, R>((message) => thread.postMessage(message), 'clone')
  let failure: Error | undefined
  thread.on('message', (message) => channel.receive(message))
  thread.on('messageerror', (error) => refuseUnreadable(channel, error))
  thread.on('error', (error: unknown) => (failure = fromRemote(toRemote(error), 'in the worker')))
  const exited = new Promise<{ code: number; error?: Error | undefined }>((resolve) => {
    thread.on('exit', async (code) => {
      if (isUnlocated(failure)) await locate(failure, fileURLToPath(url))
      channel.close(`exit code ${code}`, failure)
      resolve({ code, error: failure })
    })
  })

  const handle: WorkerHandle<Q, R> = {
    exited,
    send: (request, context) => channel.send(request, context),
    async stop(deadlineMs) {
      channel.stop()
      const late = (): WarmswapError =>
        new WarmswapError('ERR_TIMEOUT', `the thread did not end within ${deadlineMs} ms`)
      await within(exited, { timeoutMs: deadlineMs, late }).catch(() => thread.terminate())
      await exited
    },
  }
  await becomeReady(handle, channel, { entry, readyTimeoutMs, signal })
  return handle
}

function startThread(url: URL, workerData: unknown): Worker {
  refuseLoss('options.workerData', workerData, 'clone')
  try {
    return new Worker(url, { workerData })
  } catch (error) {
    if (error instanceof DOMException && error.name === 'DataCloneError') throw uncopyable('options.workerData', error)
    throw error
  }
}
