/** Checks the arguments of startProcess() and startWorkerThread() before anything is started. */

import type { Pin } from '../bundles/index.js'
import { invalidArgument } from '../native/errors.js'

/** The part of the {@link StartContext} that a start needs. */
export interface GivenContext {
  /** The generation to run. */
  pin: Pin
  /** Aborts when the start takes too long or the coordinator closes. */
  signal: AbortSignal
}

export function checkedStartContext(context: GivenContext): GivenContext {
  const expected = 'the context that options.start was called with'
  if (typeof context !== 'object' || context === null) throw invalidArgument('context', context, expected)
  const { pin, signal } = context
  if (typeof pin !== 'object' || pin === null || typeof pin.url !== 'function' || typeof pin.resolve !== 'function')
    throw invalidArgument('context.pin', pin, 'a pin of store.pin()')
  if (!(signal instanceof AbortSignal)) throw invalidArgument('context.signal', signal, 'an AbortSignal')
  return context
}
