/** One worker that serves or drains, and what it has. */

import type { Pin } from '../bundles/index.js'
import { isSeeded } from '../native/seeded-bugs.js'
import { contextOfOne, type WorkerHandle } from './handle.js'
import { type Lasting, lastingOf } from './long-answer.js'
import type { Answerer, Request } from './queue.js'
import { type Deferred, deferred } from './wait.js'

export class Worker<Q, R> implements Answerer {
  readonly inFlight = new Set<Request>()
  /** What goes on after its request was answered: answers in parts, upgraded sockets. */
  readonly answers = new Set<Lasting>()
  readonly emptied: Deferred<void> = deferred()
  draining = false
  /** Raised when it gets no more time to drain. */
  readonly cutOff = new AbortController()
  /** Whether its end was seen. */
  hasEnded = false

  constructor(
    readonly incarnation: number,
    readonly pin: Pin,
    readonly handle: WorkerHandle<Q, R>,
  ) {}

  get busy(): number {
    return this.inFlight.size + (__WARMSWAP_TESTING__ && isSeeded('drain-without-streams') ? 0 : this.answers.size)
  }

  async carry(request: Request): Promise<unknown> {
    const context = contextOfOne(this.incarnation, request.cancellation)
    const answer = await request.carry(this.handle as WorkerHandle<never, unknown>, context, request)
    const lasting = lastingOf(answer)
    if (lasting) this.keep(lasting)
    return answer
  }

  released(): void {
    this.resolveIfEmpty()
  }

  private keep(answer: Lasting): void {
    this.answers.add(answer)
    void answer.ended.then(() => {
      this.answers.delete(answer)
      this.resolveIfEmpty()
    })
  }

  private resolveIfEmpty(): void {
    if (this.draining && this.busy === 0) this.emptied.resolve()
  }
}
