/** Vite plugins for Vite 6, 7 and 8: state that survives, and recovery from stale pre-bundles. */

import type { Plugin } from 'vite'
import * as validate from '../validate.js'
import { type EnvironmentLink, linkEnvironments } from './link-environments.js'
import type { StaleDepRecoveryOptions } from './recovery-options.js'
import { type StableStateOptions, stableState } from './stable-state.js'
import { staleDepRecovery } from './stale-dep-recovery.js'

export type { RecoveryEvent } from './attempts.js'
export { importWithRecovery } from './import-with-recovery.js'
export { type EnvironmentLink, linkEnvironments } from './link-environments.js'
export { onReoptimize } from './on-reoptimize.js'
export type { StaleDepRecoveryOptions } from './recovery-options.js'
export { resolveOptimizedId } from './resolve-optimized-id.js'
export { type StableStateOptions, stableState } from './stable-state.js'
export { staleDepRecovery } from './stale-dep-recovery.js'
export { type StaleKind, staleDepError } from './stale-error.js'

/** Which plugins, and how. */
export interface WarmswapOptions {
  state?: StableStateOptions
  /** `false` leaves the recovery out. */
  recovery?: StaleDepRecoveryOptions | false
  /** Environments that take modules from one another. */
  link?: EnvironmentLink[]
}

/** stableState and staleDepRecovery, and linkEnvironments where links are given. */
export default function warmswap(options?: WarmswapOptions): Plugin[] {
  const { state, recovery, link } = validate.options('options', options, ['state', 'recovery', 'link'])
  return [stableState(state), ...(recovery === false ? [] : [staleDepRecovery(recovery)]), ...(link === undefined ? [] : [linkEnvironments(link)])]
}
