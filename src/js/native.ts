/** The addon: loaded once, its failures thrown as WarmswapErrors. */

import type * as Binding from './binding.cjs'
import { loadBinding } from './load.js'

export { type Failure, toError, unwrap } from './failure.js'

export const native: typeof Binding = loadBinding()
