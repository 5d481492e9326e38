/** The errors that would have ended the process, and the warnings that replaced them. */

export interface Seen {
  /** Uncaught exceptions and unhandled rejections. */
  uncaught: unknown[]
  warnings: (Error & { code?: string })[]
}

const FATAL = ['uncaughtException', 'unhandledRejection'] as const

/** Runs `task` with its own listeners in place of vitest's. Their record is complete even after the task has ended. */
export async function watched(task: (seen: Seen) => Promise<void>): Promise<Seen> {
  const seen: Seen = { uncaught: [], warnings: [] }
  const note = (error: unknown): void => void seen.uncaught.push(error)
  const warn = (warning: Error): void => void seen.warnings.push(warning)
  const others = FATAL.map((event) => process.listeners(event as 'uncaughtException'))
  for (const event of FATAL) process.removeAllListeners(event).on(event, note)
  process.on('warning', warn)
  try {
    await task(seen)
    // Warnings and rejections are emitted in later turns of the event loop.
    for (let turn = 0; turn < 5; turn += 1) await new Promise(setImmediate)
    return seen
  } finally {
    process.off('warning', warn)
    FATAL.forEach((event, index) => {
      process.removeAllListeners(event)
      for (const other of others[index] ?? []) process.on(event, other)
    })
  }
}
