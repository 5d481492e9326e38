// The face of a mkdir lock over warmswap: callers that take, work and give back need not change.
import { acquireLock } from 'warmswap'

/** As `mkdirLock` of today.js: takes the lock at `path` and resolves with the function that gives it back. */
export async function mkdirLock(path, { timeoutMs = 15 * 60_000, log = () => {} } = {}) {
  const lock = await acquireLock(path, {
    timeoutMs,
    onWait: ({ holder, waitedMs }) =>
      log(
        `waiting ${Math.round(waitedMs)} ms for ${path}, held by pid ${holder?.pid ?? '?'} since ${holder?.since ?? '?'}`,
      ),
  })
  return () => lock.release()
}
