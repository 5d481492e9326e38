/**
 * The worker's end of one request. The handler is notified when no caller waits any more, and parts are sent as they
 * are requested.
 */

import { Cancellation } from './cancellation.js'
import type { Parts } from './parts.js'
import { type Deferred, deferred } from './wait.js'

export class Call {
  private readonly cancellation = new Cancellation()
  private credit = 0
  private turn: Deferred<void> | undefined

  /** Aborts when no caller waits for the answer any more. */
  get signal(): AbortSignal {
    return this.cancellation.signal
  }

  /** The host can buffer this many more parts. */
  grant(count: number): void {
    this.credit += count
    this.turn?.resolve()
  }

  cancel(): void {
    this.cancellation.cancel()
    this.turn?.resolve()
  }

  /**
   * Passes every part to `send`, no faster than the host requests them. Rejects with an error of the source or of
   * `send`.
   */
  async pour(parts: Parts, send: (part: unknown) => Promise<void>): Promise<void> {
    try {
      while (await this.mayGoOn()) {
        const step = await this.unlessCancelled(parts.next())
        if (step === undefined || step.done === true) return
        await send(step.value)
      }
    } finally {
      parts.stop()
    }
  }

  private async mayGoOn(): Promise<boolean> {
    while (this.credit === 0 && !this.cancellation.isCancelled) {
      this.turn = deferred()
      await this.turn.promise
    }
    this.credit -= 1
    return !this.cancellation.isCancelled
  }

  /** A source that is silent for hours must not keep a worker alive that has no listeners. */
  private unlessCancelled<T>(promise: Promise<T>): Promise<T | undefined> {
    return new Promise((resolve, reject) => {
      const stop = (): void => resolve(undefined)
      this.signal.addEventListener('abort', stop, { once: true })
      promise.then(resolve, reject).finally(() => this.signal.removeEventListener('abort', stop))
    })
  }
}
