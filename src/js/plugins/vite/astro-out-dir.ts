/**
 * `astroOutDir()`: what `astro build` builds is published as one generation.
 *
 * Astro empties outDir itself before Vite starts, and its integrations write into it after Vite has ended
 * (`astro:build:done`: sitemaps, adapters). A plugin of Vite sees neither, so this is an integration.
 */

import type { Plugin } from 'vite'
import { outDirPlugin } from './atomic-out-dir.js'
import { type AtomicOutDirOptions, checkOptions } from './atomic-out-dir-options.js'

/** Options of astroOutDir(): those of atomicOutDir(), for `astro build`, which has no watch mode. */
export type AstroOutDirOptions = Omit<AtomicOutDirOptions, 'apply'>

/** An integration of Astro, as `integrations` of its configuration accepts it. */
export interface AstroOutDirIntegration {
  /** 'warmswap:astro-out-dir' */
  name: string
  /** The hooks that Astro calls. */
  hooks: {
    /** Adds the Vite plugin. */
    'astro:config:setup'(options: {
      /** Astro's command, such as 'build' or 'dev'. */
      command: string
      /** Astro's function that changes the configuration. */
      updateConfig(config: {
        /** The part of the configuration that Vite gets. */
        vite: AstroViteConfig
      }): unknown
    }): void
    /** Arranges the publish after the last hook of all integrations. */
    'astro:config:done'(options: {
      /** Astro's resolved configuration. */
      config: {
        /** All integrations of the project. */
        integrations: { hooks: object }[]
      }
    }): void
  }
}

/** The part of Vite's configuration that the integration sets. */
interface AstroViteConfig {
  /** Options of the build. */
  build?: {
    /** Keeps Astro from emptying outDir, which readers still use. */
    emptyOutDir: false
  }
  /** Plugins to add. */
  plugins: Plugin[]
}

/**
 * Builds into a private work directory; after the last `astro:build:done` hook of all integrations, outDir is a link to
 * a copy of what was built. Readers of outDir find the generation from before until then. A failed build publishes
 * nothing. During a build, everything in the process sees the work directory at outDir.
 *
 * @param options Store, and generations to keep.
 * @example
 * export default defineConfig({ integrations: [astroOutDir()] })
 */
export function astroOutDir(options: AstroOutDirOptions = {}): AstroOutDirIntegration {
  let publish = async (): Promise<void> => {}
  const checked = checkOptions({ ...options, apply: 'always' })
  const plugin = outDirPlugin({
    ...checked,
    startsEmpty: true,
    isWholeProcess: true,
    hold: (given) => {
      publish = given
    },
  })
  return {
    name: 'warmswap:astro-out-dir',
    hooks: {
      'astro:config:setup': ({ command, updateConfig }) => {
        // With any other value Astro empties outDir, and through the link what readers see.
        const build = command === 'build' ? { build: { emptyOutDir: false as const } } : {}
        updateConfig({ vite: { ...build, plugins: [plugin] } })
      },
      'astro:config:done': ({ config }) => afterBuild(config.integrations, () => publish()),
    },
  }
}

type BuildDone = (...args: unknown[]) => unknown

/** Calls `end` after the last hook of a build: integrations run in the order of their list. */
function afterBuild(integrations: { hooks: object }[], end: () => Promise<void>): void {
  const hooks = integrations.at(-1)?.hooks as { 'astro:build:done'?: BuildDone } | undefined
  if (hooks === undefined) return
  const before = hooks['astro:build:done']
  hooks['astro:build:done'] = async (...args) => {
    await before?.apply(hooks, args)
    await end()
  }
}
