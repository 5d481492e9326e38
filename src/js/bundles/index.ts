/** Bundles: directories that are swapped atomically and kept until their last reader is gone. */

import type { Pin, Stage } from './contract.js'
import type { PinHandle } from './pin.js'
import type { OpenStage, PublishOptions } from './stage.js'
import { native } from '../native/native.js'

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

// ── the seam for the coordinator (restarts.ts) and the Vite plugin; not exported from the package ──
//
// A coordinator is TypeScript over this file. Beside the public contract it needs four things, and only these:
//  * `stamp()`: the clock of `change()`, comparable with every `startedAt` of this boot;
//  * `acquireBuildLock()`: build.lock, the same single-flight lock that `ensure()` uses, over all processes;
//    a stage made under it has a `startedAt` after the lock was taken, which is what makes joining right;
//  * `buildFacts()`: `startedAt` and fence of a generation. `startedAt` is undefined for a generation of
//    another boot: no stamp of this boot is older, so it serves nobody;
//  * `publishAndPin()`: publish, and a pin on that very generation, taken under the writer lock: a pin()
//    afterwards could be another build's.

export { acquireBuildLock, assertOpen } from './store.js'
export { buildFacts } from './generation.js'
// For the Vite plugin: the directory that a plain build finds in place of the link.
export { giveDirectory, isDirectory } from './replaced.js'

/** Microseconds of this boot's monotonic clock. */
export const stamp = (): number => native().monotonicMicros()

/** The descriptor that holds a pin, for `warmswap bundles run`: its command keeps the generation if the program is killed. */
export const descriptorOf = (pin: Pin): number | undefined => (pin as PinHandle).descriptor

/** Publishes a stage and pins what it became. */
export const publishAndPin = (stage: Stage, options?: PublishOptions): Promise<{ pin: Pin; changed: boolean }> =>
  (stage as OpenStage).publishAndPin(options)
