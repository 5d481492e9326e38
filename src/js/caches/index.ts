/** Caches: the module's interface. */

export { type CacheOptions, openCache } from './caches.js'
export type {
  Budget,
  Cache,
  CacheInfo,
  RestoreOptions,
  SnapshotOptions,
  SnapshotOutcome,
  SnapshotResult,
} from './contract.js'
export type { CacheEvent } from './events.js'
export { cacheLocationFromEnv, type StoreLocation } from './location.js'
