/** Notifies about re-optimizations. */

import type { ViteDevServer } from 'vite'
import { guarded } from '../../native/callbacks.js'
import { invalidArgument } from '../../native/errors.js'
import * as validate from '../../native/validate.js'
import { watchOptimizer } from './optimizer.js'

/** A re-optimization of an environment. */
export interface ReoptimizeEvent {
  /** Name of the environment. */
  environment: string
  /** The new hash of its optimized dependencies. */
  browserHash: string
  /** Whether Vite discards the environment's module graph because of it. */
  reload: boolean
}

/**
 * Calls the listener after each re-optimization of any environment of this server, after Vite has sent its reload. The
 * first optimization of a cold start is not reported. A restarted server has new environments: subscribe in
 * `configureServer`, which Vite calls again.
 *
 * @param server The dev server.
 * @param listener Called after each re-optimization.
 * @returns The subscription.
 */
export function onReoptimize(server: ViteDevServer, listener: (event: ReoptimizeEvent) => void): Disposable {
  if (typeof server?.environments !== 'object')
    throw invalidArgument('server', server, 'a ViteDevServer of Vite 6 or later')
  validate.callback('listener', listener)
  let open = true
  const notify = guarded('a listener of onReoptimize()', listener)
  const stops = Object.values(server.environments).map((environment) =>
    watchOptimizer(environment, ({ current, reload }) => {
      // Vite sends the reload in the same turn as the commit.
      setImmediate(() => {
        if (open) notify({ environment: environment.name, browserHash: current.browserHash, reload })
      })
    }),
  )
  return {
    [Symbol.dispose]() {
      open = false
      for (const stop of stops.splice(0)) stop()
    },
  }
}
