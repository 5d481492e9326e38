/**
 * Modules of the fixture that run in a worker thread: transports as described in Vite's guide, and runners for the main
 * thread.
 */

import { once } from 'node:events'
import { join } from 'node:path'
import { Worker } from 'node:worker_threads'
import type { DevEnvironment, HotChannel, ResolvedConfig } from 'vite'
import type { ModuleRunner } from 'vite/module-runner'
import { repository } from './paths.js'

type Vite = typeof import('vite')
type Payload = { type: string; event: string; data: unknown }
type Listener = (data: unknown, client: { send(payload: unknown): void }) => void

/** One thread for all runners of a fixture, so that they share its isolate. */
export class RunnerThread {
  readonly #worker: Worker
  readonly #listeners = new Map<number, Map<Listener, string>>()
  #count = 0

  private constructor(worker: Worker) {
    this.#worker = worker
    // Many calls may be under way at once.
    worker.setMaxListeners(0)
    worker.on('message', (message: { type: string; channel: number; id: number; payload: Payload }) => {
      if (message.type !== 'vite' || message.payload.type !== 'custom') return
      const client = {
        send: (payload: unknown) =>
          worker.postMessage({ type: 'vite', channel: message.channel, id: message.id, payload }),
      }
      for (const [listener, event] of [...(this.#listeners.get(message.channel) ?? [])])
        if (event === message.payload.event) listener(message.payload.data, client)
    })
  }

  /** Starts the thread with the module runner of that version of Vite. */
  static async start(vite: string): Promise<RunnerThread> {
    const worker = new Worker(join(repository, '__test__/programs/vite-runner-worker.mjs'), { workerData: { vite } })
    await once(worker, 'message')
    return new RunnerThread(worker)
  }

  /** An environment whose modules run in the thread. Its `runner` is where Vite's own runnable environments have theirs. */
  environment(vite: Vite, name: string, config: ResolvedConfig): DevEnvironment {
    const channel = ++this.#count
    const environment = new vite.DevEnvironment(name, config, { hot: true, transport: this.#transport(channel) })
    return Object.assign(environment, { channel, runner: this.openRunner(channel) })
  }

  /** A runner for the main thread whose modules live in the thread: every export is an asynchronous function. */
  openRunner(channel: number): ModuleRunner {
    const id = ++this.#count
    this.#worker.postMessage({ type: 'open', id, channel })
    const module = (url: string): unknown =>
      new Proxy(
        {},
        {
          get: (_, name) =>
            name === 'then' ? undefined : (...args: unknown[]) => this.#call(id, url, String(name), args),
        },
      )
    const runner = {
      import: async (url: string) => {
        // Under a name that no module exports: imports, and reads nothing.
        await this.#call(id, url, 'then', [])
        return module(url)
      },
      clearCache: () => this.#worker.postMessage({ type: 'clearCache', id }),
      close: () => {
        const closed = this.#answer((message) => message.type === 'closed' && message.id === id)
        this.#worker.postMessage({ type: 'close', id })
        return closed
      },
    }
    return runner as unknown as ModuleRunner
  }

  terminate(): Promise<unknown> {
    return this.#worker.terminate()
  }

  #transport(channel: number): HotChannel {
    const listeners = new Map<Listener, string>()
    this.#listeners.set(channel, listeners)
    return {
      send: (payload: unknown) => this.#worker.postMessage({ type: 'vite', channel, payload }),
      on: (event: string, listener: Listener) => void listeners.set(listener, event),
      off: (_event: string, listener: Listener) => void listeners.delete(listener),
      listen() {},
      close() {},
    } as unknown as HotChannel
  }

  async #call(id: number, url: string, name: string, args: unknown[]): Promise<unknown> {
    const call = ++this.#count
    const answer = this.#answer((message) => message.type === 'called' && message.call === call)
    this.#worker.postMessage({ type: 'call', id, call, url, name, args })
    const { value, error } = (await answer) as { value?: unknown; error?: { message: string } }
    // Own properties cross, as in Vite's own transport; the class does not.
    if (error) throw Object.assign(new Error(error.message), error)
    return value
  }

  #answer(isIt: (message: { type: string; [field: string]: unknown }) => boolean): Promise<unknown> {
    return new Promise((resolve) => {
      const listener = (message: { type: string }): void => {
        if (!isIt(message)) return
        this.#worker.off('message', listener)
        resolve(message)
      }
      this.#worker.on('message', listener)
    })
  }
}
