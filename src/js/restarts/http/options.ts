/** Options of fetch() and attach(). */

import { boolean, options as checkedOptions, milliseconds, oneOf } from '../../native/validate.js'
import type { Acceptance, Carry } from '../queue.js'

/** How the coordinator handles HTTP requests. */
export interface FetchOptions {
  /**
   * Whether a request that a worker had begun when it ended may be sent to the next worker. `'safe'` does so for GET and
   * HEAD without a body, as long as the head of the answer was not sent. A request that no worker had begun always goes to
   * the next one. @default 'never'
   */
  replay?: 'never' | 'safe'
  /**
   * How long a request may take until the head of its answer, in milliseconds. Each part of the request's body starts
   * this time again. Infinity is allowed. @default 30_000
   */
  timeoutMs?: number
  /** Whether answers to failed requests show messages and stacks. @default `process.env.NODE_ENV !== 'production'` */
  development?: boolean
}

export type CheckedFetchOptions = Required<FetchOptions>

/** What answers HTTP requests: the coordinator, as this folder sees it. */
export interface Exchanger {
  /** Passes a request to a worker. Throws if the coordinator is closed. */
  accept<T>(carry: Carry<T>, acceptance: Acceptance): Promise<T>
  /** The error of the last build. Undefined once a later build has succeeded. */
  buildError(): Error | undefined
  /** Seconds after which a client should try again, for `Retry-After`. */
  retryAfter(): number
}

export function checkedFetchOptions(options: FetchOptions | undefined): CheckedFetchOptions {
  const {
    replay = 'never',
    timeoutMs = 30_000,
    development = process.env.NODE_ENV !== 'production',
  } = checkedOptions('options', options, ['replay', 'timeoutMs', 'development'])
  oneOf('options.replay', replay, ['never', 'safe'])
  milliseconds('options.timeoutMs', timeoutMs, { infinity: true })
  boolean('options.development', development)
  return { replay, timeoutMs, development }
}

/** Whether this request may be sent again after a worker had begun it. */
export function isReplayable({ replay }: CheckedFetchOptions, method: string, hasBody: boolean): boolean {
  return replay === 'safe' && !hasBody && (method === 'GET' || method === 'HEAD')
}
