/** The options of `atomicOutDir()`. */

import type { BundleStore } from '../../bundles/index.js'
import { callback, options as checkedOptions, milliseconds, oneOf, string, wholeNumber } from '../../native/validate.js'

/** Options of atomicOutDir(). */
export interface AtomicOutDirOptions {
  /**
   * Store of the generations, relative to Vite's root. Must be on a filesystem whose locks work.
   * @default '.warmswap/<outDir>'
   */
  root?: string
  /** When to publish. 'watch': only `vite build --watch`; 'always': also plain builds. @default 'watch' */
  apply?: 'watch' | 'always'
  /** Number of previous generations to keep. @default 1 */
  keep?: number
  /**
   * Time in milliseconds for which an unpinned generation is kept after it stopped being current. For the same time, later
   * generations also have the hashed files of its client: pages that were loaded before still get their chunks. @default 0
   */
  graceMs?: number
  /** Called after each publish. */
  onPublish?(store: BundleStore): void
}

/** How a framework's integration changes the plugin. */
export interface OutDirForm {
  /** Each build begins with an empty work directory, whatever `build.emptyOutDir` is. */
  startsEmpty?: boolean
  /** Whether all file calls of the process see the work tree, because the framework also writes outside Vite's hooks. */
  isWholeProcess?: boolean
  /** Receives the publish function, and calls it when the framework has finished. */
  hold?: (publish: () => Promise<void>) => void
}

/** Options with their defaults. */
export type CheckedOutDirOptions = AtomicOutDirOptions & OutDirForm & { apply: 'watch' | 'always' }

export function checkOptions(given: AtomicOutDirOptions): CheckedOutDirOptions {
  const options = checkedOptions('options', given, ['root', 'apply', 'keep', 'graceMs', 'onPublish'])
  if (options.root !== undefined) string('options.root', options.root)
  if (options.keep !== undefined) wholeNumber('options.keep', options.keep)
  if (options.graceMs !== undefined) milliseconds('options.graceMs', options.graceMs)
  if (options.onPublish !== undefined) callback('options.onPublish', options.onPublish)
  return { ...options, apply: oneOf('options.apply', options.apply ?? 'watch', ['watch', 'always']) }
}
