// A worker thread of the methods without warmswap. It counts the requests in flight, so that it can be drained.
import { Worker } from 'node:worker_threads'

/** Time limit in milliseconds for requests in flight once their worker was replaced. */
const DRAIN_MS = 5000

export class BundleWorker {
  #worker
  #waiting = new Map()
  #next = 0
  #idle = []
  #ended

  constructor(workerData) {
    this.#worker = new Worker(new URL('./worker.js', import.meta.url), { workerData })
    this.ready = new Promise((resolve, reject) => {
      this.#worker.on('message', (message) => (message.ready ? resolve(message.paths) : this.#settle(message)))
      this.#worker.on('error', reject)
      this.#worker.on('exit', (code) => {
        this.#ended = Object.assign(new Error(`the worker ended with exit code ${code}`), { code: 'WORKER_EXITED' })
        reject(this.#ended)
        for (const { reject: rejectRequest } of this.#waiting.values()) rejectRequest(this.#ended)
        this.#waiting.clear()
        this.#wakeDrainers()
      })
    })
    this.ready.catch(() => {})
    this.exited = new Promise((resolve) => this.#worker.once('exit', resolve))
  }

  async ask(path) {
    await this.ready
    if (this.#ended) throw this.#ended
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

  /** Ends the thread when no request is in flight, or at the deadline: a request that hangs must not delay the next swap. */
  async drain() {
    if (this.#waiting.size > 0) {
      let timer
      await Promise.race([
        new Promise((resolve) => this.#idle.push(resolve)),
        new Promise((resolve) => (timer = setTimeout(resolve, DRAIN_MS))),
      ])
      clearTimeout(timer)
    }
    await this.#worker.terminate()
  }

  terminate() {
    return this.#worker.terminate()
  }
}
