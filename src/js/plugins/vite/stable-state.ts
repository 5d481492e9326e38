/**
 * One copy of warmswap/state in every server environment, outside the modules that Vite evaluates.
 *
 * Both settings are needed (measured on 6.4.6, 7.3.8 and 8.3.8). `resolve.external` alone leaves a second, bundled copy
 * inside a pre-bundled dependency that imports it. `optimizeDeps.exclude` alone leaves one copy whose id carries `?v=`,
 * so that it is evaluated again after each re-optimization.
 *
 * workerd has neither `external` nor addons: there, Vite evaluates the portable build, which keeps its root on
 * `globalThis`.
 */

import { fileURLToPath } from 'node:url'
import type { EnvironmentOptions, Plugin } from 'vite'
import { invalidArgument } from '../../native/errors.js'
import * as validate from '../../native/validate.js'

/** Options of stableState(). */
export interface StableStateOptions {
  /** Names of the environments that get the state. @default all whose consumer is the server */
  environments?: (name: string) => boolean
  /** Further packages to keep external, with one copy each. */
  singletons?: string[]
  /**
   * Implementation for all environments: 'native' or 'js'. 'auto' uses 'js' where addons cannot be loaded (workerd).
   * @default 'auto'
   */
  backend?: 'auto' | 'native' | 'js'
}

const STATE = 'warmswap/state'

/**
 * Keeps state across re-optimizations, reloads and restarts of the server.
 *
 * @param options Which environments get the state.
 */
export function stableState(options?: StableStateOptions): Plugin {
  const {
    environments,
    singletons = [],
    backend = 'auto',
  } = validate.options('options', options, ['environments', 'singletons', 'backend'])
  if (environments !== undefined) validate.callback('options.environments', environments)
  if (!Array.isArray(singletons)) throw invalidArgument('options.singletons', singletons, 'an array of package names')
  singletons.forEach((name, index) => validate.string(`options.singletons[${index}]`, name))
  validate.oneOf('options.backend', backend, ['auto', 'native', 'js'])

  const packages = ['warmswap', ...singletons]
  const portable = new Set<string>()
  return {
    name: 'warmswap:stable-state',
    apply: 'serve',
    enforce: 'pre',
    configEnvironment: {
      // After the plugins that define the environments.
      order: 'post',
      handler(name, config) {
        if (!(environments?.(name) ?? isServer(name, config))) return
        const optimizeDeps = { exclude: packages }
        if (backend === 'js' || (backend === 'auto' && isIsolate(config))) {
          portable.add(name)
          return { optimizeDeps }
        }
        return config.resolve?.external === true ? { optimizeDeps } : { optimizeDeps, resolve: { external: packages } }
      },
    },
    resolveId(id) {
      if (id === STATE && portable.has(this.environment.name))
        return fileURLToPath(new URL('./state-portable.js', import.meta.url))
    },
  }
}

function isServer(name: string, config: EnvironmentOptions): boolean {
  return (config.consumer ?? (name === 'client' ? 'client' : 'server')) === 'server'
}

/**
 * workerd and similar runtimes, recognised by their export conditions: they load no addons, and @cloudflare/vite-plugin
 * refuses `resolve.external`.
 */
function isIsolate(config: EnvironmentOptions): boolean {
  return (
    config.resolve?.conditions?.some((condition) => ['workerd', 'worker', 'edge-light'].includes(condition)) ?? false
  )
}
