/** The host's side of the messages between the coordinator and a worker (protocol.ts). */

import { messageOf } from '../native/callbacks.js'
import { invalidArgument, WarmswapError } from '../native/errors.js'
import { type CopyMethod, refuseLoss, uncopyable } from '../native/loss.js'
import { isSeeded } from '../native/seeded-bugs.js'
import { wholeNumber } from '../native/validate.js'
import { cancellationOf, notBegun, type SendContext } from './handle.js'
import { type AnswerHead, bytesOf, compact, type RawAnswer, type RequestHead } from './http/exchange.js'
import { Incoming } from './incoming.js'
import { problemOf, problemOfAnswer } from './malformed.js'
import { Call } from './outgoing.js'
import { type Parts, partsOf } from './parts.js'
import type { FromWorker, RequestMessage, ToWorker } from './protocol.js'
import { fromRemote, toRemote } from './remote-error.js'
import { type Deferred, deferred } from './wait.js'

/** Warnings about one worker. A worker that sends garbage sends a lot of it. */
const MOST_REFUSALS = 20

interface Open {
  readonly incarnation: number
  readonly reply: Deferred<unknown>
  /** Whether other requests may share the signal. */
  readonly unlisten: (() => void) | undefined
  begun: boolean
  /** Set for an HTTP request, whose answer has a head. `body` is sent as the worker requests it. */
  readonly http: { body: Call | undefined } | undefined
  /** Once the answer has begun to come in parts. */
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
  /** The last request that a thread has begun. A message for each would be a third of all messages. */
  private readonly lastBegun: BigInt64Array | undefined
  private end: WarmswapError | undefined
  private uncaught: Error | undefined

  /** `how` messages are copied: 'clone' between threads, 'bytes' between processes. The worker runs `generation`. */
  constructor(
    private readonly post: (message: ToWorker) => void,
    private readonly how: CopyMethod,
    private readonly generation: number,
  ) {
    if (how === 'clone') this.lastBegun = new BigInt64Array(new SharedArrayBuffer(8))
  }

  send(request: Q, context: SendContext): Promise<R> {
    return this.begin(context, (id, incarnation) => {
      refuseLoss('the request', request, this.how)
      this.postRequest({ warmswap: 'request', id, incarnation, request })
      return undefined
    }) as Promise<R>
  }

  /** Sends an HTTP request. Nothing of its body is read before the worker's handler reads it. */
  exchange(head: RequestHead, body: Parts | null, context: SendContext): Promise<RawAnswer> {
    return this.begin(context, (id, incarnation) => {
      const { generation } = this
      this.postRequest({ warmswap: 'fetch', id, incarnation, generation, head, hasBody: body !== null })
      return { body: body === null ? undefined : this.pour(id, body) }
    }) as Promise<RawAnswer>
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
    this.ready.reject(
      ended(
        ' before it was ready; it is ready when it calls serveRequests() or serveFetch(), or when it listens (listen: true)',
      ),
    )
    const lastBegun = this.lastBegun ? Atomics.load(this.lastBegun, 0) : 0n
    for (const [id, { reply, begun, incoming, unlisten, http }] of this.open) {
      unlisten?.()
      http?.body?.cancel()
      incoming?.end({ error: ended(' in the middle of its answer') })
      const error = ended(' before it answered')
      reply.reject(begun || id <= lastBegun ? error : notBegun(error))
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

  private begin(context: SendContext, post: (id: number, incarnation: number) => Open['http']): Promise<unknown> {
    if (this.end) return Promise.reject(notBegun(this.end))
    const id = this.next
    this.next += 1
    try {
      const one = cancellationOf(context)
      const { incarnation } = one ? context : checkedContext(context)
      if (one?.isCancelled) throw one.reason
      if (!one) context.signal.throwIfAborted()
      const http = post(id, incarnation)
      const reply = deferred<unknown>()
      const cancel = (): void => this.cancel(id)
      const unlisten = one ? one.onCancel(cancel) : listenOnce(context.signal, cancel)
      this.open.set(id, { incarnation, reply, unlisten: unlisten ?? undefined, begun: false, http })
      return reply.promise
    } catch (error) {
      return Promise.reject(error)
    }
  }

  /** Sends the body of a request, as far as the worker asks for it. */
  private pour(id: number, body: Parts): Call {
    const call = new Call()
    const send = async (part: unknown): Promise<void> => {
      const value = bytesOf(part)
      this.post({ warmswap: 'chunk', id, value: this.how === 'clone' ? compact(value) : value })
    }
    const close = (error?: unknown): void => {
      // Its request was answered or called off: the worker reads no more of it.
      if (call.signal.aborted || this.end) return
      this.post({ warmswap: 'close', id, ...(error !== undefined && { error: toRemote(error) }) })
    }
    call.pour(body, send).then(
      () => close(),
      (error) => close(error),
    )
    return call
  }

  private handle(message: FromWorker): void {
    if (message.warmswap === 'ready') this.becomeReady()
    else if (message.warmswap === 'begun') this.begun(message.id)
    else if (message.warmswap === 'pull') this.open.get(message.id)?.http?.body?.grant(message.count)
    else if (message.warmswap === 'drop') this.open.get(message.id)?.http?.body?.cancel()
    else if (message.warmswap === 'uncaught') this.uncaught = fromRemote(message.error, 'in the worker')
    else this.answer(message)
  }

  private becomeReady(): void {
    // Not earlier: a thread that calls none of our functions would get a message that it does not know.
    if (this.lastBegun) this.post({ warmswap: 'begun-in', last: this.lastBegun })
    this.ready.resolve()
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
    open.http?.body?.cancel()
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
      open.http?.body?.cancel()
    }
    this.finish(message, open)
  }

  private finish(message: RequestMessage, open: Open): void {
    const failure =
      'error' in message && message.error ? { error: fromRemote(message.error, 'in the worker') } : undefined
    if (message.warmswap === 'part') this.receivePart(message, open)
    else if (message.warmswap === 'end') open.incoming?.end(failure)
    else if (failure) open.reply.reject(failure.error)
    else if (open.http) this.finishHttp(message, open)
    else
      open.reply.resolve(
        message.warmswap === 'stream' ? this.incoming(message.id, open) : (message as { value: unknown }).value,
      )
  }

  private finishHttp(message: RequestMessage, open: Open): void {
    const answer =
      message.warmswap === 'stream' ? { head: message.head, body: null } : (message as { value: unknown }).value
    const problem = problemOfAnswer(answer)
    if (problem !== undefined) {
      if (message.warmswap === 'stream') this.cancel(message.id)
      const text = `the worker sent a malformed answer to an HTTP request: ${problem}`
      return void open.reply.reject(new WarmswapError('ERR_INVALID_ARGUMENT', text))
    }
    const { head, body } = answer as { head: AnswerHead; body: Uint8Array | null }
    const parts = message.warmswap === 'stream' ? partsOf(this.incoming(message.id, open)) : undefined
    open.reply.resolve({ head, body: parts ?? body } satisfies RawAnswer)
  }

  /** A part that was not asked for would wait here without bounds. */
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

  private incoming(id: number, open: Open): Incoming {
    open.incoming = new Incoming({
      more: (count) => this.post({ warmswap: 'more', id, count }),
      cancel: () => this.cancel(id),
    })
    return open.incoming
  }
}

/** Returns a function that removes the listener. */
function listenOnce(signal: AbortSignal, listener: () => void): () => void {
  signal.addEventListener('abort', listener, { once: true })
  return () => signal.removeEventListener('abort', listener)
}

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
