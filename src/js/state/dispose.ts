/** Disposing of values: what goes wrong there is told and blocks nothing. */

import { messageOf } from '../native/callbacks.js'
import { warn } from '../native/warn.js'
import type { Entry } from './root.js'

/** Disposes of an entry's value, once. Resolves when it is done, however it went. */
export function dispose(key: string, entry: Entry, otherwise?: Entry['dispose']): Promise<void> | undefined {
  const run = entry.dispose ?? otherwise
  if (entry.disposed || run === undefined) return undefined
  entry.disposed = true
  return report(key, () => run(entry.value))
}

/** Runs a clean-up; a failure becomes a warning. */
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
