/**
 * Hands a generation over to a child. Only its number is sent, never a descriptor. The child pins the generation and
 * confirms; only then may the parent release its pin. Either side may start first: the child sends a request, and the
 * parent sends an offer and answers requests.
 */

import type { ChildProcess } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { isMainThread, type MessagePort, parentPort, type Worker } from 'node:worker_threads'
import { invalidArgument, WarmswapError } from '../native/errors.js'
import * as check from '../native/validate.js'
import type { Pin } from './contract.js'
import { PinHandle } from './pin.js'
import { idOf, openBundles } from './store.js'
import { timerMs } from './wait.js'

/**
 * `id` identifies one hand-over. An offer is sent twice if both sides start at the same time, and a child can take over
 * several generations.
 */
type Message =
  | { warmswap: 'offer'; id: string; root: string; store?: string; generation: number }
  | { warmswap: 'ask' }
  | { warmswap: 'taken'; id: string }
  | { warmswap: 'refused'; id: string; reason: string }

/** The offers that this thread has already answered. */
const answered = new Set<string>()

type Offer = Extract<Message, { warmswap: 'offer' }>

const DEFAULT_TIMEOUT_MS = 10_000
/** Longer than a start takes: a child may wait for its parent long before the parent has something to hand over. */
const TAKE_OVER_TIMEOUT_MS = 30_000

/** One end of the channel between parent and child. */
interface Channel {
  send(message: Message): void
  listen(listener: (message: unknown) => void): () => void
}

function channelTo(child: ChildProcess | Worker): Channel {
  if ('postMessage' in child) return portChannel(child)
  if (child.send === undefined)
    throw invalidArgument(
      'child',
      child,
      "a worker, or a child process with an IPC channel (fork(), or spawn() with 'ipc' in stdio)",
    )
  // With a callback, a closed channel emits no 'error' event. The exit handler below reports the end of the child.
  return { send: (message) => void child.send(message, () => {}), listen: (listener) => listening(child, listener) }
}

function portChannel(port: Worker | MessagePort): Channel {
  return { send: (message) => port.postMessage(message), listen: (listener) => listening(port as Worker, listener) }
}

function listening(emitter: Worker | ChildProcess | NodeJS.Process, listener: (message: unknown) => void): () => void {
  const target = emitter as NodeJS.EventEmitter
  target.on('message', listener)
  return () => void target.off('message', listener)
}

const is = <Kind extends Message['warmswap']>(
  message: unknown,
  kind: Kind,
): message is Extract<Message, { warmswap: Kind }> =>
  typeof message === 'object' && message !== null && (message as { warmswap?: unknown }).warmswap === kind

/** Whether the process had already exited before a listener was added. */
const hasEnded = (child: ChildProcess | Worker): boolean =>
  'postMessage' in child ? child.threadId < 0 : child.exitCode !== null || child.signalCode !== null

/**
 * Hands the generation of a pin over to a child. Resolves once the child has its own pin; then the parent may release
 * its pin.
 *
 * @param child A worker thread, or a child process with an IPC channel.
 * @param pin The pin on the generation.
 * @param options Time limit.
 * @throws {WarmswapError} ERR_CLOSED if the pin was released, ERR_WORKER_EXITED if the child ends, ERR_TIMEOUT if the
 * child does not call `takeOver()` in time, ERR_GENERATION_GONE if the child cannot pin the generation.
 */
export async function handOver(
  child: ChildProcess | Worker,
  pin: Pin,
  options?: {
    /** How long to wait for the child, in milliseconds. @default 10_000 */
    timeoutMs?: number
  },
): Promise<void> {
  if (!(pin instanceof PinHandle)) throw invalidArgument('pin', pin, 'a pin of this copy of warmswap')
  const { timeoutMs = DEFAULT_TIMEOUT_MS } = check.options('options', options, ['timeoutMs'])
  check.milliseconds('options.timeoutMs', timeoutMs)
  // A released pin would not keep the generation until the child has its own.
  if (pin.released)
    throw new WarmswapError(
      'ERR_CLOSED',
      `the pin on generation ${pin.generation.number} was released. Hand over a pin that is held`,
      {
        path: pin.path,
      },
    )
  const channel = channelTo(child)
  const { number } = pin.generation
  const id = randomUUID()
  const offer = (): void =>
    channel.send({
      warmswap: 'offer',
      id,
      root: pin.root,
      ...(pin.store === null ? {} : { store: pin.store }),
      generation: number,
    })
  const ending = new AbortController()
  try {
    await new Promise<void>((resolve, reject) => {
      const stop = channel.listen((message) => {
        if (is(message, 'ask')) offer()
        if (is(message, 'taken') && message.id === id) resolve()
        if (is(message, 'refused') && message.id === id)
          reject(
            new WarmswapError('ERR_GENERATION_GONE', `the child could not pin generation ${number}: ${message.reason}`),
          )
      })
      const ended = (): void =>
        reject(new WarmswapError('ERR_WORKER_EXITED', `the child ended before it took over generation ${number}`))
      const emitter = child as NodeJS.EventEmitter
      emitter.once('exit', ended)
      if (hasEnded(child)) ended()
      const timer = setTimeout(
        () =>
          reject(
            new WarmswapError(
              'ERR_TIMEOUT',
              `the child did not take generation ${number} within ${timeoutMs} ms; it has to call takeOver()`,
            ),
          ),
        timerMs(timeoutMs),
      )
      ending.signal.addEventListener('abort', () => {
        stop()
        emitter.off('exit', ended)
        clearTimeout(timer)
      })
      offer()
    })
  } finally {
    ending.abort()
  }
}

