/** Puts a text in front of each line that a worker prints. */

import type { Readable, Writable } from 'node:stream'
import { StringDecoder } from 'node:string_decoder'

/** Longest line that is kept until it is complete. */
const LONGEST_LINE = 64 * 1024

/** Copies the lines of `from` to `to`, as they are complete. A line that is never completed is copied at the end. */
export function prefixLines(from: Readable, to: Writable, prefix: string): void {
  const decoder = new StringDecoder('utf8')
  let rest = ''
  const write = (text: string): void => void to.write(`${prefix}${text}\n`)
  const push = (text: string): void => {
    const lines = (rest + text).split('\n')
    rest = lines.pop() as string
    for (const line of lines) write(line)
    if (rest.length <= LONGEST_LINE) return
    write(rest)
    rest = ''
  }
  from.on('data', (bytes: Buffer) => push(decoder.write(bytes)))
  from.once('end', () => {
    push(decoder.end())
    if (rest !== '') write(rest)
  })
  from.on('error', () => {})
}
