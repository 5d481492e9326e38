/**
 * One answer that can be held back and discarded, as long as no byte of it was sent.
 *
 * The head is kept until the first byte of the body: frameworks send it before they fail. The handler's calls of
 * `writeHead`, `write` and `end` are intercepted on the response itself, because Vite's middlewares and frameworks hold
 * that object. Answers that are event streams are sent as they come.
 */

import type { ServerResponse } from 'node:http'
import { isSeeded } from '../../native/seeded-bugs.js'
import { refuse } from './replay.js'
import type { RescueLimits } from './rescue-options.js'

type Chunk = string | Uint8Array
type Callback = (error?: Error | null) => void
type Rest = [(BufferEncoding | Callback | null)?, Callback?]

const INTERCEPTED = ['writeHead', 'flushHeaders', 'write', 'end', 'destroy'] as const
type Own = Pick<ServerResponse, (typeof INTERCEPTED)[number]>

/**
 * `held`: nothing was sent. `sent`: what the handler writes goes to the client. `discarded`: the answer was overtaken,
 * and what the handler writes is dropped. `late`: it was overtaken, and took so long that it is sent unless it has
 * failed. `refused`: the client got another answer.
 */
type State = 'held' | 'sent' | 'discarded' | 'late' | 'refused'

/** The rescue's callbacks for an answer. */
export interface AnswerOwner {
  limits: RescueLimits
  /** Whether a dependency waits for the optimizer. */
  isDiscovering(): boolean
  /** A first byte was written, and is held. */
  onHold(): void
  /** The overtaken attempt has ended. */
  onDiscarded(): void
}

export class HeldAnswer {
  readonly #response: ServerResponse
  readonly #owner: AnswerOwner
  readonly #own: Own
  /** Names of the response's own properties at the begin. */
  readonly #names: ReadonlySet<string>
  #state: State = 'held'
  #head: unknown[] | undefined
  /** Arguments of the `writeHead` that went to the client. Node does not show their headers in `getHeader`. */
  #sentHead: unknown[] | undefined
  #isFlushed = false
  #chunks: [Chunk, BufferEncoding | undefined][] = []
  #bytes = 0
  /** Called when the handler has written something, whether it was sent, held or dropped. */
  #isWritten = false
  #isEnded = false
  #hasBody = false
  /** Called when the first byte comes while a dependency waits for the optimizer. */
  #isHeld = false
  #timer: NodeJS.Timeout | undefined

