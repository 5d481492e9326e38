/**
 * The host's side of the messages between the coordinator and a worker that calls serveRequests().
 *
 * host → worker   { warmswap: 'request', id, incarnation, request }   { warmswap: 'cancel', id }   { warmswap: 'stop' }
 * worker → host   { warmswap: 'ready' }   { warmswap: 'begun', id }   { warmswap: 'reply', id, incarnation, value | error }
 *                 { warmswap: 'uncaught', error }
 *
 * 'begun' is on its way before the handler is called, so a request without it has not been carried out. 'cancel' says
 * that nobody waits for the answer any more; it is answered all the same. 'uncaught' comes from a process that has an
 * uncaught error (process-guard.ts); the error of a thread comes as an event of Node.
 *
 * An answer in parts takes the place of the reply:
 *
 * worker → host   { warmswap: 'stream', id, incarnation }   { warmswap: 'part', id, incarnation, value }   { warmswap: 'end', id, incarnation, error? }
 * host → worker   { warmswap: 'more', id, count }
 */

import { messageOf } from '../native/callbacks.js'
import { invalidArgument, WarmswapError } from '../native/errors.js'
import { type CopyMethod, refuseLoss, uncopyable } from '../native/loss.js'
import { isSeeded } from '../native/seeded-bugs.js'
import { wholeNumber } from '../native/validate.js'
import { isShared, notBegun, type SendContext } from './handle.js'
import { Incoming } from './incoming.js'
import { problemOf } from './malformed.js'
import { fromRemote, type RemoteError } from './remote-error.js'
import { type Deferred, deferred } from './wait.js'

/** A message of a worker about one of its requests. */
export type RequestMessage = { id: number; incarnation: number } & (
  | { warmswap: 'reply'; value: unknown }
  | { warmswap: 'reply'; error: RemoteError }
  | { warmswap: 'stream' }
  | { warmswap: 'part'; value: unknown }
  | { warmswap: 'end'; error?: RemoteError }
)

/** A message of a worker. */
export type FromWorker =
  | { warmswap: 'ready' }
  | { warmswap: 'begun'; id: number }
  | { warmswap: 'uncaught'; error: RemoteError }
  | RequestMessage

/** A message to a worker. */
export type ToWorker =
  | { warmswap: 'request'; id: number; incarnation: number; request: unknown }
  | { warmswap: 'more'; id: number; count: number }
  | { warmswap: 'cancel'; id: number }
  | { warmswap: 'stop' }

/** Warnings about one worker. Limited, because a worker that sends garbage sends a lot of it. */
const MOST_REFUSALS = 20

interface Open {
  readonly incarnation: number
  readonly reply: Deferred<unknown>
  /** Whether other requests may share the signal. */
  readonly unlisten: (() => void) | undefined
  begun: boolean
  /** Set once the answer has begun to arrive in parts. */
  incoming?: Incoming
}

/** The requests of a worker, by number. */
export class Channel<Q, R> {
  /** Resolves when the worker calls serveRequests(). Rejects if it ends before. */
  readonly ready: Deferred<void> = deferred()
  private readonly open = new Map<number, Open>()
  /** Requests that were cancelled before they were answered. Only their numbers are kept. */
  private readonly calledOff = new Set<number>()
  private next = 1
  private refusals = 0
  private end: WarmswapError | undefined
  private uncaught: Error | undefined

  /** `how` messages are copied: 'clone' between threads, 'bytes' between processes. */
  constructor(
    private readonly post: (message: ToWorker) => void,
    private readonly how: CopyMethod,
  ) {}

  send(request: Q, context: SendContext): Promise<R> {
    if (this.end) return Promise.reject(notBegun(this.end))
    const id = this.next
    this.next += 1
    try {
      const { incarnation, signal } = checkedContext(context)
      if (signal.aborted) throw signal.reason
      refuseLoss('the request', request, this.how)
      this.postRequest({ warmswap: 'request', id, incarnation, request })
      return this.expect(id, context)
    } catch (error) {
      return Promise.reject(error)
    }
  }

  stop(): void {
    if (!this.end) this.post({ warmswap: 'stop' })
  }

  /**
   * Handles a message from the worker. Returns false if the message is not part of this protocol. Never throws,
   * whatever the worker sent.
   */
  receive(message: unknown): boolean {
    const problem = problemOf(message)
    if (problem === null) return false
    if (problem === undefined || (__WARMSWAP_TESTING__ && isSeeded('trust-worker-messages')))
      this.handle(message as FromWorker)
    else this.refuse(problem)
    return true
  }

  /** Reports a message that cannot be used. The worker continues: the valid answer may follow. */
  refuse(problem: string): void {
    this.refusals += 1
    if (this.refusals > MOST_REFUSALS) return
    const last =
      this.refusals === MOST_REFUSALS ? '. Further messages of this worker that are refused are not reported' : ''
    process.emitWarning(`a worker ${problem}${last}`, { code: 'WARMSWAP_ANSWER_REFUSED' })
  }

