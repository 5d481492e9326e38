/** What watchers must not look at. */

import { sep } from 'node:path'
import * as check from '../native/validate.js'

/**
 * Returns patterns for chokidar (as `ignored` functions use picomatch), @parcel/watcher (`ignore`), Vite
 * (`server.watch.ignored`) and Vitest (`test.exclude`), so that what is written in a store causes no rebuild loop, and tests
 * in kept generations do not run. `current.json` is not among them: it is the file to watch.
 */
export function bundleIgnores(root: string): string[] {
  const path = escaped(check.absolutePath('root', root).split(sep).join('/'))
  // Each folder itself too: @parcel/watcher keeps a kernel watch on what only a pattern excludes, and cannot give it back
  // once a stage was renamed.
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

/** A project may lie in `/home/me/[id]/app (copy)`. */
const escaped = (path: string): string => path.replace(/[*?[\]{}()!+@|\\]/g, '\\$&')
