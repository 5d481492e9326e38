/**
 * warmswap: atomic bundles, orphan-aware locks, streaming caches, stable state and coordinated restarts.
 *
 * Units: every `…Ms` is milliseconds, every `…Bytes` is bytes, both finite non-negative numbers unless said otherwise.
 */

export {
  type Limits,
  type PackOptions,
  type Preset,
  type Progress,
  pack,
  type RestoreOutcome,
  type RestoreResult,
  type UnpackOptions,
  unpack,
} from './archives/index.js'
export {
  type BundleStore,
  type BundleStoreOptions,
  bundleIgnores,
  type Generation,
  handOver,
  type NamedPin,
  type NamedPinOptions,
  openBundles,
  type Pin,
  type PinRecord,
  type Stage,
  takeOver,
  type WriteOptions,
} from './bundles/index.js'
export {
  type Budget,
  type Cache,
  type CacheEvent,
  type CacheInfo,
  type CacheOptions,
  cacheLocationFromEnv,
  cacheTrustFromEnv,
  type EnsureBuild,
  type EnsureEvent,
  type EnsureLock,
  type EnsureOptions,
  type EnsureResult,
  type AzureLocation,
  type FileLocation,
  type GcsLocation,
  type MemoryLocation,
  openCache,
  type RestoreOptions,
  type S3Location,
  type SnapshotOptions,
  type SnapshotOutcome,
  type SnapshotResult,
  type StoreAbilities,
  type StoreLocation,
  type StoreUrl,
  type TrustOptions,
} from './caches/index.js'
export {
  type AnswerOptions,
  acquireLock,
  type Holder,
  inspectLock,
  type Liveness,
  type Lock,
  type LockOptions,
  type Prewarmed,
  type PrewarmJob,
  type PrewarmOptions,
  prewarm,
  publishFenced,
  type StoreLock,
  type StorePrewarmOptions,
  type SweepLocksOptions,
  sweepLocks,
  tryLock,
  waitForLock,
  withLock,
} from './locks/index.js'
export { type ErrorCode, isWarmswapError, WarmswapError } from './native/errors.js'
export * from './restarts/index.js'
export * from './state/index.js'
