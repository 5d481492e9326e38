/** Vite plugins for Vite 6, 7 and 8: state that survives, recovery from stale pre-bundles, atomic output. */

import type { Plugin } from 'vite'
import * as validate from '../../native/validate.js'
import { atomicOutDir } from './atomic-out-dir.js'
import type { AtomicOutDirOptions } from './atomic-out-dir-options.js'
import { autoVersion } from './auto-version.js'
import { type EnvironmentLink, linkEnvironments } from './link-environments.js'
import type { StaleDepRecoveryOptions } from './recovery-options.js'
import { type RememberDiscoveriesOptions, rememberDiscoveries } from './remember-discoveries.js'
import { type StableStateOptions, stableState } from './stable-state.js'
import { staleDepRecovery } from './stale-dep-recovery.js'

export { type AstroOutDirIntegration, type AstroOutDirOptions, astroOutDir } from './astro-out-dir.js'
export { atomicOutDir } from './atomic-out-dir.js'
export type { AtomicOutDirOptions } from './atomic-out-dir-options.js'
export type { RecoveryEvent } from './attempts.js'
export { autoVersion } from './auto-version.js'
export { importWithRecovery } from './import-with-recovery.js'
export { type EnvironmentLink, linkEnvironments } from './link-environments.js'
export { onReoptimize } from './on-reoptimize.js'
export type { StaleDepRecoveryOptions } from './recovery-options.js'
export { type RememberDiscoveriesOptions, rememberDiscoveries } from './remember-discoveries.js'
export type { InFlightRescueOptions } from './rescue-options.js'
export { resolveOptimizedId } from './resolve-optimized-id.js'
export { type StableStateOptions, stableState } from './stable-state.js'
export { staleDepRecovery } from './stale-dep-recovery.js'
export { type StaleKind, staleDepError } from './stale-error.js'

/** Which plugins to use, with their options. */
export interface WarmswapOptions {
  /** Options of stableState(). */
  state?: StableStateOptions
  /** Options of the recovery. `false` disables it. */
  recovery?: StaleDepRecoveryOptions | false
  /** Folder of the late discoveries. `false` disables remembering them. Default `.warmswap/.discoveries` */
  discoveries?: RememberDiscoveriesOptions | false
  /** Environments that take modules from one another. */
  link?: EnvironmentLink[]
  /** Publishes the output of builds atomically, if set. */
  outDir?: AtomicOutDirOptions
}

/**
 * All plugins for a dev server: stableState, autoVersion, rememberDiscoveries and staleDepRecovery, and
 * linkEnvironments and atomicOutDir if their options are set.
 *
 * @param options Options of each plugin.
 */
export default function warmswap(options?: WarmswapOptions): Plugin[] {
  const { state, recovery, discoveries, link, outDir } = validate.options('options', options, [
    'state',
    'recovery',
    'discoveries',
    'link',
    'outDir',
  ])
  return [
    stableState(state),
    ...autoVersion(),
    ...(discoveries === false ? [] : [rememberDiscoveries(discoveries)]),
    ...(recovery === false ? [] : [staleDepRecovery(recovery)]),
    ...(link === undefined ? [] : [linkEnvironments(link)]),
    ...(outDir === undefined ? [] : [atomicOutDir(outDir)]),
  ]
}
