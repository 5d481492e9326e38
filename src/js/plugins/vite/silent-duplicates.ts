/**
 * Duplicates that Vite does not report. Vite 6, and every version with `optimizeDeps.ignoreOutdatedRequests`
 * (@cloudflare/vite-plugin sets it), serve a stale dependency as if it were the current one. It is then evaluated a
 * second time, and its module-level state exists twice, including that of shared chunks.
 */

import type { DevEnvironment } from 'vite'
import { type DepsOptimizer, fileOf, isOptimizedFile, optimizedDepOf } from './optimizer.js'
import { hashOf } from './stale-error.js'

/** Checks the ids that one environment transforms. */
export class SilentDuplicates {
  readonly #environment: DevEnvironment
  /** Files that were served before. */
  readonly #served = new Set<string>()
  #isWarned = false

  constructor(environment: DevEnvironment) {
    this.#environment = environment
  }

  /** Warns once when an optimized file that was already served under one hash is served under an outdated one. */
  check(id: string): void {
    if (this.#isWarned || !isOptimizedFile(this.#environment, id)) return
    const file = fileOf(id)
    const optimizer = this.#environment.depsOptimizer as DepsOptimizer
    const current = optimizedDepOf(optimizer, id)?.browserHash ?? optimizer.metadata.browserHash
    const hash = hashOf(id)
    const isOutdated = hash !== undefined && hash !== current
    // A dependency that was just discovered has the hash of its discovery: it has no first instance.
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
