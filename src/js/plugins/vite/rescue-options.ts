/** The options of the in-flight rescue. */

import type { IncomingMessage } from 'node:http'
import * as validate from '../../native/validate.js'

/** Limits of the in-flight rescue, and the requests that it must not replay. */
export interface InFlightRescueOptions {
  /**
   * Returns true for a request that must not be replayed although its method is safe, such as a GET that completes an
   * OAuth login. If a re-optimization overtakes it and it fails, it is answered with 503. `request.url` is the URL that
   * Vite received, with `base`. It is called once for each request. Default: none
   */
  exclude?(request: IncomingMessage): boolean
  /**
   * Longest time in milliseconds that an answer is held for a discovery, and that a replay waits for the first attempt
   * to end after the runner has reloaded. Default 10000
   */
  holdMs?: number
  /** Largest body in bytes that is held in memory for one answer. A larger one is sent as it comes. Default 1048576 */
  holdBytes?: number
  /**
   * Longest time in milliseconds that requests wait for a module runner to report that it has reloaded. A runner that
   * did not is not waited for until it reports. Default 5000
   */
  readyMs?: number
}

export type RescueLimits = Required<InFlightRescueOptions>

export function checkRescueOptions(options: InFlightRescueOptions | undefined): RescueLimits {
  const {
    exclude = () => false,
    holdMs = 10_000,
    holdBytes = 1024 * 1024,
    readyMs = 5000,
  } = validate.options('options.rescue', options, ['exclude', 'holdMs', 'holdBytes', 'readyMs'])
  validate.callback('options.rescue.exclude', exclude)
  validate.wholeNumber('options.rescue.holdMs', holdMs, 0)
  validate.wholeNumber('options.rescue.holdBytes', holdBytes, 0)
  validate.wholeNumber('options.rescue.readyMs', readyMs, 0)
  return { exclude, holdMs, holdBytes, readyMs }
}
