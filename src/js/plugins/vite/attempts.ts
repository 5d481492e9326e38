/**
 * How often something that met a stale dependency is tried again.
 *
 * One immediate retry heals a transient stale import (measured: 0 ms of waiting are enough), because the optimizer has
 * committed and Vite has invalidated its graph by then. An attempt that began after the commit can still join an import
 * that was under way before it; so further attempts wait a little. All of it is bounded: some failures are for ever.
 */

import { setImmediate as nextTurn, setTimeout as sleep } from 'node:timers/promises'
import type { DevEnvironment } from 'vite'
import { isOptimizedFile, type OptimizerMetadata, wasDeleted } from './optimizer.js'
import { type StaleDep, type StaleKind, staleDepError } from './stale-error.js'

/** What happened to a request or an import that met a stale dependency. */
export interface RecoveryEvent {
  environment: string
  kind: StaleKind
  id?: string
  /** The attempt that this is about, from 1. */
  attempt: number
  outcome: 'retry' | 'resolved-ghost' | 'recovered' | 'gave-up'
  /** The hash that was asked for, and the environment's hash now. */
  oldHash?: string
  newHash?: string
}

export const DEFAULT_ATTEMPTS = 3

/** Milliseconds that an import needs to end which was under way when the optimizer committed. */
const SETTLE_MS = 20

/** A stale dependency and the environment whose it is. */
export interface StaleIn {
  environment: DevEnvironment
  stale: StaleDep
}

/** The stale dependency of one of these environments behind an error; undefined for every other error. */
export function staleIn(environments: Iterable<DevEnvironment>, error: unknown): StaleIn | undefined {
  const stale = staleDepError(error)
  if (stale?.id === undefined) return undefined
  const { id, kind, hash } = stale
  for (const environment of environments) {
    if (!isOptimizedFile(environment, id)) continue
    // A file that is missing under the current hash and that no commit deleted is not stale: no retry brings it back.
    const isCurrent = hash === undefined || hash === environment.depsOptimizer?.metadata.browserHash
    if (kind === 'missing-chunk' && isCurrent && !wasDeleted(environment, id)) return undefined
    return { environment, stale }
  }
  return undefined
}

/** The attempts of one request or import. */
export class Attempts {
  /** The attempt that runs, from 1. */
  number = 0
  /** What the latest failed attempt met. */
  last: StaleIn | undefined
  /** No attempt is left. */
  exhausted = false
  readonly #most: number
  /** Attempts that were made for another reason than a failure. */
  #uncounted = 0
  #beganWith = new Map<DevEnvironment, OptimizerMetadata | undefined>()

  constructor(most: number) {
    this.#most = most
  }

  /** Begins the next attempt. One that does not count is not limited. */
  begin(environments: Iterable<DevEnvironment>, counts = true): void {
    this.number += 1
    if (!counts) this.#uncounted += 1
    this.#beganWith = new Map(
      [...environments].map((environment) => [environment, environment.depsOptimizer?.metadata]),
    )
  }

  /** After a failed attempt: whether to try again. Has waited, where waiting helps. */
  async another(failure: StaleIn): Promise<boolean> {
    this.last = failure
    this.exhausted = this.number - this.#uncounted >= this.#most
    if (this.exhausted) return false
    const { environment } = failure
    const hasCommitted = this.#beganWith.get(environment) !== environment.depsOptimizer?.metadata
    await (hasCommitted ? nextTurn() : sleep(SETTLE_MS * this.number))
    return true
  }

  event(outcome: RecoveryEvent['outcome']): RecoveryEvent {
    const { environment, stale } = this.last as StaleIn
    const newHash = environment.depsOptimizer?.metadata.browserHash
    return {
      environment: environment.name,
      kind: stale.kind,
      attempt: this.number,
      outcome,
      ...(stale.id !== undefined && { id: stale.id }),
      ...(stale.hash !== undefined && { oldHash: stale.hash }),
      ...(newHash !== undefined && { newHash }),
    }
  }
}

/** What to say when no further attempt can help. */
export function hopeless(attempts: Attempts, what: string): string {
  const { environment, oldHash, newHash, id } = attempts.event('gave-up')
  return (
    `${what} failed ${attempts.number} times on the stale dependency '${id}' of the environment '${environment}': asked for with hash ` +
    `${oldHash ?? '(none)'}, current is ${newHash ?? '(none)'}. Import it by the id that resolveOptimizedId(environment, …) returns, ` +
    `or add it to optimizeDeps.include so that it is not discovered late.`
  )
}