  /** The last uncaught error of a worker that ended without a request to stop. */
  get failure(): Error | undefined {
    return this.uncaught
  }

  /**
   * The worker has ended: each of its requests fails with an error that says whether the worker had begun it. The
   * error's cause is `failure`, which ended the worker.
   */
  close(how: string, failure?: Error): void {
    if (this.end) return
    const ended = (when: string): WarmswapError =>
      new WarmswapError(
        'ERR_WORKER_EXITED',
        `the worker ended (${failure ? `${how}, ${failure.name}: ${failure.message}` : how})${when}`,
        { cause: failure },
      )
    this.end = ended('')
    this.ready.reject(ended(' before it was ready; it is ready when it calls serveRequests()'))
    for (const { reply, begun, incoming, unlisten } of this.open.values()) {
      unlisten?.()
      incoming?.end({ error: ended(' in the middle of its answer') })
      const error = ended(' before it answered')
      reply.reject(begun ? error : notBegun(error))
    }
    this.open.clear()
    this.calledOff.clear()
  }

  private postRequest(message: ToWorker): void {
    try {
      this.post(message)
    } catch (error) {
      throw uncopyable('the request', error)
    }
  }

  private expect(id: number, context: SendContext): Promise<R> {
    const { incarnation, signal } = context
    const reply = deferred<unknown>()
    const abort = (): void => this.cancel(id)
    signal.addEventListener('abort', abort, ONCE)
    const unlisten = isShared(context) ? () => signal.removeEventListener('abort', abort) : undefined
    this.open.set(id, { incarnation, reply, unlisten, begun: false })
    return reply.promise as Promise<R>
  }

  private handle(message: FromWorker): void {
    if (message.warmswap === 'ready') this.ready.resolve()
    else if (message.warmswap === 'begun') this.begun(message.id)
    else if (message.warmswap === 'uncaught') this.uncaught = fromRemote(message.error, 'in the worker')
    else this.answer(message)
  }

  private begun(id: number): void {
    const open = this.open.get(id)
    if (open) open.begun = true
  }

  /** No caller waits for the answer, or for the rest of it, any more. */
  private cancel(id: number): void {
    const open = this.open.get(id)
    if (open === undefined) return
    this.open.delete(id)
    open.unlisten?.()
    this.calledOff.add(id)
    if (!this.end) this.post({ warmswap: 'cancel', id })
  }

  private answer(message: RequestMessage): void {
    const isLast = message.warmswap === 'reply' || message.warmswap === 'end'
    if (this.calledOff.has(message.id)) {
      if (isLast) this.calledOff.delete(message.id)
      return
    }
    const open = this.open.get(message.id)
    const inParts = message.warmswap === 'part' || message.warmswap === 'end'
    if (open?.incarnation !== message.incarnation || inParts !== (open.incoming !== undefined)) {
      return void this.refuse(
        `answered request ${message.id} of incarnation ${message.incarnation} twice or uncalled; the answer was refused`,
      )
    }
    if (isLast) {
      this.open.delete(message.id)
      open.unlisten?.()
    }
    this.finish(message, open)
  }

  private finish(message: RequestMessage, open: Open): void {
    const failure =
      'error' in message && message.error ? { error: fromRemote(message.error, 'in the worker') } : undefined
    if (message.warmswap === 'part') this.receivePart(message, open)
    else if (message.warmswap === 'end') open.incoming?.end(failure)
    else if (failure) open.reply.reject(failure.error)
    else
      open.reply.resolve(
        message.warmswap === 'stream' ? this.begin(message.id, open) : (message as { value: unknown }).value,
      )
  }

  /** A part that was not requested would be buffered here without bounds. */
  private receivePart({ id, value }: RequestMessage & { warmswap: 'part' }, { incoming }: Open): void {
    if (incoming?.push(value) !== false) return
    this.refuse(`sent more parts of its answer to request ${id} than it was asked for; the answer was ended`)
    incoming.end({
      error: new WarmswapError(
        'ERR_TOO_LARGE',
        `the worker sent more parts of its answer to request ${id} than it was asked for`,
      ),
    })
    this.cancel(id)
  }

  private begin(id: number, open: Open): Incoming {
    open.incoming = new Incoming({
      more: (count) => this.post({ warmswap: 'more', id, count }),
      cancel: () => this.cancel(id),
    })
    return open.incoming
  }
}

const ONCE = { once: true }

function checkedContext(context: SendContext): SendContext {
  if (typeof context !== 'object' || context === null)
    throw invalidArgument('context', context, 'an object with incarnation and signal')
  const { incarnation, signal } = context
  wholeNumber('context.incarnation', incarnation)
  if (typeof signal?.aborted !== 'boolean' || typeof signal.addEventListener !== 'function')
    throw invalidArgument('context.signal', signal, 'an AbortSignal')
  return context
}

/** Reports a message that could not be read. */
export function refuseUnreadable(channel: Pick<Channel<never, never>, 'refuse'>, error: unknown): void {
  channel.refuse(`sent a message that cannot be read (${messageOf(error).slice(0, 200)}); it was refused`)
}
