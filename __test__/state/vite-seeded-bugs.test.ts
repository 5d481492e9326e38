// @module-tag system
/** The suite detects each seeded bug of the plugins: its check fails with the bug, and passes with the real plugins. */

import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { afterEach, describe, expect, test } from 'vitest'
import { resetState } from 'warmswap/state'
import { seededPackage } from '../support/seeded-package.js'
import { type Mode, modes } from '../support/vite.js'
import {
  hopelessEnds,
  type Plugins,
  portableStateIsKept,
  recoveryIsGentle,
  redirectsEnd,
  redirectStaysHere,
  thereIsOneCopy,
  unsafeIsRefused,
} from '../support/vite-checks.js'

afterEach(() => resetState())

interface Seeded {
  name: string
  check: (plugins: Plugins, mode: Mode) => Promise<void>
  /** The only version of Vite that shows it. */
  only?: string
  file: RegExp
  from: RegExp
  to: string
}

const seededBugs: readonly Seeded[] = [
  {
    name: 'registry in module scope',
    check: portableStateIsKept,
    file: /^state-portable\.js$/,
    from: /realm\[ROOT\] \?\? \{/,
    to: '{',
  },
  {
    name: 'external without exclude',
    check: thereIsOneCopy,
    file: /^vite\.js$/,
    from: /const optimizeDeps = \{ exclude: packages \}/,
    to: 'const optimizeDeps = {}',
  },
  {
    name: 'clearCache first',
    check: recoveryIsGentle,
    file: /^vite\.js$/,
    from: /const current = resolveOptimizedId\(/,
    to: '(given.runner ?? runnerOf(environment)).clearCache();\nconst current = resolveOptimizedId(',
  },
  {
    name: 'unbounded retry',
    check: hopelessEnds,
    file: /^vite\.js$/,
    from: /this\.exhausted = this\.number - this\.#uncounted >= this\.#most/,
    to: 'this.exhausted = false',
  },
  {
    name: 'replay of POST',
    check: unsafeIsRefused,
    file: /^vite\.js$/,
    from: /if \(!this\.#mayReplay\(request\)\)/,
    to: 'if (false)',
  },
  {
    name: 'redirects without end',
    check: redirectsEnd,
    file: /^vite\.js$/,
    from: /return count \+ 1 < this\.#recovery\.maxAttempts/,
    to: 'return true',
  },
  {
    name: 'reload that Vite misses',
    check: recoveryIsGentle,
    only: 'vite',
    file: /^vite\.js$/,
    from: /commit\.reloadMissed\) reloadEnvironment/,
    to: 'false) reloadEnvironment',
  },
  {
    name: 'Location from the raw URL',
    check: redirectStaysHere,
    file: /^vite\.js$/,
    from: /function sameOriginLocation\(target\) \{/,
    to: 'function sameOriginLocation(target) {\nreturn target;',
  },
]

describe.each(modes.filter(({ runner, ignoreOutdatedRequests }) => runner === 'in-process' && !ignoreOutdatedRequests))(
  '$name',
  (mode) => {
    // Vite 6 and 7 miss no reload.
    test.each(seededBugs.filter(({ only = mode.version.package }) => only === mode.version.package))(
      'killed: $name',
      async ({ name, check, only: _, ...change }) => {
        const folder = seededPackage(name.replaceAll(' ', '-'), change)
        const plugins = (await import(/* @vite-ignore */ pathToFileURL(join(folder, 'vite.js')).href)) as Plugins
        await expect(check(plugins, mode)).rejects.toThrow(/expected|for ever|failed 3 times|redirect count exceeded/)
      },
    )
  },
)
