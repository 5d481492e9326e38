/**
 * How often an operation that met a stale dependency is retried.
 *
 * One immediate retry fixes a transient stale import (measured: 0 ms of waiting are enough), because by then the
 * optimizer has committed and Vite has invalidated its graph. An attempt that began after the commit can still join an
 * import that started before it, so further attempts wait a little. The number is limited, because some failures are
 * permanent.
 */

import { setImmediate as nextTurn, setTimeout as sleep } from 'node:timers/promises'
import type { DevEnvironment } from 'vite'
import { isOptimizedFile, type OptimizerMetadata, wasDeleted } from './optimizer.js'
import { type StaleDep, type StaleKind, staleDepError } from './stale-error.js'

/** What happened to a request or an import that met a stale dependency. */
export interface RecoveryEvent {
  /** Name of the environment. */
  environment: string
  /** What happened to the dependency. */
  kind: StaleKind
  /** Id of the stale dependency. */
  id?: string
  /** Number of the attempt, from 1. */
  attempt: number
  /**
   * 'retry': tried again. 'resolved-ghost': tried again under the current id. 'recovered': a retry succeeded. 'gave-up': no
   * attempts were left.
   */
  outcome: 'retry' | 'resolved-ghost' | 'recovered' | 'gave-up'
  /** The hash that was requested. */
  oldHash?: string
  /** The current hash of the environment. */
  newHash?: string
}

export const DEFAULT_ATTEMPTS = 3

/** Milliseconds for an import to end that was running when the optimizer committed. */
const SETTLE_MS = 20

/** A stale dependency and its environment. */
export interface StaleIn {
  environment: DevEnvironment
  stale: StaleDep
}

/** Finds the stale dependency of one of these environments behind an error. Undefined for every other error. */
export function staleIn(environments: Iterable<DevEnvironment>, error: unknown): StaleIn | undefined {
  const stale = staleDepError(error)
  if (stale?.id === undefined) return undefined
  const { id, kind, hash } = stale
  for (const environment of environments) {
    if (!isOptimizedFile(environment, id)) continue
    // A file that is missing under the current hash and that no commit deleted is not stale: retrying does not help.
    const isCurrent = hash === undefined || hash === environment.depsOptimizer?.metadata.browserHash
    if (kind === 'missing-chunk' && isCurrent && !wasDeleted(environment, id)) return undefined
    return { environment, stale }
  }
  return undefined
}

/** The attempts of one request or import. */
export class Attempts {
  /** The current attempt, from 1. */
  number = 0
  /** The stale dependency of the latest failed attempt. */
  last: StaleIn | undefined
  /** Whether no attempt is left. */
  exhausted = false
  readonly #most: number
  /** Number of attempts made for another reason than a failure. */
  #uncounted = 0
  #beganWith = new Map<DevEnvironment, OptimizerMetadata | undefined>()

  constructor(most: number) {
    this.#most = most
  }

  /** Begins the next attempt. An attempt that does not count is not limited. */
  begin(environments: Iterable<DevEnvironment>, counts = true): void {
    this.number += 1
    if (!counts) this.#uncounted += 1
    this.#beganWith = new Map(
      [...environments].map((environment) => [environment, environment.depsOptimizer?.metadata]),
    )
  }

  /** Decides after a failed attempt whether to retry. Waits first if waiting can help. */
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

/** The message for the case that no further attempt can help. */
export function hopeless(attempts: Attempts, what: string): string {
  const { environment, oldHash, newHash, id } = attempts.event('gave-up')
  return (
    `${what} failed ${attempts.number} times on the stale dependency '${id}' of the environment '${environment}': asked for with hash ` +
    `${oldHash ?? '(none)'}, current is ${newHash ?? '(none)'}. Import it by the id that resolveOptimizedId(environment, …) returns, ` +
    `or add it to optimizeDeps.include so that it is not discovered late.`
  )
}
