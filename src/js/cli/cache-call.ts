/** What all commands of `warmswap cache` do with their options and with signals. */

import { constants } from 'node:os'

/** Aborts the call on the first signal. The call then cleans up: parts of an upload, the stage next to the target, a lease. */
export function endingSignals(): { signal: AbortSignal; readonly code: number | undefined } {
  const controller = new AbortController()
  let code: number | undefined
  for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    process.once(name, () => {
      code ??= 128 + constants.signals[name]
      controller.abort()
    })
  }
  return {
    signal: controller.signal,
    get code() {
      return code
    },
  }
}

/** Returns the options that were given. */
export function present<T extends object>(given: T): { [Name in keyof T]?: Exclude<T[Name], undefined> } {
  return Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined)) as {
    [Name in keyof T]?: Exclude<T[Name], undefined>
  }
}
