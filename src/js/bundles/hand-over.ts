/**
 * Handing a generation to a child: the number travels, never the descriptor. The child pins it and says so, and
 * only then may the parent let go. Either side may come first: the child asks, and the parent offers and answers.
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

/** `id` is of one hand-over: an offer is made twice when both sides are there at once, and a child can take several. */
type Message =
  | { warmswap: 'offer'; id: string; root: string; store?: string; generation: number }
  | { warmswap: 'ask' }
  | { warmswap: 'taken'; id: string }
  | { warmswap: 'refused'; id: string; reason: string }

/** The offers that this thread has answered. */
const answered = new Set<string>()

type Offer = Extract<Message, { warmswap: 'offer' }>

const DEFAULT_TIMEOUT_MS = 10_000
/** A child may be there long before its parent has something to hand over. */
const TAKE_OVER_TIMEOUT_MS = 30_000

/** Either end of a child's channel. */
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
  // With a callback a closed channel is no 'error' event: the child's exit is told below.
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

/** An exit that was told before anybody listened. */
const hasEnded = (child: ChildProcess | Worker): boolean =>
  'postMessage' in child ? child.threadId < 0 : child.exitCode !== null || child.signalCode !== null

/** Gives a child process the generation: it pins it and says so before this resolves; then the parent may release. */
export async function handOver(
  child: ChildProcess | Worker,
  pin: Pin,
  options?: { timeoutMs?: number },
): Promise<void> {
  if (!(pin instanceof PinHandle)) throw invalidArgument('pin', pin, 'a pin of this copy of warmswap')
  const { timeoutMs = DEFAULT_TIMEOUT_MS } = check.options('options', options, ['timeoutMs'])
  check.milliseconds('options.timeoutMs', timeoutMs)
  // A released pin keeps nothing until the child has its own.
  if (pin.released)
    throw new WarmswapError(
      'ERR_CLOSED',
      `the pin on generation ${pin.generation.number} was released: hand over one that is held`,
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
        reject(new WarmswapError('ERR_WORKER_EXITED', `the child ended before it took generation ${number} over`))
      const emitter = child as NodeJS.EventEmitter
      emitter.once('exit', ended)
      if (hasEnded(child)) ended()
      const timer = setTimeout(
        () =>
          reject(
            new WarmswapError(
              'ERR_TIMEOUT',
              `the child did not take generation ${number} over within ${timeoutMs} ms; it has to call takeOver()`,
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

/** In the child: the pin that the parent handed over. ERR_TIMEOUT if it hands none over in time (30 s), ERR_CLOSED if it goes before. */
export async function takeOver(options?: { timeoutMs?: number }): Promise<Pin> {
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
        reject(new WarmswapError('ERR_CLOSED', 'the parent went before it handed a generation over')),
      )
      const late = (): void =>
        reject(
          new WarmswapError(
            'ERR_TIMEOUT',
            `the parent handed no generation over within ${timeoutMs} ms; it has to call handOver()`,
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
  /** Calls once when the parent is gone. */
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
    // With a callback a closed channel is no 'error' event: that the parent is gone is told by 'disconnect'.
    send: (message) => void process.send?.(message, undefined, undefined, () => {}),
    listen: (listener) => listening(process, listener),
    ends: (listener) => once(process, 'disconnect', listener),
  }
}

function once(emitter: NodeJS.EventEmitter, event: string, listener: () => void): () => void {
  emitter.once(event, listener)
  return () => void emitter.off(event, listener)
}
