/**
 * The host's side of the messages between the coordinator and a worker that calls serveRequests().
 *
 * host → worker   { warmswap: 'request', id, incarnation, request }   { warmswap: 'cancel', id }   { warmswap: 'stop' }
 * worker → host   { warmswap: 'ready' }   { warmswap: 'begun', id }   { warmswap: 'reply', id, incarnation, value | error }
 *
 * 'begun' is on its way before the handler is called, so a request without it has not been carried out. 'cancel' says
 * that nobody waits for the answer any more; it is answered all the same.
 *
 * An answer in parts takes the place of the reply:
 *
 * worker → host   { warmswap: 'stream', id, incarnation }   { warmswap: 'part', id, incarnation, value }   { warmswap: 'end', id, incarnation, error? }
 * host → worker   { warmswap: 'more', id, count }
 */

import { WarmswapError } from '../errors.js'
import { notBegun } from './handle.js'
import { Incoming } from './incoming.js'
import { type RemoteError, fromRemote } from './remote-error.js'
import { type Deferred, deferred } from './wait.js'

/** What a worker says of a request, which must be one of its own. */
export type Saying = { id: number; incarnation: number } & (
  | { warmswap: 'reply'; value: unknown }
  | { warmswap: 'reply'; error: RemoteError }
  | { warmswap: 'stream' }
  | { warmswap: 'part'; value: unknown }
  | { warmswap: 'end'; error?: RemoteError }
)

/** What a worker says. */
export type FromWorker = { warmswap: 'ready' } | { warmswap: 'begun'; id: number } | Saying

/** What a worker is told. */
export type ToWorker =
  | { warmswap: 'request'; id: number; incarnation: number; request: unknown }
  | { warmswap: 'more'; id: number; count: number }
  | { warmswap: 'cancel'; id: number }
  | { warmswap: 'stop' }

const KINDS: readonly (string | undefined)[] = ['ready', 'begun', 'reply', 'stream', 'part', 'end'] satisfies FromWorker['warmswap'][]

interface Open {
  readonly incarnation: number
  readonly reply: Deferred<unknown>
  begun: boolean
  /** Once the answer has begun to come in parts. */
  incoming?: Incoming
}

/** Requests that a worker has, by number. */
export class Channel<Q, R> {
  /** Resolves when the worker calls serveRequests(); rejects if it ends before. */
  readonly ready: Deferred<void> = deferred()
  private readonly open = new Map<number, Open>()
  /** Called off before they were answered: only their numbers are kept until they are. */
  private readonly calledOff = new Set<number>()
  private next = 1
  private end: WarmswapError | undefined

  constructor(private readonly post: (message: ToWorker) => void) {}

  send(request: Q, { incarnation, signal }: { incarnation: number; signal: AbortSignal }): Promise<R> {
    if (this.end) return Promise.reject(notBegun(this.end))
    const id = this.next
    this.next += 1
    const reply = deferred<unknown>()
    try {
      this.post({ warmswap: 'request', id, incarnation, request })
    } catch (error) {
      return Promise.reject(error)
    }
    this.open.set(id, { incarnation, reply, begun: false })
    signal.addEventListener('abort', () => this.cancel(id), { once: true })
    return reply.promise as Promise<R>
  }

  stop(): void {
    if (!this.end) this.post({ warmswap: 'stop' })
  }

  /** Takes what the worker says; returns false if it is none of ours. */
  receive(message: unknown): boolean {
    if (!isFromWorker(message)) return false
    if (message.warmswap === 'ready') this.ready.resolve()
    else if (message.warmswap === 'begun') this.begun(message.id)
    else this.answer(message)
    return true
  }

  /** The worker is gone: everything that it had ends with an error that says whether it had begun it. */
  close(how: string): void {
    if (this.end) return
    this.end = new WarmswapError('ERR_WORKER_EXITED', `the worker ended (${how})`)
    this.ready.reject(new WarmswapError('ERR_WORKER_EXITED', `the worker ended (${how}) before it was ready; it is ready when it calls serveRequests()`))
    for (const { reply, begun, incoming } of this.open.values()) {
      incoming?.end({ error: new WarmswapError('ERR_WORKER_EXITED', `the worker ended (${how}) in the middle of its answer`) })
      const error = new WarmswapError('ERR_WORKER_EXITED', `the worker ended (${how}) before it answered`)
      reply.reject(begun ? error : notBegun(error))
    }
    this.open.clear()
    this.calledOff.clear()
  }

  private begun(id: number): void {
    const open = this.open.get(id)
    if (open) open.begun = true
  }

  /** Nobody waits for the answer, or for the rest of it, any more. */
  private cancel(id: number): void {
    if (!this.open.delete(id)) return
    this.calledOff.add(id)
    if (!this.end) this.post({ warmswap: 'cancel', id })
  }

  private answer(message: Saying): void {
    const isLast = message.warmswap === 'reply' || message.warmswap === 'end'
    if (this.calledOff.has(message.id)) {
      if (isLast) this.calledOff.delete(message.id)
      return
    }
    const open = this.open.get(message.id)
    const inParts = message.warmswap === 'part' || message.warmswap === 'end'
    if (open?.incarnation !== message.incarnation || inParts !== (open.incoming !== undefined)) {
      process.emitWarning(`a worker answered request ${message.id} of incarnation ${message.incarnation} twice or uncalled; the answer was refused`, { code: 'WARMSWAP_ANSWER_REFUSED' })
      return
    }
    if (isLast) this.open.delete(message.id)
    this.take(message, open)
  }

  private take(message: Saying, open: Open): void {
    const failure = 'error' in message && message.error ? { error: fromRemote(message.error, 'in the worker') } : undefined
    if (message.warmswap === 'part') open.incoming?.push(message.value)
    else if (message.warmswap === 'end') open.incoming?.end(failure)
    else if (failure) open.reply.reject(failure.error)
    else open.reply.resolve(message.warmswap === 'stream' ? this.begin(message.id, open) : (message as { value: unknown }).value)
  }

  private begin(id: number, open: Open): Incoming {
    open.incoming = new Incoming({
      more: (count) => this.post({ warmswap: 'more', id, count }),
      cancel: () => this.cancel(id),
    })
    return open.incoming
  }
}

function isFromWorker(message: unknown): message is FromWorker {
  return typeof message === 'object' && message !== null && KINDS.includes((message as { warmswap?: string }).warmswap)
}
