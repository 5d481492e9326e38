/**
 * The host's side of the messages between the coordinator and a worker that calls serveRequests().
 *
 * host → worker   { warmswap: 'request', id, incarnation, request }   { warmswap: 'stop' }
 * worker → host   { warmswap: 'ready' }   { warmswap: 'begun', id }   { warmswap: 'reply', id, incarnation, value | error }
 *
 * 'begun' is on its way before the handler is called, so a request without it has not been carried out.
 */

import { WarmswapError } from '../errors.js'
import { notBegun } from './handle.js'
import { type Deferred, deferred } from './wait.js'

/** What a worker says. */
export type FromWorker =
  | { warmswap: 'ready' }
  | { warmswap: 'begun'; id: number }
  | { warmswap: 'reply'; id: number; incarnation: number; value: unknown }
  | { warmswap: 'reply'; id: number; incarnation: number; error: RemoteError }

/** What a worker is told. */
export type ToWorker = { warmswap: 'request'; id: number; incarnation: number; request: unknown } | { warmswap: 'stop' }

/** An error as it crosses: structured clone drops own properties such as `code`. */
export interface RemoteError {
  name: string
  message: string
  stack?: string | undefined
  code?: string | undefined
}

interface Open {
  readonly incarnation: number
  readonly reply: Deferred<unknown>
  begun: boolean
}

/** Requests that a worker has, by number. */
export class Channel<Q, R> {
  /** Resolves when the worker calls serveRequests(); rejects if it ends before. */
  readonly ready: Deferred<void> = deferred()
  private readonly open = new Map<number, Open>()
  private next = 1
  private end: WarmswapError | undefined

  constructor(private readonly post: (message: ToWorker) => void) {}

  send(request: Q, incarnation: number): Promise<R> {
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
    else this.reply(message)
    return true
  }

  /** The worker is gone: everything that it had ends with an error that says whether it had begun it. */
  close(how: string): void {
    if (this.end) return
    this.end = new WarmswapError('ERR_WORKER_EXITED', `the worker ended (${how})`)
    this.ready.reject(new WarmswapError('ERR_WORKER_EXITED', `the worker ended (${how}) before it was ready; it is ready when it calls serveRequests()`))
    for (const { reply, begun } of this.open.values()) {
      const error = new WarmswapError('ERR_WORKER_EXITED', `the worker ended (${how}) before it answered`)
      reply.reject(begun ? error : notBegun(error))
    }
    this.open.clear()
  }

  private begun(id: number): void {
    const open = this.open.get(id)
    if (open) open.begun = true
  }

  private reply(message: FromWorker & { warmswap: 'reply' }): void {
    const open = this.open.get(message.id)
    if (open?.incarnation !== message.incarnation) {
      process.emitWarning(`a worker answered request ${message.id} of incarnation ${message.incarnation} twice or uncalled; the answer was refused`, { code: 'WARMSWAP_ANSWER_REFUSED' })
      return
    }
    this.open.delete(message.id)
    if ('error' in message) open.reply.reject(fromRemote(message.error))
    else open.reply.resolve(message.value)
  }
}

function isFromWorker(message: unknown): message is FromWorker {
  return typeof message === 'object' && message !== null && ['ready', 'begun', 'reply'].includes((message as { warmswap?: string }).warmswap ?? '')
}

function fromRemote({ name, message, stack, code }: RemoteError): Error {
  return Object.assign(new Error(message), { name, stack: `${stack ?? ''}\n    in the worker` }, code === undefined ? {} : { code })
}

export function toRemote(error: unknown): RemoteError {
  if (!(error instanceof Error)) return { name: 'Error', message: String(error) }
  const code = (error as { code?: unknown }).code
  return { name: error.name, message: error.message, stack: error.stack, code: typeof code === 'string' ? code : undefined }
}
