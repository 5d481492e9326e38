/** The options of `atomicOutDir()`. */

import type { BundleStore } from '../../bundles/index.js'
import { callback, milliseconds, oneOf, options as checkedOptions, string, wholeNumber } from '../../native/validate.js'

/** Options of atomicOutDir(). */
export interface AtomicOutDirOptions {
  /** Where generations go; relative to Vite's root. Must be on a filesystem whose locks work. @default '.warmswap/<outDir>' */
  root?: string
  /** 'watch': only `vite build --watch`; 'always': plain builds too. @default 'watch' */
  apply?: 'watch' | 'always'
  /** Generations besides the current one that stay. @default 1 */
  keep?: number
  /** How long an unpinned generation stays after it stopped being current, in milliseconds: browsers ask late for chunks of the page they have. @default 0 */
  graceMs?: number
  /** Called after each publish. */
  onPublish?(store: BundleStore): void
}

/** Options with their defaults. */
export type CheckedOutDirOptions = AtomicOutDirOptions & { apply: 'watch' | 'always' }

export function checkOptions(given: AtomicOutDirOptions): CheckedOutDirOptions {
  const options = checkedOptions('options', given, ['root', 'apply', 'keep', 'graceMs', 'onPublish'])
  if (options.root !== undefined) string('options.root', options.root)
  if (options.keep !== undefined) wholeNumber('options.keep', options.keep)
  if (options.graceMs !== undefined) milliseconds('options.graceMs', options.graceMs)
  if (options.onPublish !== undefined) callback('options.onPublish', options.onPublish)
  return { ...options, apply: oneOf('options.apply', options.apply ?? 'watch', ['watch', 'always']) }
}
