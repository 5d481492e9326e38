/**
 * An answer in parts, from the coordinator's view: a stream for the caller. It ends by itself, by its consumer, or when
 * the coordinator cuts it off because its worker has no time left.
 */

import type { Cancellation } from './cancellation.js'
import type { Parts } from './parts.js'
import { deferred } from './wait.js'

/** What goes on after its request was answered, and keeps its worker: an answer in parts, an upgraded socket. */
export interface Lasting {
  /** Resolves when there is nothing more to come. */
  readonly ended: Promise<void>
  /** Ends it with an error: nobody gets the rest. */
  cut(error: unknown): void
}

/** The member of an answer that has something lasting. */
export const LASTING = Symbol('warmswap.lasting')

/** What of this answer lasts; undefined for an answer that is complete. */
export function lastingOf(answer: unknown): Lasting | undefined {
  return typeof answer === 'object' && answer !== null ? (answer as { [LASTING]?: Lasting })[LASTING] : undefined
}

export class LongAnswer implements Lasting {
  readonly [LASTING]: Lasting = this
  readonly stream: ReadableStream<unknown>
  private controller!: ReadableStreamDefaultController<unknown>
  private readonly end = deferred<void>()
  private over = false

  constructor(private readonly parts: Parts) {
    this.stream = new ReadableStream<unknown>(
      {
        start: (controller) => {
          this.controller = controller
        },
        pull: () => this.pull(),
        cancel: (reason) => this.finish(() => parts.stop(reason)),
      },
      // The worker handle decides how much is read ahead.
      { highWaterMark: 0 },
    )
  }

  /** Resolves when no further part comes. */
  get ended(): Promise<void> {
    return this.end.promise
  }

  /** Ends the stream with an error: no consumer gets the rest. */
  cut(error: unknown): void {
    this.finish(() => {
      this.controller.error(error)
      this.parts.stop(error)
    })
  }

  /** Ends the stream when the signal aborts. */
  until(signal: AbortSignal | undefined): this {
    const abort = (): void => this.cut(signal?.reason)
    if (signal?.aborted) abort()
    signal?.addEventListener('abort', abort, { once: true })
    void this.ended.then(() => signal?.removeEventListener('abort', abort))
    return this
  }

  /** Ends the stream when its request is cancelled. */
  untilCancelled(cancellation: Cancellation): this {
    cancellation.onCancel(() => this.cut(cancellation.reason))
    return this
  }

  private async pull(): Promise<void> {
    try {
      const { done, value } = await this.parts.next()
      if (this.over) return
      if (done) this.finish(() => this.controller.close())
      else this.controller.enqueue(value)
    } catch (error) {
      this.finish(() => this.controller.error(error))
    }
  }

  private finish(how: () => void): void {
    if (this.over) return
    this.over = true
    how()
    this.end.resolve()
  }
}
