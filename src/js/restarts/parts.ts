/** Answers in parts: which values are one, and how their parts are read one at a time. */

import { Readable } from 'node:stream'

/** The source of an answer in parts. */
export interface Parts {
  next(): Promise<IteratorResult<unknown, unknown>>
  /** Stops the source, even while a part is awaited. Never throws. */
  stop(reason?: unknown): void
}

/** The parts of an async iterable, a ReadableStream or a stream of Node; undefined for an answer that is one value. */
export function partsOf(answer: unknown): Parts | undefined {
  // Stopped immediately, even during a read: the iterators of both would wait for the pending part.
  if (answer instanceof ReadableStream) return partsOfStream(answer)
  if (answer instanceof Readable) return partsOfStream(Readable.toWeb(answer) as ReadableStream)
  return isAsyncIterable(answer) ? partsOfIterator(answer[Symbol.asyncIterator]()) : undefined
}

function partsOfStream(stream: ReadableStream): Parts {
  const reader = stream.getReader()
  return {
    next: () => reader.read() as Promise<IteratorResult<unknown, unknown>>,
    stop: (reason) => void reader.cancel(reason).catch(() => {}),
  }
}

function partsOfIterator(iterator: AsyncIterator<unknown, unknown>): Parts {
  // The source's own clean-up may fail. The code that stopped it cannot use that error.
  const stop = async (): Promise<void> => void (await iterator.return?.())
  return { next: () => iterator.next(), stop: () => void stop().catch(() => {}) }
}

function isAsyncIterable(value: unknown): value is AsyncIterable<unknown> {
  return (
    typeof value === 'object' &&
    value !== null &&
    typeof (value as Partial<AsyncIterable<unknown>>)[Symbol.asyncIterator] === 'function'
  )
}
