/** The public interface of caches. */

export { type CacheOptions, openCache } from './caches.js'
export type {
  Budget,
  Cache,
  CacheInfo,
  RestoreOptions,
  SnapshotOptions,
  SnapshotOutcome,
  SnapshotResult,
  StoreAbilities,
} from './contract.js'
export type { EnsureBuild, EnsureEvent, EnsureLock, EnsureOptions, EnsureResult } from './ensure-contract.js'
export type { CacheEvent } from './events.js'
export { cacheLocationFromEnv } from './location.js'
export { cacheTrustFromEnv } from './trust-env.js'
export type { TrustOptions } from './trust-options.js'
export type {
  AzureLocation,
  FileLocation,
  GcsLocation,
  MemoryLocation,
  S3Location,
  StoreLocation,
  StoreUrl,
} from './location-types.js'
