/** The cheapest resilience is to discover nothing late: what was, is named in a line that can be pasted. */

import type { DevEnvironment } from 'vite'
import type { OptimizerCommit } from './optimizer.js'

/** Tells, after each late discovery, the whole `optimizeDeps.include` that would have prevented it. */
export class LateDiscoveries {
  readonly #found = new Set<string>()
  readonly #environment: DevEnvironment

  constructor(environment: DevEnvironment) {
    this.#environment = environment
  }

  note({ previous, current, reload }: OptimizerCommit): void {
    const late = Object.keys(current.optimized).filter((id) => !Object.hasOwn(previous.optimized, id))
    if (late.length === 0) return
    for (const id of late) this.#found.add(id)
    const { name, logger } = this.#environment
    logger.info(
      `[warmswap] ${name}: ${late.join(', ')} ${late.length === 1 ? 'was' : 'were'} discovered late${reload ? ', and everything was reloaded' : ''}. ` +
        `This line in the config prevents it:\n  ${this.includeLine()}`,
      { timestamp: true },
    )
  }

  includeLine(): string {
    const { name, config } = this.#environment
    const all = [...new Set([...(config.optimizeDeps.include ?? []), ...this.#found])]
    const line = `optimizeDeps: { include: [${all.map((id) => `'${id}'`).join(', ')}] }`
    if (name === 'client') return `${line},`
    const key = /^[\w$]+$/.test(name) ? name : `'${name}'`
    return `environments: { ${key}: { ${line} } },`
  }
}
