/** The worker's side of the messages (protocol.ts): what serveRequests() and serveFetch() have in common. */

import { isMainThread, parentPort } from 'node:worker_threads'
import type { Pin } from '../bundles/index.js'
import { WarmswapError } from '../native/errors.js'
import { type CopyMethod, uncopyable } from '../native/loss.js'
import { Incoming } from './incoming.js'
import { Call } from './outgoing.js'
import type { BeginningMessage, FromWorker, ToWorker } from './protocol.js'
import { fromRemote, toRemote } from './remote-error.js'

/** The way to the host. */
export interface Host {
  /** How what is said is copied. */
  readonly how: CopyMethod
  listen(receive: (message: ToWorker) => void): void
  /** Resolves once the message cannot be lost by the end of this worker any more. */
  send(message: FromWorker): Promise<void>
}

/** One request while it is carried out. */
export interface Work<M extends BeginningMessage = BeginningMessage> {
  readonly host: Host
  readonly message: M
  readonly call: Call
  /** The parts of an HTTP request's body. */
  readonly body: Incoming | undefined
}

type Carry = (work: Work) => Promise<void>

/** Which function carries out requests of a kind. */
const carriers = new Map<BeginningMessage['warmswap'], Carry>()
/** The name that a program knows each kind by. */
const NAMES = { request: 'serveRequests()', fetch: 'serveFetch()' } as const

/**
 * Lets `carry` answer the requests of this kind. With the first kind the worker becomes ready.
 *
 * @throws {WarmswapError} ERR_UNSUPPORTED where no coordinator started this thread or process, ERR_REENTRANT for a
 * second function of this kind.
 */
export function answerWith<K extends BeginningMessage['warmswap']>(
  kind: K,
  carry: (work: Work<Extract<BeginningMessage, { warmswap: K }>>) => Promise<void>,
): void {
  if (carriers.has(kind))
    throw new WarmswapError(
      'ERR_REENTRANT',
      `${NAMES[kind]} was already called in this worker; one handler answers all its requests`,
    )
  if (carriers.size === 0) HostLink.open(isMainThread ? overProcess(NAMES[kind]) : overThread(NAMES[kind]))
  carriers.set(kind, carry as Carry)
}

class HostLink {
  private readonly calls = new Map<number, { call: Call; body: Incoming | undefined }>()
  private stopping = false
  private lastBegun: BigInt64Array | undefined

  private constructor(private readonly host: Host) {}

  static open(host: Host): void {
    const link = new HostLink(host)
    host.listen((message) => {
      if (typeof message === 'object' && message !== null) link.receive(message)
    })
    // Ready means that the generation stays even if the host dies now.
    void keepGeneration().then(() => host.send({ warmswap: 'ready' }))
  }

  private receive(message: ToWorker): void {
    if (message.warmswap === 'request' || message.warmswap === 'fetch') void this.carry(message)
    else if (message.warmswap === 'stop') {
      this.stopping = true
      this.leave()
    } else if (message.warmswap === 'begun-in') this.lastBegun = message.last
    else this.pass(message)
  }

  private pass(message: Exclude<ToWorker, BeginningMessage | { warmswap: 'stop' | 'begun-in' }>): void {
    const { call, body } = this.calls.get(message.id) ?? {}
    if (message.warmswap === 'more') call?.grant(message.count)
    else if (message.warmswap === 'cancel') {
      call?.cancel()
      body?.end({ error: call?.signal.reason })
    } else if (message.warmswap === 'chunk') body?.push(message.value)
    else if (message.warmswap === 'close')
      body?.end(message.error && { error: fromRemote(message.error, 'in the coordinator') })
  }

  private async carry(message: BeginningMessage): Promise<void> {
    const { host } = this
    const { id, incarnation } = message
    const work: Work = { host, message, call: new Call(), body: this.bodyOf(message) }
    this.calls.set(id, work)
    // Before the handler runs: what has no 'begun' has not been carried out and may go to another worker.
    if (this.lastBegun) Atomics.store(this.lastBegun, 0, BigInt(id))
    else await host.send({ warmswap: 'begun', id })
    try {
      await (carriers.get(message.warmswap) ?? unserved)(work)
    } catch (error) {
      await host.send({ warmswap: 'reply', id, incarnation, error: toRemote(error) })
    }
    this.calls.delete(id)
    work.body?.end({ error: new DOMException('the request has been answered', 'AbortError') })
    this.leave()
  }

  private bodyOf(message: BeginningMessage): Incoming | undefined {
    if (message.warmswap !== 'fetch' || !message.hasBody) return undefined
    const { host } = this
    const { id } = message
    return new Incoming({
      more: (count) => void host.send({ warmswap: 'pull', id, count }),
      cancel: () => void host.send({ warmswap: 'drop', id }),
    })
  }

  private leave(): void {
    if (this.stopping && this.calls.size === 0) process.exit(0)
  }
}

async function unserved({ message: { warmswap: kind } }: Work): Promise<void> {
  throw new WarmswapError('ERR_UNSUPPORTED', `this worker does not call ${NAMES[kind]}, which answers such requests`)
}

/** Pins that are kept for the life of this process. */
const kept: Pin[] = []

/** A thread is covered by its process's pin, and so needs no addon. */
async function keepGeneration(): Promise<void> {
  if (isMainThread) kept.push(await (await import('../bundles/index.js')).takeOver())
}

/** Only a message with a value can fail to be copied. */
function copied(post: () => unknown): void {
  try {
    post()
  } catch (error) {
    throw uncopyable('the answer', error)
  }
}

function overThread(name: string): Host {
  const port = parentPort
  if (!port) throw notAWorker(name)
  return {
    how: 'clone',
    listen: (receive) => void port.on('message', receive),
    // A posted message is in the host's queue, which is emptied also when this thread is terminated.
    send: async (message) => copied(() => port.postMessage(message)),
  }
}

function overProcess(name: string): Host {
  if (!process.connected) throw notAWorker(name)
  return {
    how: 'bytes',
    listen: (receive) => void process.on('message', receive as (message: unknown) => void),
    send: (message) =>
      new Promise((resolve, reject) => {
        // The callback comes once the message is in the kernel's pipe. An error is ignored: without a host,
        // no process waits for the message.
        try {
          copied(() => process.send?.(message, undefined, undefined, () => resolve()))
        } catch (error) {
          reject(error)
        }
      }),
  }
}

function notAWorker(name: string): WarmswapError {
  return new WarmswapError(
    'ERR_UNSUPPORTED',
    `${name} answers the coordinator that started this worker with startWorkerThread() or startProcess(); nobody did`,
  )
}