/**
 * Takes over a generation from the parent; call it in the child.
 *
 * @param options Time limit.
 * @returns A pin of this thread or process on the generation.
 * @throws {WarmswapError} ERR_TIMEOUT if the parent offers no generation in time, ERR_CLOSED if the parent ends before,
 * ERR_UNSUPPORTED if there is no parent to ask, ERR_GENERATION_GONE if the generation can no longer be pinned.
 */
export async function takeOver(options?: {
  /** How long to wait for the parent, in milliseconds. Infinity is allowed. @default 30_000 */
  timeoutMs?: number
}): Promise<Pin> {
  const { timeoutMs = TAKE_OVER_TIMEOUT_MS } = check.options('options', options, ['timeoutMs'])
  check.milliseconds('options.timeoutMs', timeoutMs, { infinity: true })
  const channel = channelToParent()
  const offer = await offered(channel, timeoutMs)
  try {
    const store = await openBundles(offer.root)
    if (offer.store !== undefined && idOf(store) !== offer.store)
      throw new WarmswapError(
        'ERR_GENERATION_GONE',
        `'${offer.root}' is not the store of the offered generation: it was replaced in the meantime`,
      )
    const pin = store.pin({ generation: offer.generation })
    channel.send({ warmswap: 'taken', id: offer.id })
    return pin
  } catch (error) {
    channel.send({ warmswap: 'refused', id: offer.id, reason: (error as Error).message })
    throw error
  }
}

async function offered(channel: ParentChannel, timeoutMs: number): Promise<Offer> {
  const ending = new AbortController()
  try {
    return await new Promise<Offer>((resolve, reject) => {
      const stop = channel.listen((message) => {
        if (!is(message, 'offer') || answered.has(message.id)) return
        answered.add(message.id)
        resolve(message)
      })
      const forget = channel.ends(() =>
        reject(new WarmswapError('ERR_CLOSED', 'the parent ended before it handed over a generation')),
      )
      const late = (): void =>
        reject(
          new WarmswapError(
            'ERR_TIMEOUT',
            `the parent handed over no generation within ${timeoutMs} ms; it has to call handOver()`,
          ),
        )
      const timer = timeoutMs === Infinity ? undefined : setTimeout(late, timerMs(timeoutMs))
      ending.signal.addEventListener('abort', () => {
        stop()
        forget()
        clearTimeout(timer)
      })
      channel.send({ warmswap: 'ask' })
    })
  } finally {
    ending.abort()
  }
}

interface ParentChannel extends Channel {
  /** Calls the listener once when the parent has ended. */
  ends(listener: () => void): () => void
}

function channelToParent(): ParentChannel {
  if (!isMainThread && parentPort !== null)
    return {
      ...portChannel(parentPort),
      ends: (listener) => once(parentPort as unknown as NodeJS.EventEmitter, 'close', listener),
    }
  if (process.send === undefined)
    throw new WarmswapError(
      'ERR_UNSUPPORTED',
      'takeOver() needs a parent: call it in a worker thread, or in a child process with an IPC channel',
    )
  return {
    // With a callback, a closed channel emits no 'error' event: 'disconnect' reports the end of the parent.
    send: (message) => void process.send?.(message, undefined, undefined, () => {}),
    listen: (listener) => listening(process, listener),
    ends: (listener) => once(process, 'disconnect', listener),
  }
}

function once(emitter: NodeJS.EventEmitter, event: string, listener: () => void): () => void {
  emitter.once(event, listener)
  return () => void emitter.off(event, listener)
}
