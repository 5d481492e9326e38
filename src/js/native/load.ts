/**
 * Loads the addon. Importing a module of this package does not load it, except for the state module, which also works
 * without.
 */

import { checkAddon, findAddons, HOST_ADDON, loaderFile, requireFrom } from './addon-file.js'
import { describeMissing } from './addon-missing.js'
import type * as Binding from './binding.cjs'
import { WarmswapError } from './errors.js'

/** Returns the addon. Throws ERR_UNSUPPORTED with what is missing, why, and what to do. */
export function loadBinding(): typeof Binding {
  try {
    const loader = loaderFile()
    if (loader === undefined) return loadFromHost()
    // Checked before loading: the kernel ends a process that maps a truncated file (SIGBUS).
    if (process.env.NAPI_RS_NATIVE_LIBRARY_PATH === undefined) for (const file of findAddons()) checkAddon(file)
    return requireFrom(loader)(loader) as typeof Binding
  } catch (error) {
    throw new WarmswapError('ERR_UNSUPPORTED', describeMissing(error), { cause: error })
  }
}

/** Code that a bundler has copied into a worker uses the addon of the host that started the worker. */
function loadFromHost(): typeof Binding {
  const file = process.env[HOST_ADDON]
  if (file === undefined) throw new Error('this code is not in its package')
  checkAddon(file)
  return requireFrom(file)(file) as typeof Binding
}
