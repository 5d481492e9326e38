// The interface of a mkdir lock on top of warmswap: callers that acquire, work and release need not change.
import { acquireLock } from 'warmswap'

/** Acquires the lock at `path`, like `mkdirLock` of today.js. Resolves with the function that releases it. */
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
