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
  return process.stderr.isTTY ? redrawn() : lines()
}

function redrawn(): ProgressBar {
  const clear = '\r\x1b[K'
  return {
    listener: {
      onProgress(progress) {
        const share = shareOf(progress)
        const bar =
          share === undefined ? '' : ` ${'█'.repeat(Math.round(share * 30)).padEnd(30, '░')} ${percent(share)}`
        process.stderr.write(`${clear}${progress.phase.padEnd(8)}${bar} ${amount(progress)}`)
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
const amount = ({ files, bytes }: Progress): string => `${files} files, ${size(bytes)}`
