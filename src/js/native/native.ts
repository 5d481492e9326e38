/** The addon: loaded by the first call that needs it. Its failures are thrown as WarmswapErrors. */

import type * as Binding from './binding.cjs'
import { loadBinding } from './load.js'

export { type NativeFailure, toError, unwrap } from './failure.js'

let loaded: typeof Binding | undefined

/**
 * Returns the addon.
 *
 * @throws {WarmswapError} ERR_UNSUPPORTED if the addon cannot be loaded; the message has the reason and what to do.
 */
export function native(): typeof Binding {
  loaded ??= loadBinding()
  return loaded
}
