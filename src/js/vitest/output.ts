/** The last 64 KiB of a stream: a server that logs for an hour must not fill the memory of its test. */

const KEPT_BYTES = 64 * 1024

export class OutputTail {
  #chunks: Buffer[] = []
  #bytes = 0

  add(chunk: Buffer): void {
    this.#chunks.push(chunk)
    this.#bytes += chunk.length
    while (this.#bytes - (this.#chunks[0]?.length ?? 0) >= KEPT_BYTES) this.#bytes -= (this.#chunks.shift() as Buffer).length
  }

  toString(): string {
    return Buffer.concat(this.#chunks).subarray(-KEPT_BYTES).toString('utf8')
  }
}

/** Splits chunks into lines; what is too long to be one is cut at 64 KiB. */
export class LineReader {
  #rest = ''

  /** The lines that this text completes. */
  push(text: string): string[] {
    const lines = (this.#rest + text).split(/\r?\n/)
    this.#rest = (lines.pop() as string).slice(-KEPT_BYTES)
    return lines
  }
}
