/** The options of staleDepRecovery, and where importWithRecovery finds those of its environment. */

import type { DevEnvironment } from 'vite'
import { guarded } from '../../native/callbacks.js'
import { invalidArgument } from '../../native/errors.js'
import * as validate from '../../native/validate.js'
import { DEFAULT_ATTEMPTS, type RecoveryEvent } from './attempts.js'
import type { Rescue } from './rescue.js'
import { checkRescueOptions, type InFlightRescueOptions, type RescueLimits } from './rescue-options.js'

/** Options of the recovery. */
export interface StaleDepRecoveryOptions {
  /** Number of attempts for one request or import, the first included. @default 3 */
  maxAttempts?: number
  /**
   * Methods whose requests are handled again in the process. A request whose body was read is never replayed.
   * @default ['GET', 'HEAD']
   */
  replay?: readonly string[]
  /**
   * The answer to requests that must not be replayed: 503 with Retry-After, or a 307 redirect to the same URL if the
   * body is still unread. @default 'error-503'
   */
  onUnsafe?: 'error-503' | 'redirect-307'
  /**
   * When to reload the browser's page. Vite does so itself; 'if-client-reoptimized' repeats that once after a recovered
   * request. @default 'never'
   */
  reloadClient?: 'never' | 'if-client-reoptimized'
  /** Called for each retry, recovery and failure. */
  onEvent?(event: RecoveryEvent): void
  /**
   * In-flight rescue: a GET or HEAD that a re-optimization overtakes is run again before anything of its answer is sent.
   * `false` turns it off. Default: on
   */
  rescue?: InFlightRescueOptions | false
}

export type Recovery = Required<Omit<StaleDepRecoveryOptions, 'rescue'>> & { rescue: RescueLimits | false }

export function checkRecoveryOptions(options: StaleDepRecoveryOptions | undefined): Recovery {
  const given = validate.options('options', options, [
    'maxAttempts',
    'replay',
    'onUnsafe',
    'reloadClient',
    'onEvent',
    'rescue',
  ])
  const {
    maxAttempts = DEFAULT_ATTEMPTS,
    replay = ['GET', 'HEAD'],
    onUnsafe = 'error-503',
    reloadClient = 'never',
    onEvent = () => {},
  } = given
  validate.wholeNumber('options.maxAttempts', maxAttempts, 1)
  if (!Array.isArray(replay))
    throw invalidArgument('options.replay', replay, "an array of methods such as ['GET', 'HEAD']")
  replay.forEach((method, index) => validate.string(`options.replay[${index}]`, method))
  validate.oneOf('options.onUnsafe', onUnsafe, ['error-503', 'redirect-307'])
  validate.oneOf('options.reloadClient', reloadClient, ['never', 'if-client-reoptimized'])
  validate.callback('options.onEvent', onEvent)
  return {
    maxAttempts,
    replay: replay.map((method: string) => method.toUpperCase()),
    onUnsafe,
    reloadClient,
    onEvent: guarded('options.onEvent of staleDepRecovery()', onEvent),
    rescue: given.rescue === false ? false : checkRescueOptions(given.rescue),
  }
}

/** An environment that the plugin handles. */
interface AttachedRecovery {
  recovery: Recovery
  /** The in-flight rescue of its server, unless it is disabled. */
  rescue: Rescue | undefined
  /** Aborts when the environment is closed: a runner of it would wait 60 s for an answer. */
  closed: AbortController
}

const attached = new WeakMap<DevEnvironment, AttachedRecovery>()

export function attachRecovery(environment: DevEnvironment, recovery: Recovery, rescue: Rescue | undefined): void {
  attached.set(environment, { recovery, rescue, closed: new AbortController() })
}

export function recoveryOf(environment: DevEnvironment): AttachedRecovery | undefined {
  return attached.get(environment)
}
