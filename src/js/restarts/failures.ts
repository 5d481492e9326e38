/** Where a request failed, beyond the code of its error: an HTTP answer needs it for its status. */

/** No worker could be started for this request, or no worker had it yet. */
type Stage = 'boot' | 'waiting'

const stages = new WeakMap<object, Stage>()

/** The error of a start that failed. */
export function markBoot<T>(error: T): T {
  return mark(error, 'boot')
}

/** The error of a request that no worker had. */
export function markWaiting<T>(error: T): T {
  return mark(error, 'waiting')
}

export function stageOf(error: unknown): Stage | undefined {
  return typeof error === 'object' && error !== null ? stages.get(error) : undefined
}

function mark<T>(error: T, stage: Stage): T {
  if (typeof error === 'object' && error !== null) stages.set(error, stage)
  return error
}
