/**
 * warmswap: atomic bundles, orphan-aware locks, streaming caches, stable state and coordinated restarts.
 *
 * Units: every `…Ms` is milliseconds, every `…Bytes` is bytes, both finite non-negative numbers unless said otherwise.
 */

export {
  bundleIgnores,
  handOver,
  openBundles,
  takeOver,
  type BundleStore,
  type BundleStoreOptions,
  type Generation,
  type NamedPin,
  type NamedPinOptions,
  type Pin,
  type PinRecord,
  type Stage,
  type WriteOptions,
} from './bundles/index.js'
export {
  pack,
  unpack,
  type Limits,
  type PackOptions,
  type Preset,
  type Progress,
  type RestoreOutcome,
  type RestoreResult,
  type UnpackOptions,
} from './archives/index.js'
export {
  acquireLock,
  inspectLock,
  prewarm,
  publishFenced,
  sweepLocks,
  tryLock,
  waitForLock,
  withLock,
  type AnswerOptions,
  type Holder,
  type Liveness,
  type Lock,
  type LockOptions,
  type PrewarmJob,
  type Prewarmed,
  type SweepLocksOptions,
} from './locks/index.js'
export {
  cacheLocationFromEnv,
  openCache,
  type Budget,
  type Cache,
  type CacheEvent,
  type CacheInfo,
  type CacheOptions,
  type RestoreOptions,
  type SnapshotOptions,
  type SnapshotOutcome,
  type FileLocation,
  type MemoryLocation,
  type S3Location,
  type SnapshotResult,
  type StoreLocation,
  type StoreUrl,
} from './caches/index.js'
export { WarmswapError, isWarmswapError, type ErrorCode } from './native/errors.js'
export * from './state/index.js'
export * from './restarts/index.js'
