/**
 * Bundles: directories that are replaced atomically. Old generations are kept until their last reader has released
 * them.
 */

import { native } from '../native/native.js'
import type { Pin, Stage } from './contract.js'
import type { PinHandle } from './pin.js'
import type { OpenStage, PublishOptions } from './stage.js'

export type {
  BundleStore,
  BundleStoreOptions,
  Generation,
  NamedPin,
  NamedPinOptions,
  Pin,
  PinRecord,
  Stage,
  WriteOptions,
} from './contract.js'
export { handOver, takeOver } from './hand-over.js'
export { bundleIgnores } from './ignores.js'
export { openBundles } from './store.js'

// Internal interface for the coordinator (src/js/restarts) and the Vite plugin. The package does not export it.
//
// A coordinator uses the public API of stores and these four functions:
// - `stamp()`: the clock of `change()`. Comparable with every `startedAt` since the same boot.
// - `acquireBuildLock()`: build.lock, the lock that `ensure()` also uses, over all processes. A stage made under it has
//   a `startedAt` after the lock was acquired. A joining caller depends on this order.
// - `buildFacts()`: `startedAt` and fence of a generation. `startedAt` is undefined for a generation from before the
//   last boot, because its clock is not comparable.
// - `publishAndPin()`: publishes, and pins that generation under the writer lock. A `pin()` afterwards could pin
//   another process's build.

export { buildFacts } from './generation.js'
// For the Vite plugin: the directory that a build without the plugin finds in place of the link.
export { giveDirectory, isDirectory } from './replaced.js'
export { acquireBuildLock, assertOpen } from './store.js'

/** Microseconds of this boot's monotonic clock. */
export const stamp = (): number => native().monotonicMicros()

/** The descriptor that holds a pin, for `warmswap bundles run`: its command keeps the generation if the program is killed. */
export const descriptorOf = (pin: Pin): number | undefined => (pin as PinHandle).descriptor

/** Publishes a stage and pins the resulting generation. */
export const publishAndPin = (stage: Stage, options?: PublishOptions): Promise<{ pin: Pin; changed: boolean }> =>
  (stage as OpenStage).publishAndPin(options)
