/** Modules of the fixture that run in a worker thread: the transport as Vite's guide describes it, and a runner for the main thread. */

import { join } from 'node:path'
import { Worker } from 'node:worker_threads'
import type { HotChannel } from 'vite'
import type { ModuleRunner } from 'vite/module-runner'
import { repository } from './paths.js'

export interface FixtureWorker {
  readonly channel: HotChannel
  /** Imports the url in the worker and calls the export, or reads it. */
  call(url: string, name: string, args: unknown[]): Promise<unknown>
  terminate(): Promise<unknown>
}

/** Starts the worker with the module runner of that version of Vite. */
export async function workerTransport(vite: string): Promise<FixtureWorker> {
  const worker = new Worker(join(repository, '__test__/processes/vite-runner-worker.mjs'), { workerData: { vite } })
  await new Promise<void>((resolve, reject) => worker.once('message', () => resolve()).once('error', reject))
  const listeners = new Map<unknown, (message: unknown) => void>()
  const client = { send: (payload: unknown) => worker.postMessage(payload) }
  const channel = {
    send: (payload: unknown) => worker.postMessage(payload),
    on(event: string, handler: (data: unknown, client: unknown) => void) {
      const listener = (message: unknown): void => {
        const { type, event: name, data } = message as { type: string; event: string; data: unknown }
        if (type === 'custom' && name === event) handler(data, client)
      }
      listeners.set(handler, listener)
      worker.on('message', listener)
    },
    off(_event: string, handler: unknown) {
      const listener = listeners.get(handler)
      if (listener) worker.off('message', listener)
    },
    listen() {},
    close() {},
  } as unknown as HotChannel
  let calls = 0
  return {
    channel,
    terminate: () => worker.terminate(),
    call: (url, name, args) =>
      new Promise((resolve, reject) => {
        const id = (calls += 1)
        const listener = (message: { type: string; id: number; value?: unknown; error?: object & { message: string } }): void => {
          if (message.type !== 'called' || message.id !== id) return
          worker.off('message', listener)
          // Own properties cross, as in Vite's own transport; the class does not.
          if (message.error) reject(Object.assign(new Error(message.error.message), message.error))
          else resolve(message.value)
        }
        worker.on('message', listener)
        worker.postMessage({ type: 'call', id, url, name, args })
      }),
  }
}

/** A runner for the main thread whose modules live in the worker: every export is an asynchronous function. */
export function workerRunner(worker: FixtureWorker): ModuleRunner {
  const module = (url: string): unknown =>
    new Proxy({}, { get: (_, name) => (name === 'then' ? undefined : (...args: unknown[]) => worker.call(url, String(name), args)) })
  return { import: async (url: string) => module(url) } as unknown as ModuleRunner
}
