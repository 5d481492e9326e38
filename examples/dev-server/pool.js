// A worker thread as something that can be asked: requests in flight are counted, so that it can be drained.
import { Worker } from 'node:worker_threads'

export class BundleWorker {
  #worker
  #waiting = new Map()
  #next = 0
  #idle = []

  constructor(workerData) {
    this.#worker = new Worker(new URL('./worker.js', import.meta.url), { workerData })
    this.ready = new Promise((resolve, reject) => {
      this.#worker.on('message', (message) => (message.ready ? resolve(message.paths) : this.#settle(message)))
      this.#worker.on('error', reject)
      this.#worker.on('exit', (code) => {
        const error = Object.assign(new Error(`the worker ended with exit code ${code}`), { code: 'WORKER_EXITED' })
        reject(error)
        for (const { reject: rejectRequest } of this.#waiting.values()) rejectRequest(error)
        this.#waiting.clear()
        this.#wakeDrainers()
      })
    })
    this.ready.catch(() => {})
  }

  async ask(path) {
    await this.ready
    const id = this.#next++
    return await new Promise((resolve, reject) => {
      this.#waiting.set(id, { resolve, reject })
      this.#worker.postMessage({ id, path })
    })
  }

  #settle({ id, error, ...answer }) {
    const request = this.#waiting.get(id)
    this.#waiting.delete(id)
    if (error) request.reject(Object.assign(new Error(error.message), { code: error.code }))
    else request.resolve(answer)
    this.#wakeDrainers()
  }

  #wakeDrainers() {
    if (this.#waiting.size === 0) for (const wake of this.#idle.splice(0)) wake()
  }

  /** Resolves when nothing is in flight, then ends the thread. */
  async drain() {
    if (this.#waiting.size > 0) await new Promise((resolve) => this.#idle.push(resolve))
    await this.#worker.terminate()
  }

  terminate() {
    return this.#worker.terminate()
  }
}
