/**
 * Keeps the last 64 KiB of a stream: the output of a server that logs for an hour must not fill the memory of its test.
 */

import { StringDecoder } from 'node:string_decoder'

const KEPT_BYTES = 64 * 1024

export class OutputTail {
  #chunks: Buffer[] = []
  #bytes = 0

  add(chunk: Buffer): void {
    this.#chunks.push(chunk)
    this.#bytes += chunk.length
    while (this.#bytes - (this.#chunks[0]?.length ?? 0) >= KEPT_BYTES)
      this.#bytes -= (this.#chunks.shift() as Buffer).length
  }

  toString(): string {
    return Buffer.concat(this.#chunks).subarray(-KEPT_BYTES).toString('utf8')
  }
}

/** Splits chunks into lines, even if a chunk ends within a character. Lines are truncated at 64 KiB. */
export class LineReader {
  readonly #decoder = new StringDecoder('utf8')
  #rest = ''

  /** The lines that this chunk completes. */
  push(chunk: Buffer): string[] {
    const lines = (this.#rest + this.#decoder.write(chunk)).split(/\r?\n/)
    this.#rest = (lines.pop() as string).slice(-KEPT_BYTES)
    return lines
  }
}
