/** The addon: loaded by the first call that needs it, its failures thrown as WarmswapErrors. */

import type * as Binding from './binding.cjs'
import { loadBinding } from './load.js'

export { type NativeFailure, toError, unwrap } from './failure.js'

let loaded: typeof Binding | undefined

/** @throws {WarmswapError} ERR_UNSUPPORTED where the addon cannot be loaded; the message names the reason and the way out. */
export function native(): typeof Binding {
  loaded ??= loadBinding()
  return loaded
}
