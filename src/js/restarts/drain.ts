/** Old workers: they finish what they have, up to a limit, and are stopped then. */

import { WarmswapError } from '../native/errors.js'
import type { WorkerHandle } from './handle.js'
import { closeIdle } from './http/agents.js'
import { within } from './wait.js'
import type { Worker } from './worker-state.js'

/** How long an old worker may finish what it has: milliseconds, or until it has nothing any more. */
export type Drain = number | 'until-quiet'

/** Least time that a worker has to end by itself when its draining took all of its time. */
const LEAST_STOP_MS = 1_000
/** The time that a worker has to end by itself once it has nothing any more, and drains of a coordinator that closes. */
export const STOP_MS = 5_000
/** What a handle may take beyond the deadline it was given: it kills then, and the kernel reaps. */
const AFTER_STOP_MS = 5_000

/** Lets a worker finish, then stops it. Rejects if it is not gone long after its deadline. */
export async function drainWorker<Q, R>(worker: Worker<Q, R>, drain: Drain): Promise<void> {
  const started = performance.now()
  worker.draining = true
  if (worker.busy > 0) await finish(worker, drain)
  closeIdle(worker.handle)
  const left = drain === 'until-quiet' ? STOP_MS : drain - (performance.now() - started)
  const deadlineMs = Math.max(LEAST_STOP_MS, left)
  const late = (): WarmswapError =>
    new WarmswapError(
      'ERR_TIMEOUT',
      `worker ${worker.incarnation} was not gone ${AFTER_STOP_MS} ms after the deadline of its stop(${deadlineMs})`,
    )
  await within(stopped(worker.handle, deadlineMs), { timeoutMs: deadlineMs + AFTER_STOP_MS, late })
}

async function finish<Q, R>(worker: Worker<Q, R>, drain: Drain): Promise<void> {
  const replaced = (after: string): WarmswapError =>
    new WarmswapError(
      'ERR_WORKER_EXITED',
      `worker ${worker.incarnation} was replaced and had not finished its answer ${after}`,
    )
  const late = (): WarmswapError => replaced(`after ${drain} ms (drainMs)`)
  const { signal } = worker.cutOff
  const timeoutMs = drain === 'until-quiet' ? Infinity : drain
  await within(worker.emptied.promise, { timeoutMs, late, signal }).catch((error: unknown) => {
    const reason = signal.aborted ? replaced('when it had to go (maxDraining, or the coordinator was closed)') : error
    for (const answer of worker.answers) answer.cut(reason)
  })
}

async function stopped(handle: WorkerHandle<never, unknown>, deadlineMs: number): Promise<void> {
  await handle.stop(deadlineMs)
  await handle.exited
}
