/**
 * State that survives the module graph, stored through the addon: values are found in the main realm of the thread,
 * also from inside vm contexts. If the addon cannot be loaded, this works like the portable build, in one realm.
 */

import { loadBinding } from '../native/load.js'
import { attachCells, type CellStore } from './cells.js'
import { nativeCells } from './cells-native.js'
import { portableCells } from './cells-portable.js'
import { attach } from './registry.js'
import { type Realm, type Root, warnOnce } from './root.js'

const { binding, failure } = tryBinding()
const root = attach((binding?.mainRealm() ?? globalThis) as unknown as Realm)
attachCells(binding === undefined ? ownCells(root) : nativeCells(binding))

/** 'native' if the addon was loaded, otherwise 'js'. */
export const stateBackend: 'native' | 'js' = binding === undefined ? 'js' : 'native'

export { type SharedCell, sharedCell } from './cells.js'
export {
  defineState,
  defineStateAsync,
  dropState,
  hasState,
  listState,
  onStateChange,
  peekState,
  replaceState,
  resetState,
  type StateOptions,
} from './registry.js'
export type { StateChange } from './root.js'
export type { StateScope } from './scope.js'

function tryBinding(): { binding?: ReturnType<typeof loadBinding>; failure?: unknown } {
  try {
    return { binding: loadBinding() }
  } catch (error) {
    return { failure: error }
  }
}

/**
 * Without the addon each thread has its own cells, and compare-and-set succeeds in each of them: warn the caller that
 * opens one.
 */
function ownCells(root: Root): (key: string) => CellStore {
  const open = portableCells(root)
  return (key) => {
    warnOnce(
      root,
      'cells',
      `shared cells are shared within each thread only, because the addon was not loaded: ${failure instanceof Error ? failure.message : String(failure)}`,
    )
    return open(key)
  }
}
