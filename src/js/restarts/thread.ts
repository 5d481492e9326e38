/** A worker that is a thread of this process. */

import { Worker } from 'node:worker_threads'
import type { Pin } from '../bundles.js'
import { WarmswapError } from '../errors.js'
import { milliseconds, options as checkedOptions, string } from '../validate.js'
import { Channel } from './channel.js'
import type { WorkerHandle } from './handle.js'
import { READY_TIMEOUT_MS, becomeReady } from './ready.js'
import { within } from './wait.js'

/** Options of {@link startWorkerThread}. */
export interface WorkerThreadOptions {
  /** `workerData` of the thread. */
  workerData?: unknown
  /** How long until the entry calls serveRequests(). @default 30_000 */
  readyTimeoutMs?: number
}

/**
 * Starts `entry`, a file of the pinned generation, as a thread. Resolves once it calls serveRequests(). A thread has
 * the working directory of its process: Node can give it none of its own.
 *
 * @throws {WarmswapError} ERR_NOT_READY when the entry does not call serveRequests() in time, ERR_WORKER_EXITED when
 * it ends before.
 */
export async function startWorkerThread<Q = unknown, R = unknown>(context: { pin: Pin; signal: AbortSignal }, entry: string, options?: WorkerThreadOptions): Promise<WorkerHandle<Q, R>> {
  const { workerData, readyTimeoutMs = READY_TIMEOUT_MS } = checkedOptions('options', options, ['workerData', 'readyTimeoutMs'])
  const url = new URL(context.pin.url(string('entry', entry)))
  milliseconds('options.readyTimeoutMs', readyTimeoutMs)
  context.signal.throwIfAborted()

  const thread = new Worker(url, { workerData })
  const channel = new Channel<Q, R>((message) => thread.postMessage(message))
  let failure: Error | undefined
  thread.on('message', (message) => channel.receive(message))
  thread.on('error', (error) => (failure = error))
  const exited = new Promise<{ code: number; error?: Error | undefined }>((resolve) => {
    thread.on('exit', (code) => {
      channel.close(failure ? `${failure.name}: ${failure.message}` : `exit code ${code}`)
      resolve({ code, error: failure })
    })
  })

  const handle: WorkerHandle<Q, R> = {
    exited,
    send: (request, context) => channel.send(request, context),
    async stop(deadlineMs) {
      channel.stop()
      const late = (): WarmswapError => new WarmswapError('ERR_TIMEOUT', `the thread did not end within ${deadlineMs} ms`)
      await within(exited, { timeoutMs: deadlineMs, late }).catch(() => thread.terminate())
      await exited
    },
  }
  await becomeReady(handle, channel, { entry, readyTimeoutMs, signal: context.signal })
  return handle
}
