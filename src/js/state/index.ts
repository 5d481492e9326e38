/**
 * State that survives the module graph, on the addon: values are found in the main realm of the thread also from
 * inside vm contexts. Where the addon cannot be loaded this works as the portable build does, in one realm.
 */

import { loadBinding } from '../load.js'
import { attach } from './registry.js'
import type { Realm } from './root.js'

const binding = tryBinding()
attach((binding?.mainRealm() ?? globalThis) as unknown as Realm)

/** 'native' where the addon was loaded, else 'js'. */
export const stateBackend: 'native' | 'js' = binding === undefined ? 'js' : 'native'

export { type StateOptions, defineState, defineStateAsync, dropState, hasState, listState, onStateChange, peekState, replaceState, resetState } from './registry.js'

function tryBinding(): ReturnType<typeof loadBinding> | undefined {
  try {
    return loadBinding()
  } catch {
    return undefined
  }
}
