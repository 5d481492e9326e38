/**
 * The host's end of an answer in parts. The worker sends only as many parts as were requested, so that the buffer here
 * is bounded, however slow the consumer is.
 */

import { isSeeded } from '../native/seeded-bugs.js'
import { type Deferred, deferred } from './wait.js'

/**
 * Maximum number of parts in transit or in the buffer. Large enough that the worker need not wait for each one to be
 * consumed.
 */
export const WINDOW = 16

type Step = IteratorResult<unknown, undefined>

/** Messages to the worker. */
export interface Upstream {
  /** The worker may send this many more parts. */
  more(count: number): void
  /** The rest is not needed. */
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

  /** Adds a part from the worker. Returns false if it was not requested. */
  push(part: unknown): boolean {
    if (this.requested <= 0) return false
    this.requested -= 1
    if (this.over) return true
    this.parts.push(part)
    this.deliver()
    return true
  }

  /** There are no further parts. Parts that came before an error are still delivered first. */
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
      // An iterator that has failed has ended.
      delete over.error
    }
  }

  private requestMore(): void {
    const count =
      __WARMSWAP_TESTING__ && isSeeded('stream-without-bounds') ? WINDOW : WINDOW - this.requested - this.parts.length
    // Requested in halves: a message for each part would double the number of messages.
    if (count < WINDOW / 2) return
    this.requested += count
    this.upstream.more(count)
  }
}
