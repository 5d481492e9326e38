/**
 * The host's end of an answer in parts. The worker sends only what it was asked for, so that what waits here is bounded
 * however slow the consumer is.
 */

import { isSeeded } from '../native/seeded-bugs.js'
import { type Deferred, deferred } from './wait.js'

/** Parts that are on their way or wait here, at most: enough that the worker need not wait for each one to be taken. */
export const WINDOW = 16

type Step = IteratorResult<unknown, undefined>

/** What the worker is told. */
export interface Upstream {
  /** It may send so many more parts. */
  more(count: number): void
  /** Nobody wants the rest. */
  cancel(): void
}

export class Incoming implements AsyncIterableIterator<unknown> {
  private readonly parts: unknown[] = []
  private readonly waiting: Deferred<Step>[] = []
  /** Parts that were requested and have not arrived. */
  private requested = 0
  private over: { error?: unknown } | undefined

  constructor(private readonly upstream: Upstream) {}

  [Symbol.asyncIterator](): this {
    return this
  }

  next(): Promise<Step> {
    const step = deferred<Step>()
    this.waiting.push(step)
    this.deliver()
    return step.promise
  }

  async return(): Promise<Step> {
    if (!this.over) this.upstream.cancel()
    this.over = {}
    this.parts.length = 0
    this.deliver()
    return { done: true, value: undefined }
  }

  /** A part from the worker. Returns false for one that it was not asked for. */
  push(part: unknown): boolean {
    if (this.requested <= 0) return false
    this.requested -= 1
    if (this.over) return true
    this.parts.push(part)
    this.deliver()
    return true
  }

  /** There are no more; what came before an error is still given out first. */
  end(how: { error?: unknown } = {}): void {
    this.over ??= how
    this.deliver()
  }

  private deliver(): void {
    while (this.waiting.length > 0 && this.parts.length > 0)
      this.waiting.shift()?.resolve({ done: false, value: this.parts.shift() })
    if (this.over) this.finish(this.over)
    else this.requestMore()
  }

  private finish(over: { error?: unknown }): void {
    for (const step of this.waiting.splice(0)) {
      if ('error' in over) step.reject(over.error)
      else step.resolve({ done: true, value: undefined })
      // An iterator that has failed is at its end.
      delete over.error
    }
  }

  private requestMore(): void {
    const count =
      __WARMSWAP_TESTING__ && isSeeded('stream-without-bounds') ? WINDOW : WINDOW - this.requested - this.parts.length
    // In halves: a message for each part would be as many again.
    if (count < WINDOW / 2) return
    this.requested += count
    this.upstream.more(count)
  }
}
