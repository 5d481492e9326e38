/**
 * Late discoveries happen once for each project.
 *
 * A dependency that was discovered late is kept in a list, and the next cold start of the optimizer includes it: after
 * `--force`, with a changed lock file, and with a new node_modules. The list is outside node_modules, because what is in
 * there is deleted with Vite's own cache.
 *
 * `optimizeDeps.include` is part of the hash by which Vite decides whether its cache is valid (6.4, 7.3, 8.3, 8.4), so a
 * name that is added to it costs an optimization of its own. Therefore Vite sees these names only while it collects what
 * a cold start includes. That begins in the turn in which it assigns empty metadata, after it has computed the hash, and
 * copies `include` in the same turn. A cache that is valid needs no names: it has the dependencies.
 */

import { join, resolve } from 'node:path'
import type { DevEnvironment, Plugin } from 'vite'
import { messageOf } from '../../native/callbacks.js'
import * as validate from '../../native/validate.js'
import { DiscoveryList } from './discovery-list.js'
import { isInstalled } from './installed.js'
import { type OptimizerMetadata, watchOptimizer } from './optimizer.js'

/** Where late discoveries are kept. */
export interface RememberDiscoveriesOptions {
  /**
   * Folder of the list, absolute or relative to Vite's root. A folder that you choose gets no `.gitignore`, so you can
   * commit it. Default: `.warmswap/.discoveries`, which git ignores
   */
  dir?: string
}

const remembering = new WeakMap<DevEnvironment, Memory>()

/** The folder in which late discoveries of this environment are kept. Undefined if they are not kept. */
export function memoryOf(environment: DevEnvironment): string | undefined {
  return remembering.get(environment)?.list.folder
}

/**
 * Keeps the names of dependencies that were discovered late, and includes them in each cold start of the optimizer. A
 * name that is no longer installed leaves the list. The folder is created with the first late discovery.
 *
 * @param options Folder of the list.
 */
export function rememberDiscoveries(options?: RememberDiscoveriesOptions): Plugin {
  const { dir } = validate.options('options', options, ['dir'])
  if (dir !== undefined) validate.string('options.dir', dir)
  return {
    name: 'warmswap:remember-discoveries',
    apply: 'serve',
    enforce: 'pre',
    perEnvironmentStartEndDuringDev: true,
    configureServer: {
      // Before frameworks that start the optimizer in their own configureServer.
      order: 'pre',
      handler({ config, environments }) {
        // Test runs discover what their files import.
        if (config.plugins.some(({ name }) => name === 'vitest')) return
        const own = join(config.root, '.warmswap')
        const list =
          dir === undefined
            ? new DiscoveryList(join(own, '.discoveries'), own)
            : new DiscoveryList(resolve(config.root, dir))
        for (const environment of Object.values(environments)) {
          const { depsOptimizer } = environment
          if (depsOptimizer === undefined || depsOptimizer.options.noDiscovery || remembering.has(environment)) continue
          remembering.set(environment, new Memory(environment, list))
        }
      },
    },
    buildEnd() {
      remembering.get(this.environment as DevEnvironment)?.close()
    },
  }
}

class Memory {
  readonly list: DiscoveryList
  readonly #environment: DevEnvironment
  /** Names that this start has included. */
  #given: readonly string[] = []
  #isCold = false
  #hasFailed = false
  readonly close: () => void

  constructor(environment: DevEnvironment, list: DiscoveryList) {
    this.#environment = environment
    this.list = list
    this.close = watchOptimizer(
      environment,
      ({ previous, current }) => this.#remember(current, previous),
      (current) => this.#start(current),
    )
  }

  #start(current: OptimizerMetadata): void {
    if (Object.keys(current.optimized).length === 0) {
      if (!this.#isCold) this.#include()
      this.#isCold = true
    } else if (this.#isCold) {
      this.#attempt(() => {
        const missing = this.#given.filter((name) => !Object.hasOwn(current.optimized, name))
        this.list.remove(this.#environment.name, missing)
      })
      // Vite does not scan server environments for dependencies unless it has entries: here they come with requests.
      if (this.#environment.config.consumer === 'server') this.#remember(current)
    }
  }

  /** Vite reads `include` in this turn. */
  #include(): void {
    const { config, name: environment } = this.#environment
    this.#attempt(() => {
      const { optimizeDeps, root } = config
      const own = optimizeDeps.include ?? []
      const kept = this.list.read(environment).filter((name) => !own.includes(name) && !this.#isExcluded(name))
      const uninstalled = kept.filter((name) => !isInstalled(root, name))
      this.list.remove(environment, uninstalled)
      this.#given = kept.filter((name) => !uninstalled.includes(name))
      if (this.#given.length === 0) return
      const { include } = optimizeDeps
      const together = [...own, ...this.#given]
      optimizeDeps.include = together
      queueMicrotask(() => {
        // Vite warns about names in this array that it cannot resolve.
        together.length = own.length
        if (include === undefined) delete optimizeDeps.include
        else optimizeDeps.include = include
      })
    })
  }

  #remember(current: OptimizerMetadata, previous?: OptimizerMetadata): void {
    const { name: environment, config } = this.#environment
    const own = config.optimizeDeps.include ?? []
    const names = Object.keys(current.optimized).filter(
      (name) =>
        !own.includes(name) &&
        !Object.hasOwn(previous?.optimized ?? {}, name) &&
        // Vite could not include what only a linked package can resolve.
        isInstalled(config.root, name),
    )
    this.#attempt(() => this.list.add(environment, names))
  }

  #isExcluded(name: string): boolean {
    return (this.#environment.config.optimizeDeps.exclude ?? []).some(
      (excluded) => name === excluded || name.startsWith(`${excluded}/`),
    )
  }

  /** An error of the list causes late discoveries, and nothing else. */
  #attempt(work: () => void): void {
    try {
      work()
    } catch (error) {
      if (this.#hasFailed) return
      this.#hasFailed = true
      this.#environment.logger.warn(
        `[warmswap] ${this.#environment.name}: late discoveries are not remembered in '${this.list.folder}': ${messageOf(error)}. ` +
          `Choose another folder with discoveries: { dir }, or turn it off with discoveries: false.`,
      )
    }
  }
}
