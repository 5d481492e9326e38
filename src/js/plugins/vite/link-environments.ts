/** Environments that take modules from one another: when one is re-optimized, the others must not keep what they had. */

import type { DevEnvironment, Plugin, ViteDevServer } from 'vite'
import { attempt } from '../../native/callbacks.js'
import { invalidArgument } from '../../native/errors.js'
import * as validate from '../../native/validate.js'
import { reloadEnvironment, watchOptimizer } from './optimizer.js'
import { recoveryOf } from './recovery-options.js'

/** Environments `to` are reloaded when `from` is reloaded after a re-optimization. */
export interface EnvironmentLink {
  /** Name of the environment that is re-optimized. */
  from: string
  /** Names of the environments that import from it. */
  to: string[]
}

/**
 * Reloads linked environments after the re-optimization of an environment, also along chains of links. Only configured
 * links count. A cycle of links reloads each environment once, because a passed-on reload is not a re-optimization.
 * Names that the server does not have are reported once, when it starts.
 *
 * @param links Which environments import from which.
 */
export function linkEnvironments(links: EnvironmentLink[]): Plugin {
  checkLinks(links)
  const stops = new Map<DevEnvironment, () => void>()
  return {
    name: 'warmswap:link-environments',
    apply: 'serve',
    perEnvironmentStartEndDuringDev: true,
    configureServer(server) {
      announceUnknown(server, links)
      for (const from of new Set(links.map((link) => link.from))) {
        const environment = server.environments[from]
        if (environment === undefined) continue
        const stop = watchOptimizer(environment, ({ reload, reloadMissed }) => {
          // After Vite's own reload of `from`: an environment that is reloaded earlier would fetch old modules from it.
          if (reload || reloadMissed) setImmediate(() => stops.has(environment) && passOn(server, links, from))
        })
        stops.set(environment, stop)
      }
    },
    buildEnd() {
      const environment = this.environment as DevEnvironment
      stops.get(environment)?.()
      stops.delete(environment)
    },
  }
}

function checkLinks(links: EnvironmentLink[]): void {
  if (!Array.isArray(links)) throw invalidArgument('links', links, "an array of { from: 'ssr', to: ['worker'] }")
  links.forEach((link, index) => {
    const { from, to } = validate.options(`links[${index}]`, link, ['from', 'to'])
    validate.string(`links[${index}].from`, from)
    if (!Array.isArray(to) || to.length === 0)
      throw invalidArgument(`links[${index}].to`, to, 'an array of names of environments')
    to.forEach((name, at) => validate.string(`links[${index}].to[${at}]`, name))
  })
}

function announceUnknown(server: ViteDevServer, links: EnvironmentLink[]): void {
  const named = new Set(links.flatMap(({ from, to }) => [from, ...to]))
  const unknown = [...named].filter((name) => server.environments[name] === undefined)
  if (unknown.length === 0) return
  server.config.logger.warn(
    `[warmswap] linkEnvironments names environments that do not exist: ${unknown.join(', ')}. There are: ${Object.keys(server.environments).join(', ')}.`,
  )
}

/** All environments that can be reached from this one, itself excepted. */
function reachable(links: EnvironmentLink[], from: string): Set<string> {
  const reached = new Set([from])
  // A Set is walked with what is added on the way.
  for (const name of reached) {
    for (const link of links) if (link.from === name) for (const to of link.to) reached.add(to)
  }
  reached.delete(from)
  return reached
}

function passOn(server: ViteDevServer, links: EnvironmentLink[], from: string): void {
  for (const name of reachable(links, from)) {
    const environment = server.environments[name]
    if (environment === undefined) continue
    // Requests in the module graph that is discarded here are rescued too.
    if (environment.config.consumer === 'server') recoveryOf(environment)?.rescue?.overtake()
    // The transport of another package may throw; the remaining environments are reloaded anyway.
    attempt(`the reload of the environment '${name}'`, () => reloadEnvironment(environment))
  }
}
