/** Progress on standard error: a line that is redrawn on a terminal, one line every few seconds elsewhere. */

import type { Progress } from '../archives/index.js'
import { size } from './text.js'

/** Off a terminal: how often a line is printed. Logs of CI servers show that a command is alive by it. */
const LINE_MS = 3_000

export interface ProgressBar {
  listener: { onProgress?(progress: Progress): void }
  end(): void
}

export function progressBar({ json, quiet }: { json?: true; quiet?: true }): ProgressBar {
  if (json || quiet) return { listener: {}, end: () => {} }
  // A terminal that cannot clear a line gets lines.
  return process.stderr.isTTY && process.env.TERM !== 'dumb' ? redrawn() : lines()
}

/** Columns of a terminal that does not say how many it has. */
const COLUMNS = 80
const LONGEST_BAR = 30
/** '100 % 99999 files, 999 MB': with fewer characters, the bar would come and go while they grow. */
const LONGEST_FACTS = 25
/** A shorter bar shows less than the percentage next to it. */
const SHORTEST_BAR = 8

/** One line for a terminal. A line that wraps could not be redrawn, so it has at most `columns - 1` characters. */
export function progressLine(progress: Progress, columns: number): string {
  const share = shareOf(progress)
  const phase = progress.phase.padEnd(8)
  const facts = share === undefined ? amount(progress) : `${percent(share)} ${amount(progress)}`
  const room = Math.min(LONGEST_BAR, columns - 1 - phase.length - Math.max(LONGEST_FACTS, facts.length) - 2)
  const bar =
    share === undefined || room < SHORTEST_BAR ? '' : ` ${'█'.repeat(Math.round(share * room)).padEnd(room, '░')}`
  return `${phase}${bar} ${facts}`.slice(0, Math.max(0, columns - 1))
}

function redrawn(): ProgressBar {
  const clear = '\r\x1b[K'
  return {
    listener: {
      onProgress(progress) {
        process.stderr.write(`${clear}${progressLine(progress, process.stderr.columns || COLUMNS)}`)
      },
    },
    end: () => void process.stderr.write(clear),
  }
}

function lines(): ProgressBar {
  let last: Progress | undefined
  // A timer and not the events: a transfer that stalls has none.
  const timer = setInterval(() => {
    if (last === undefined) return
    const share = shareOf(last)
    process.stderr.write(`warmswap: ${last.phase}${share === undefined ? '' : ` ${percent(share)}`}, ${amount(last)}\n`)
  }, LINE_MS)
  timer.unref()
  return {
    listener: {
      onProgress(progress) {
        last = progress
      },
    },
    end: () => clearInterval(timer),
  }
}

function shareOf({ bytes, totalBytes }: Progress): number | undefined {
  return totalBytes === undefined || totalBytes === 0 ? undefined : Math.min(1, bytes / totalBytes)
}

const percent = (share: number): string => `${Math.round(share * 100)} %`
const amount = ({ files, bytes }: Progress): string => `${files} ${files === 1 ? 'file' : 'files'}, ${size(bytes)}`
