/** Disposes of values. A failure is reported and does not block the next value. */

import { messageOf } from '../native/callbacks.js'
import { isSeeded } from '../native/seeded-bugs.js'
import { warn } from '../native/warn.js'
import type { Entry, Table } from './root.js'

/** After this many milliseconds a running `dispose` is reported, and the next value no longer waits for it. */
const LONGEST_DISPOSE_MS = 10_000

/** Disposes of an entry's value, once. Resolves when it has ended, with or without an error. */
export function dispose(
  table: Table,
  key: string,
  entry: Entry,
  otherwise?: Entry['dispose'],
): Promise<void> | undefined {
  const run = entry.dispose ?? otherwise
  if (run === undefined) return undefined
  if (entry.disposed && !(__WARMSWAP_TESTING__ && isSeeded('state-dispose-twice'))) return undefined
  entry.disposed = true
  const done = report(key, () => run(entry.value))
  if (done !== undefined) remember(table, key, done)
  return done
}

/** Runs a clean-up. A failure becomes a warning. */
function report(key: string, cleanUp: () => unknown): Promise<void> | undefined {
  const report = (error: unknown): void =>
    warn(
      `dispose of state '${key}' failed: ${error instanceof Error ? (error.stack ?? messageOf(error)) : messageOf(error)}`,
    )
  try {
    const done = cleanUp()
    if (done instanceof Object && 'then' in done) return Promise.resolve(done).then(() => undefined, report)
  } catch (error) {
    report(error)
  }
  return undefined
}

/** Records running disposals, even if the caller does not wait: a later value may need the same port. */
function remember(table: Table, key: string, done: Promise<void>): void {
  // Created in the realm of the table, like its other collections.
  const closing = table.closing ?? new (table.entries.constructor as MapConstructor)<string, Promise<void>>()
  table.closing = closing
  const all = Promise.all([closing.get(key), done]).then(() => {
    if (closing.get(key) === all) closing.delete(key)
  })
  closing.set(key, all)
}

/** Settles when no value of this key is being disposed of. Undefined if none is. */
export function closingOf(table: Table, key: string): Promise<void> | undefined {
  if (__WARMSWAP_TESTING__ && isSeeded('state-open-before-close')) return undefined
  const closing = table.closing?.get(key)
  if (closing === undefined) return undefined
  let timer: ReturnType<typeof setTimeout> | undefined
  const late = new Promise<void>((resolve) => {
    timer = setTimeout(() => {
      warn(
        `dispose of state '${key}' has not finished after ${LONGEST_DISPOSE_MS / 1000} s. The next value is created without waiting for it; ` +
          `if both need the same port or file, that fails. For an HTTP server, call server.closeAllConnections() before server.close().`,
      )
      resolve()
    }, LONGEST_DISPOSE_MS)
  })
  return Promise.race([closing, late]).finally(() => clearTimeout(timer))
}
