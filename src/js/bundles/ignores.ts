/** Ignore patterns for file watchers. */

import { sep } from 'node:path'
import * as check from '../native/validate.js'

/**
 * Returns glob patterns that exclude a store from file watchers and test runners: Vite (`server.watch.ignored`), Vitest
 * (`test.exclude`), Parcel's watcher (`ignore`), and chokidar (as `ignored` functions that use picomatch). With them,
 * writes to a store cause no rebuild loop, and tests inside kept generations do not run. `current.json` is not excluded:
 * watch this file to notice publishes.
 *
 * @param root Directory of the store.
 * @returns The patterns, as absolute paths with `/`.
 * @throws {WarmswapError} ERR_INVALID_ARGUMENT if `root` is not a path.
 */
export function bundleIgnores(root: string): string[] {
  const path = escaped(check.absolutePath('root', root).split(sep).join('/'))
  // The patterns name each folder and its contents: @parcel/watcher keeps a kernel watch on a folder whose contents
  // alone are excluded, and cannot remove it after a stage was renamed.
  return ['gens', 'pins', 'owners', 'stage', 'trash', 'views', 'named', 'set-aside']
    .flatMap((name) => [`${path}/${name}`, `${path}/${name}/**`])
    .concat(
      [
        '*.lock',
        '*.tmp',
        'fence',
        'boot',
        'config.json',
        'bounds.json',
        'FORMAT',
        'made.json',
        'current',
        'current/**',
        'view',
        'view/**',
      ].map((name) => `${path}/${name}`),
    )
}

/** The path of a project may contain glob characters: `/home/me/[id]/app (copy)`. */
const escaped = (path: string): string => path.replace(/[*?[\]{}()!+@|\\]/g, '\\$&')
