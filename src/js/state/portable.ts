/** State that survives the module graph, in plain JavaScript: for browsers and workerd. Imports no Node modules. */

import { attachCells } from './cells.js'
import { portableCells } from './cells-portable.js'
import { attach } from './registry.js'
import type { Realm } from './root.js'

attachCells(portableCells(attach(globalThis as unknown as Realm)))

/** 'native' if the addon was loaded, otherwise 'js'. */
export const stateBackend: 'native' | 'js' = 'js'

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
