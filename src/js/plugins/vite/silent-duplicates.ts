/**
 * Duplicates that nobody reports: Vite 6, and every version with `optimizeDeps.ignoreOutdatedRequests`
 * (@cloudflare/vite-plugin sets it), serve a stale dependency as if it were the current one. It is then evaluated a
 * second time, and what it and its shared chunks hold in module scope exists twice.
 */

import type { DevEnvironment } from 'vite'
import { type DepsOptimizer, fileOf, isOptimizedFile, optimizedDepOf } from './optimizer.js'
import { hashOf } from './stale-error.js'

/** Looks at the ids that one environment transforms. */
export class SilentDuplicates {
  readonly #environment: DevEnvironment
  /** Files that were served before. */
  readonly #served = new Set<string>()
  #isWarned = false

  constructor(environment: DevEnvironment) {
    this.#environment = environment
  }

  /** Tells once when an optimized file that was already served under one hash is served under one that is outdated. */
  check(id: string): void {
    if (this.#isWarned || !isOptimizedFile(this.#environment, id)) return
    const file = fileOf(id)
    const optimizer = this.#environment.depsOptimizer as DepsOptimizer
    const current = optimizedDepOf(optimizer, id)?.browserHash ?? optimizer.metadata.browserHash
    const hash = hashOf(id)
    const isOutdated = hash !== undefined && hash !== current
    // A dependency that has just been discovered carries the hash of its discovery: it has no first instance.
    if (isOutdated && this.#served.has(file)) this.#warn(file, hash, current)
    this.#served.add(file)
  }

  #warn(file: string, hash: string, current: string): void {
    this.#isWarned = true
    const { name, logger } = this.#environment
    logger.warn(
      `[warmswap] ${name}: '${file}' is evaluated under two hashes (${hash} is outdated, ${current} is current), so module-level state in it and in ` +
        `what it shares exists twice and is split. Vite does not report this here. Keep such state with defineState() of warmswap/state, ` +
        `and add what is discovered late to optimizeDeps.include.`,
      { timestamp: true },
    )
  }
}
