/** Reports dependencies that were discovered late, with the configuration that prevents it. */

import { relative } from 'node:path'
import type { DevEnvironment } from 'vite'
import type { OptimizerCommit } from './optimizer.js'
import { memoryOf } from './remember-discoveries.js'

/** Prints, after each late discovery, the `optimizeDeps.include` with the new names. */
export class LateDiscoveries {
  readonly #printed = new Set<string>()
  readonly #environment: DevEnvironment

  constructor(environment: DevEnvironment) {
    this.#environment = environment
  }

  note({ previous, current, reload }: OptimizerCommit): void {
    const isNew = (id: string): boolean =>
      !Object.hasOwn(previous.optimized, id) && !this.#printed.has(id) && !this.#isOwn(id)
    const late = Object.keys(current.optimized).filter(isNew)
    if (late.length === 0) return
    for (const id of late) this.#printed.add(id)
    const { name, logger, config } = this.#environment
    const memory = memoryOf(this.#environment)
    const isRemembered =
      memory === undefined ? '' : ` It is remembered in ${relative(config.root, memory)} and included from now on.`
    logger.info(
      `[warmswap] ${name}: ${late.join(', ')} ${late.length === 1 ? 'was' : 'were'} discovered late${reload ? ', and everything was reloaded' : ''}.` +
        `${late.length === 1 ? isRemembered : isRemembered.replace('It is', 'They are')} ` +
        `This line in the config prevents it${memory === undefined ? '' : ' in other checkouts too'}:\n  ${this.#includeLine(late)}`,
      { timestamp: true },
    )
  }

  /** warmswap itself is for the server: no client should have to include it. */
  #isOwn(id: string): boolean {
    return this.#environment.config.consumer === 'client' && /^warmswap(?:\/|$)/.test(id)
  }

  #includeLine(late: readonly string[]): string {
    const { name } = this.#environment
    const line = `optimizeDeps: { include: [${late.map((id) => `'${id}'`).join(', ')}] }`
    if (name === 'client') return `${line},`
    const key = /^[\w$]+$/.test(name) ? name : `'${name}'`
    return `environments: { ${key}: { ${line} } },`
  }
}
