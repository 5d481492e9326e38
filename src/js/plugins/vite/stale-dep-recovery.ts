/**
 * Requests that meet a stale pre-bundle are answered, not failed.
 *
 * A handler that reaches for a module through a runner can find, in the middle of a request, that the optimizer has
 * committed and its dependency is gone. This plugin's error middleware stands after the handlers and before Vite's own:
 * GET and HEAD are answered again in process; everything else is refused with 503 and Retry-After, because its body was
 * read and its effects may have happened. The browser's own 504 and reload stay Vite's.
 *
 * Errors that do not reach Vite's middleware stack (an outer Express or Hono) need importWithRecovery.
 */

import type { DevEnvironment, Plugin } from 'vite'
import { LateDiscoveries } from './late-discovery.js'
import { reloadEnvironment, watchOptimizer } from './optimizer.js'
import { recoveryOf, checkRecoveryOptions, type StaleDepRecoveryOptions, attachRecovery } from './recovery-options.js'
import { Requests } from './requests.js'
import { SilentDuplicates } from './silent-duplicates.js'

/** Environments whose ids are looked at: by one plugin, also where a framework and its user have both added it. */
const checked = new WeakSet<DevEnvironment>()

/** Recovers from stale pre-bundles in all server environments, tells of silent duplicates, and names what was discovered late. */
export function staleDepRecovery(options?: StaleDepRecoveryOptions): Plugin {
  const recovery = checkRecoveryOptions(options)
  const duplicates = new WeakMap<DevEnvironment, SilentDuplicates>()
  const stops = new WeakMap<DevEnvironment, () => void>()
  return {
    name: 'warmswap:stale-dep-recovery',
    apply: 'serve',
    enforce: 'post',
    perEnvironmentStartEndDuringDev: true,
    configureServer: {
      order: 'post',
      handler(server) {
        if (Object.values(server.environments).some((environment) => recoveryOf(environment) !== undefined)) {
          return server.config.logger.warn(
            '[warmswap] staleDepRecovery is there twice: only the first, with its options, is at work.',
          )
        }
        const requests = new Requests(server, recovery)
        for (const environment of Object.values(server.environments)) {
          attachRecovery(environment, recovery)
          const discoveries = new LateDiscoveries(environment)
          const stop = watchOptimizer(environment, (commit) => {
            discoveries.note(commit)
            if (environment.name === 'client' && commit.reload) requests.clientWasReoptimized()
            if (environment.config.consumer === 'server' && commit.reloadMissed) reloadEnvironment(environment)
          })
          stops.set(environment, stop)
        }
        // First of all, so that a replay begins with what the client sent.
        server.middlewares.stack.unshift({ route: '', handle: requests.begin })
        return () => void server.middlewares.use(requests.fail)
      },
    },
    transform(_code, id) {
      const environment = this.environment as DevEnvironment
      if (environment.config.consumer !== 'server') return
      // Made here: @cloudflare/vite-plugin evaluates the entry within its own configureServer, before ours.
      if (!checked.has(environment)) duplicates.set(environment, new SilentDuplicates(environment))
      checked.add(environment)
      duplicates.get(environment)?.check(id)
    },
    buildEnd() {
      const environment = this.environment as DevEnvironment
      if (!stops.has(environment)) return
      recoveryOf(environment)?.closed.abort()
      stops.get(environment)?.()
    },
  }
}
