/** Loading the addon. No module of this package does so when it is imported, apart from the state, which works without. */

import { createRequire } from 'node:module'
import type * as Binding from './binding.cjs'
import { checkAddon, findAddons } from './addon-file.js'
import { describeMissing } from './addon-missing.js'
import { WarmswapError } from './errors.js'

/** The addon; throws ERR_UNSUPPORTED with what is missing, why, and the way out. */
export function loadBinding(): typeof Binding {
  try {
    // Before the loader: the kernel ends a process that maps a truncated file (SIGBUS).
    if (process.env.NAPI_RS_NATIVE_LIBRARY_PATH === undefined) for (const file of findAddons()) checkAddon(file)
    return createRequire(import.meta.url)('./binding.cjs') as typeof Binding
  } catch (error) {
    throw new WarmswapError('ERR_UNSUPPORTED', describeMissing(error), { cause: error })
  }
}
