/** The public interface of locks. */

export type { AnswerOptions, Lock, LockOptions, StoreLock, SweepLocksOptions } from './contract.js'
export { describeHolder, type Holder, type Liveness } from './holder.js'
export { acquireLock, inspectLock, publishFenced, sweepLocks, tryLock, waitForLock, withLock } from './locks.js'
export type { Prewarmed, PrewarmJob } from './job.js'
export { type PrewarmOptions, prewarm, type StorePrewarmOptions } from './prewarm.js'
