/**
 * State that survives the module graph, on the addon: values are found in the main realm of the thread also from
 * inside vm contexts. Where the addon cannot be loaded this works as the portable build does, in one realm.
 */

import { loadBinding } from '../load.js'
import { attachCells } from './cells.js'
import { nativeCells } from './cells-native.js'
import { portableCells } from './cells-portable.js'
import { attach } from './registry.js'
import type { Realm } from './root.js'

const binding = tryBinding()
const root = attach((binding?.mainRealm() ?? globalThis) as unknown as Realm)
attachCells(binding === undefined ? portableCells(root) : nativeCells(binding))

/** 'native' where the addon was loaded, else 'js'. */
export const stateBackend: 'native' | 'js' = binding === undefined ? 'js' : 'native'

export { type SharedCell, sharedCell } from './cells.js'
export { type StateOptions, defineState, defineStateAsync, dropState, hasState, listState, onStateChange, peekState, replaceState, resetState } from './registry.js'

function tryBinding(): ReturnType<typeof loadBinding> | undefined {
  try {
    return loadBinding()
  } catch {
    return undefined
  }
}
