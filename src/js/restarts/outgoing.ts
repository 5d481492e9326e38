/** The worker's end of one request: who carries it out learns when nobody waits any more, and parts are sent as they are asked for. */

import type { Parts } from './parts.js'
import { deferred } from './wait.js'

export class Call {
  private readonly given = new AbortController()
  private credit = 0
  private turn = deferred<void>()

  /** Raised when nobody waits for the answer any more. */
  get signal(): AbortSignal {
    return this.given.signal
  }

  /** The host has room for so many more parts. */
  grant(count: number): void {
    this.credit += count
    this.turn.resolve()
  }

  cancel(): void {
    this.given.abort()
    this.turn.resolve()
  }

  /** Gives every part to `send`, none faster than the host asks for. Rejects with what the source or `send` fails with. */
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
    while (this.credit === 0 && !this.signal.aborted) {
      this.turn = deferred()
      await this.turn.promise
    }
    this.credit -= 1
    return !this.signal.aborted
  }

  /** A source that is silent for hours must not keep a worker that nobody listens to. */
  private unlessCancelled<T>(promise: Promise<T>): Promise<T | undefined> {
    return new Promise((resolve, reject) => {
      const stop = (): void => resolve(undefined)
      this.signal.addEventListener('abort', stop, { once: true })
      promise.then(resolve, reject).finally(() => this.signal.removeEventListener('abort', stop))
    })
  }
}
