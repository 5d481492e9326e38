/**
 * Answers requests that meet a stale pre-bundle, instead of failing them.
 *
 * A handler that imports a module through a runner can find, in the middle of a request, that the optimizer has
 * committed and its dependency no longer exists. This plugin's error middleware is after the handlers and before Vite's
 * own. GET and HEAD are handled again in the process. Everything else is refused with 503 and Retry-After, because its
 * body was read and it may have had side effects. The browser's own 504 and reload remain Vite's task.
 *
 * Errors that do not reach Vite's middlewares (an outer Express or Hono app) need importWithRecovery().
 */

import type { DevEnvironment, Plugin } from 'vite'
import { LateDiscoveries } from './late-discovery.js'
import { reloadEnvironment, watchOptimizer } from './optimizer.js'
import { attachRecovery, checkRecoveryOptions, recoveryOf, type StaleDepRecoveryOptions } from './recovery-options.js'
import { Requests } from './requests.js'
import { RunnerReports } from './runner-reports.js'
import { SilentDuplicates } from './silent-duplicates.js'

/** Environments whose ids are checked: by one plugin only, even if both a framework and its user have added it. */
const checked = new WeakSet<DevEnvironment>()

/**
 * Recovers from stale pre-bundles in all server environments, warns about silent duplicates, and names dependencies
 * that were discovered late.
 *
 * @param options Attempts, replayed methods and limits.
 */
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
            '[warmswap] staleDepRecovery was added twice. Only the first one is active, with its options.',
          )
        }
        const requests = new Requests(server, recovery)
        const open = new Set<DevEnvironment>()
        for (const environment of Object.values(server.environments)) {
          attachRecovery(environment, recovery, requests.rescue)
          const discoveries = new LateDiscoveries(environment)
          const stop = watchOptimizer(environment, (commit) => {
            discoveries.note(commit)
            if (environment.name === 'client' && commit.reload) requests.clientWasReoptimized()
            if (environment.config.consumer !== 'server') return
            if (commit.reload || commit.reloadMissed) requests.rescue?.overtake()
            if (commit.reloadMissed) reloadEnvironment(environment)
          })
          open.add(environment)
          stops.set(environment, () => {
            stop()
            open.delete(environment)
            if (open.size === 0) requests.rescue?.close()
          })
        }
        return () => {
          // Before all other middlewares, so that a replay begins with the client's request. Frameworks put their own
          // middlewares, and Vite's for `base`, in front within such a function.
          server.middlewares.stack.unshift({ route: '', handle: requests.begin })
          if (requests.rescue !== undefined) server.middlewares.use(requests.rescue.leave)
          server.middlewares.use(requests.fail)
        }
      },
    },
    resolveId: { order: 'pre', handler: (source) => RunnerReports.resolve(source) },
    load: (id) => RunnerReports.load(id),
    transform(code, id) {
      const environment = this.environment as DevEnvironment
      if (environment.config.consumer !== 'server') return
      // Created here: @cloudflare/vite-plugin evaluates the entry within its own configureServer, before this one.
      if (!checked.has(environment)) duplicates.set(environment, new SilentDuplicates(environment))
      checked.add(environment)
      const mine = duplicates.get(environment)
      mine?.check(id)
      if (mine === undefined || recovery.rescue === false || !isEntry(environment, id)) return
      // Listens before the code is evaluated.
      RunnerReports.of(environment)
      return { code: RunnerReports.instrument(code, id), map: null }
    },
    buildEnd() {
      const environment = this.environment as DevEnvironment
      if (!stops.has(environment)) return
      recoveryOf(environment)?.closed.abort()
      RunnerReports.close(environment)
      stops.get(environment)?.()
    },
  }
}

/** Whether a runner evaluates this module on its own, not for another one. vitest's modules are left as they are. */
function isEntry({ moduleGraph, config }: DevEnvironment, id: string): boolean {
  // JSON is not always code at this point.
  if (/\.json(?:$|\?)/.test(id)) return false
  return moduleGraph.getModuleById(id)?.importers.size === 0 && !config.plugins.some(({ name }) => name === 'vitest')
}
