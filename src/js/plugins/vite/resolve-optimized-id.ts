/** Works around a ghost: an id that Vite caches with the hash of an optimizer run that no longer exists. */

import type { DevEnvironment } from 'vite'
import { invalidArgument } from '../../native/errors.js'
import * as validate from '../../native/validate.js'
import { optimizedDepOf } from './optimizer.js'

/**
 * Returns the id under which an optimized dependency can be imported now, `<file>?v=<current hash>`. Undefined if the
 * environment has not optimized it, or has no optimizer.
 *
 * Vite keeps the first id that it resolved for a specifier. No invalidation removes it (`invalidateAll()`,
 * `clearCache()` and waiting were measured on 7.3.8 and 8.3.8), so `runner.import('dep')` can fail permanently, while
 * the id returned here works.
 *
 * @param environment The environment, taken from `server.environments`.
 * @param id A bare specifier as in `optimizeDeps.include`, or any id of the dependency's file, with any hash.
 */
export function resolveOptimizedId(environment: DevEnvironment, id: string): string | undefined {
  if (typeof environment !== 'object' || environment === null)
    throw invalidArgument('environment', environment, 'a DevEnvironment')
  validate.string('id', id)
  const optimizer = environment.depsOptimizer
  if (optimizer === undefined) return undefined
  const { optimized, discovered, chunks } = optimizer.metadata
  const named = [optimized, discovered, chunks].find((table) => Object.hasOwn(table, id))?.[id]
  const dep = named ?? optimizedDepOf(optimizer, absolute(environment, id))
  return dep === undefined ? undefined : optimizer.getOptimizedDepId(dep)
}

/** A URL below the root, as the browser and import analysis write it, is a path below the root's folder. */
function absolute(environment: DevEnvironment, id: string): string {
  const path = id.replace(/^file:\/\//, '').replace(/^\/@fs(?=\/)/, '')
  const root = environment.config.root
  return path.startsWith('/') && !path.startsWith(root) && path.startsWith('/node_modules/') ? root + path : path
}