  constructor(response: ServerResponse, owner: AnswerOwner) {
    this.#response = response
    this.#owner = owner
    const { writeHead, flushHeaders, write, end, destroy } = response
    this.#own = { writeHead, flushHeaders, write, end, destroy }
    this.#intercept()
    this.#look()
    this.#names = new Set(Object.getOwnPropertyNames(response))
    response.once('close', () => clearTimeout(this.#timer))
  }

  /** Nothing of the answer was sent. */
  get isUnsent(): boolean {
    return this.#state === 'held' || this.#state === 'discarded' || this.#state === 'late'
  }

  get isDiscarded(): boolean {
    return this.#state === 'discarded'
  }

  /** Begins the next attempt: as if nothing was written. */
  reset(): void {
    clearTimeout(this.#timer)
    this.#timer = undefined
    this.#state = 'held'
    this.#forget()
    this.#isWritten = false
    this.#isEnded = false
    // An attempt can have wrapped these methods and others, as a compressor does.
    const response = this.#response as unknown as Record<string, unknown>
    for (const name of Object.getOwnPropertyNames(response)) {
      if (!this.#names.has(name) && typeof response[name] === 'function') delete response[name]
    }
    this.#intercept()
  }

  /** Ends the connection, whatever the state. */
  destroy(error?: Error): void {
    Reflect.apply(this.#own.destroy, this.#response, [error])
  }

  /** Sends what is held, and from now on everything as it comes. */
  release(): void {
    if (this.#state !== 'held') return
    clearTimeout(this.#timer)
    this.#state = 'sent'
    const [head, chunks] = [this.#head, this.#chunks]
    this.#forget()
    if (head !== undefined) this.#sendHead(head)
    for (const [chunk, encoding] of chunks) this.#send(chunk, encoding)
  }

  /** Ends the hold: no dependency waits for the optimizer any more. */
  discoveryEnded(): void {
    if (this.#state !== 'held' || !this.#isHeld) return
    const isFlush = this.#chunks.length === 0
    this.#attempt(() => {
      this.release()
      if (isFlush) this.#sendFlush()
    })
  }

  /** A commit with a reload has overtaken this answer. Returns whether it was discarded, so that it can be replayed. */
  overtake(): boolean {
    const response = this.#response
    if (this.#state === 'sent') {
      if (__WARMSWAP_TESTING__ && isSeeded('rescue-after-a-body-byte')) return this.#discard()
      this.#cut()
      return false
    }
    if (this.#state === 'discarded') return true
    if (this.#state === 'refused' || response.destroyed) return false
    return this.#discard()
  }

  #discard(): true {
    this.#state = 'discarded'
    this.#forget()
    clearTimeout(this.#timer)
    return true
  }

  /** The runners are ready for the replay: from now on the overtaken attempt has `holdMs` to end. */
  runnersAreReady(): void {
    clearTimeout(this.#timer)
    if (this.#state === 'discarded' && !this.#isEnded) this.#limit()
  }

  /** A begun answer of unknown length would look complete to the client. */
  #cut(): void {
    const response = this.#response
    if (response.writableEnded || this.#header('content-length') !== undefined || this.#isEventStream()) return
    if (!this.#hasBody && !this.#isFlushed) return
    // Without an error HTTP/2 ends the stream as if it was complete.
    this.destroy('stream' in response ? new Error('The answer was overtaken by a re-optimization') : undefined)
  }

  #forget(): void {
    this.#head = undefined
    this.#chunks = []
    this.#bytes = 0
    this.#isHeld = false
  }

  /** Bounds the time of a hold. */
  #limit(): void {
    if (__WARMSWAP_TESTING__ && isSeeded('rescue-without-bounds')) return
    this.#timer = setTimeout(() => {
      if (this.#state !== 'discarded') return this.discoveryEnded()
      // An attempt that goes on for so long and has written nothing may be a long poll.
      if (!this.#isWritten) this.#state = 'late'
      else this.refuse('The first attempt to answer this request did not end in time after a re-optimization.')
    }, this.#owner.limits.holdMs)
  }

  /** Answers with 503 instead. What the handler writes afterwards is dropped. */
  refuse(message: string): void {
    clearTimeout(this.#timer)
    this.#state = 'sent'
    this.#forget()
    const response = this.#response
    this.#attempt(() => {
      for (const name of response.getHeaderNames()) response.removeHeader(name)
      refuse(response, `${message}\n`)
    })
    this.#state = 'refused'
  }

  /** Runs outside the handler, so an error can only end the answer. */
  #attempt(work: () => void): void {
    try {
      work()
    } catch (error) {
      this.destroy(error as Error)
    }
  }

  #intercept(): void {
    const response = this.#response
    response.writeHead = ((...args: unknown[]) => this.#writeHead(args)) as Own['writeHead']
    response.flushHeaders = () => this.#flushHeaders()
    response.write = ((chunk: Chunk, ...rest: Rest) => this.#write(chunk, rest)) as Own['write']
    response.end = ((...args: unknown[]) => this.#end(args)) as Own['end']
    response.destroy = ((error?: Error) => this.#destroyed(error)) as Own['destroy']
  }

  /** What the handler sees of what it has written. */
  #look(): void {
    const response = this.#response
    // HTTP/2 has a class of its own, and others have properties.
    const prototype = Object.getPrototypeOf(response)
    const looks = (name: 'headersSent' | 'writableEnded', looksSo: () => boolean): void => {
      const own = Object.getOwnPropertyDescriptor(response, name)
      if (own?.configurable === false) return
      let value: unknown = own?.value
      const current = own?.get ?? (() => value ?? Reflect.get(prototype, name, response))
      const set = (next: unknown): void => {
        value = next
      }
      Object.defineProperty(response, name, {
        configurable: true,
        get: () => looksSo() || Reflect.apply(current, response, []),
        set: own?.set ?? set,
      })
    }
    looks('headersSent', () => this.#state !== 'sent' && (this.#head !== undefined || this.#isWritten))
    looks('writableEnded', () => this.#state !== 'sent' && this.#isEnded)
  }

  /** Decides about a late answer by its status: a failure is replayed. An event stream is not. */
  #settle(status: number, head?: unknown[]): void {
    if (this.#state === 'late') this.#state = status >= 500 ? 'discarded' : 'sent'
    const isFirst = this.#state === 'discarded' && !this.#isWritten
    if (isFirst && status < 500 && this.#isEventStream(head)) this.#state = 'sent'
  }

  #sendHead(args: unknown[]): ServerResponse {
    this.#sentHead = args
    return Reflect.apply(this.#own.writeHead, this.#response, args)
  }

  #sendFlush(): void {
    this.#isFlushed = true
    Reflect.apply(this.#own.flushHeaders, this.#response, [])
  }

  /** The handler gives up, as `stream.pipeline` does. That is the end of an overtaken attempt. */
  #destroyed(error: Error | undefined): ServerResponse {
    if (this.#state === 'late') this.#state = 'discarded'
    if (this.#state === 'discarded') this.#ended()
    else if (this.#state !== 'refused') this.destroy(error)
    return this.#response
  }

  /** The overtaken attempt has ended. */
  #ended(): void {
    if (this.#isEnded) return
    this.#isEnded = true
    clearTimeout(this.#timer)
    if (this.#state === 'discarded') this.#owner.onDiscarded()
  }

  #writeHead(args: unknown[]): ServerResponse {
    const response = this.#response
    this.#settle(Number(args[0]), args)
    if (this.#state === 'sent') return this.#sendHead(args)
    this.#isWritten = true
    if (this.#state !== 'held') return response
    this.#head = args
    response.statusCode = Number(args[0])
    if (this.#isEventStream()) this.release()
    return response
  }

  #flushHeaders(): void {
    this.#settle(this.#response.statusCode)
    if (this.#state === 'held' && !this.#hold()) this.release()
    if (this.#state === 'sent') this.#sendFlush()
  }

  #write(chunk: Chunk, [encoding, callback]: Rest): boolean {
    const done = typeof encoding === 'function' ? encoding : callback
    const name = typeof encoding === 'string' ? encoding : undefined
    this.#settle(this.#response.statusCode)
    this.#isWritten = true
    if (this.#state === 'held' && !this.#hold()) this.release()
    if (this.#state === 'sent') return this.#send(chunk, name, done)
    if (this.#state === 'held') this.#keep(chunk, name)
    if (done !== undefined) queueMicrotask(() => done())
    return true
  }

  #end(args: unknown[]): ServerResponse {
    const done = args.find((argument) => typeof argument === 'function') as (() => void) | undefined
    this.#settle(this.#response.statusCode)
    this.#isWritten = true
    // An answer that is complete before the commit is entirely of the old module graph.
    this.release()
    if (this.#state === 'sent') {
      Reflect.apply(this.#own.end, this.#response, args)
      return this.#response
    }
    if (done !== undefined) queueMicrotask(done)
    this.#ended()
    return this.#response
  }

  /** Begins a hold if a dependency waits for the optimizer. Returns whether the answer is held. */
  #hold(): boolean {
    if (this.#isHeld) return true
    if (!this.#owner.isDiscovering() || this.#isEventStream()) return false
    this.#isHeld = true
    this.#limit()
    this.#owner.onHold()
    return true
  }

  #keep(chunk: Chunk, encoding: BufferEncoding | undefined): void {
    // A handler may reuse its buffer.
    this.#chunks.push([typeof chunk === 'string' ? chunk : Uint8Array.from(chunk), encoding])
    this.#bytes += chunk.length
    if (this.#bytes > this.#owner.limits.holdBytes && !(__WARMSWAP_TESTING__ && isSeeded('rescue-without-bounds')))
      this.release()
  }

  #send(chunk: Chunk, encoding: BufferEncoding | undefined, done?: Callback): boolean {
    this.#hasBody ||= chunk.length > 0
    return Reflect.apply(this.#own.write, this.#response, [chunk, encoding, done])
  }

  #isEventStream(head = this.#head): boolean {
    return /^\s*text\/event-stream/i.test(this.#header('content-type', head) ?? '')
  }

  #header(name: string, head = this.#head ?? this.#sentHead): string | undefined {
    const value = headerIn(head, name) ?? this.#response.getHeader(name)
    return value === undefined ? undefined : String(value)
  }
}

/** A header among the arguments of writeHead: an object, an array of pairs or a flat array of names and values. */
function headerIn(head: unknown[] | undefined, name: string): unknown {
  const headers = head?.find((argument) => typeof argument === 'object' && argument !== null)
  if (headers === undefined) return undefined
  const pairs = Array.isArray(headers) ? pairsOf(headers) : Object.entries(headers as object)
  return pairs.find(([key]) => String(key).toLowerCase() === name)?.[1]
}

function pairsOf(headers: unknown[]): [unknown, unknown][] {
  if (Array.isArray(headers[0])) return headers as [unknown, unknown][]
  return headers.flatMap((name, index) => (index % 2 === 0 ? [[name, headers[index + 1]] as [unknown, unknown]] : []))
}
