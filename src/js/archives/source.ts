/** The source of `unpack()`: a stream or an iterable, pulled as fast as the unpacker reads. */

import { messageOf } from '../native/callbacks.js'
import { invalidArgument } from '../native/errors.js'
import { type native, unwrap } from '../native/native.js'

/** Result of {@link Unpacker.push} and `drained` (src/addon/archives). */
const WAIT = 1
const STOP = 2

export type Unpacker = InstanceType<ReturnType<typeof native>['Unpacker']>

/** A source that is pulled. `close()` ends it, even while a chunk is awaited. */
export interface Chunks {
  next(): Promise<{ done?: boolean; value?: unknown }>
  giveUp(): void
}

export function checkStream(source: unknown): void {
  const isStream =
    typeof source === 'object' && source !== null && (Symbol.asyncIterator in source || 'getReader' in source)
  if (!isStream)
    throw invalidArgument('source', source, 'an absolute path, a ReadableStream or an AsyncIterable of Uint8Array')
  if ('locked' in source && source.locked === true)
    throw invalidArgument('source', source, 'a stream that nobody else reads')
}

export function openChunks(source: ReadableStream<Uint8Array> | AsyncIterable<Uint8Array>): Chunks {
  // An error of the source at its end is ignored: the result of the call already says whether the archive was complete.
  const quietly = (end: () => Promise<unknown> | undefined): void => void (async () => end())().catch(() => {})
  if ('getReader' in source) {
    const reader = source.getReader()
    return { next: () => reader.read(), giveUp: () => quietly(() => reader.cancel()) }
  }
  const iterator = source[Symbol.asyncIterator]()
  return { next: () => iterator.next(), giveUp: () => quietly(() => iterator.return?.()) }
}

/** Pulls the source as fast as the unpacker reads, until either of them ends. */
export async function feed(unpacker: Unpacker, chunks: Chunks): Promise<void> {
  try {
    for (;;) {
      const { done, value } = await chunks.next()
      if (done) return unpacker.end()
      if (!(value instanceof Uint8Array)) throw invalidArgument("the source's chunk", value, 'a Uint8Array')
      let wanted = unpacker.push(value)
      if (wanted === WAIT) wanted = unwrap(await unpacker.drained())
      if (wanted === STOP) return
    }
  } catch (error) {
    unpacker.fail(messageOf(error))
  }
}
