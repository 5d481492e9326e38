/** Options of openCoordinator(). */

import { invalidArgument } from '../native/errors.js'
import { callback, options as checkedOptions, milliseconds, oneOf, wholeNumber } from '../native/validate.js'
import type { Drain } from './drain.js'
import type { Start, Succession } from './workers.js'

/** Options of {@link openCoordinator}. */
export interface CoordinatorOptions<Q, R> {
  /** Starts a worker on a pinned generation. Called at most once per incarnation. */
  start: Start<Q, R>
  /** How many requests may wait for a worker. @default 1_000 */
  queueLimit?: number
  /**
   * `'start-first'`: the new worker is started next to the old one, which serves until the new one is ready.
   * `'stop-first'`: the old worker has ended before the new one is started, for a resource that only one process can have
   * (a database file, a device). Requests wait in the queue in the meantime. @default 'start-first'
   */
  order?: 'start-first' | 'stop-first'
  /**
   * How long an old worker may finish what it has: responses, answers in parts and upgraded sockets. A number of
   * milliseconds, or `'until-quiet'`: until nothing of it is under way, with `maxDraining` as the only limit. What is left
   * then is cut; a WebSocket gets "1012 Service Restart". `order: 'stop-first'` requires a number. @default 5_000
   */
  drain?: Drain
  /** The name of `drain` before 0.2, for a number. */
  drainMs?: number
  /** With `drain: 'until-quiet'`: how many old workers may drain; one more cuts the oldest. @default 3 */
  maxDraining?: number
  /** How long `start` may take, in milliseconds. @default 60_000 */
  startTimeoutMs?: number
  /**
   * A build waits until there was no `change()` for so many milliseconds, so that many changes make one build.
   * @default 0
   */
  quietMs?: number
  /** A build waits for quiet at most so long, in milliseconds. @default 10 × quietMs */
  maxQuietMs?: number
}

/** The checked options. */
export interface CheckedOptions<Q, R> {
  start: Start<Q, R>
  queueLimit: number
  succession: Succession
  quiet: { quietMs: number; maxQuietMs: number }
}

const DRAIN_MS = 5_000

export function checkedCoordinatorOptions<Q, R>(options: CoordinatorOptions<Q, R>): CheckedOptions<Q, R> {
  const given = checkedOptions('options', options, [
    'start',
    'queueLimit',
    'order',
    'drain',
    'drainMs',
    'maxDraining',
    'startTimeoutMs',
    'quietMs',
    'maxQuietMs',
  ])
  const { start, queueLimit = 1_000, order = 'start-first', maxDraining = 3, startTimeoutMs = 60_000 } = given
  const { quietMs = 0, maxQuietMs = 10 * quietMs } = given
  callback('options.start', start)
  wholeNumber('options.queueLimit', queueLimit, 1)
  oneOf('options.order', order, ['start-first', 'stop-first'])
  const drain = checkedDrain(given)
  if (order === 'stop-first' && drain === 'until-quiet')
    throw invalidArgument(
      'options.drain',
      drain,
      "a number of milliseconds with order: 'stop-first', because requests wait for the end of the drain",
    )
  wholeNumber('options.maxDraining', maxDraining, 1)
  milliseconds('options.startTimeoutMs', startTimeoutMs)
  milliseconds('options.quietMs', quietMs)
  milliseconds('options.maxQuietMs', maxQuietMs)
  return {
    start: start as Start<Q, R>,
    queueLimit,
    succession: { order, drain, maxDraining, startTimeoutMs },
    quiet: { quietMs, maxQuietMs },
  }
}

function checkedDrain({ drain, drainMs }: { drain?: Drain; drainMs?: number }): Drain {
  if (drainMs !== undefined) {
    if (drain !== undefined) throw invalidArgument('options.drainMs', drainMs, 'undefined where options.drain is set')
    return milliseconds('options.drainMs', drainMs)
  }
  if (drain === undefined || drain === 'until-quiet') return drain ?? DRAIN_MS
  if (typeof drain !== 'number')
    throw invalidArgument('options.drain', drain, "a number of milliseconds, or 'until-quiet'")
  return milliseconds('options.drain', drain)
}
