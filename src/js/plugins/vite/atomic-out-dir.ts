/**
 * `atomicOutDir()`: what `vite build --watch` builds is published as one generation, or not at all.
 *
 * The output directory is fixed once for the life of a watcher, Vite empties it at each render start, and plugins
 * write into it as late as in `closeBundle`. So Vite builds into one private work directory; after the last
 * `closeBundle` the tree is copied into a stage and published, and the real outDir is a link to a copy of the current generation.
 *
 * A configuration is resolved once for each environment, each time with new plugin objects, so what belongs to one
 * output directory is kept in a {@link Publication} by the path of its store.
 */

import type { Plugin, UserConfig } from 'vite'
import { bundleIgnores, giveDirectory } from '../../bundles/index.js'
import { type AtomicOutDirOptions, checkOptions } from './atomic-out-dir-options.js'
import { type OutFolders, outFolders } from './out-folders.js'
import { Publication } from './publication.js'

/**
 * Builds into a private work directory; after the last closeBundle the tree is published and outDir is a link to a copy
 * of it. A failed build publishes nothing. The outDirs of several environments must lie in one folder: they are
 * published together, once.
 *
 * A plain build (`apply: 'watch'`, without `--watch`) first replaces the link by a real directory with the same files,
 * so that `npm pack` and `cp` find one; the next watch build puts the link back with its first publish. outDir
 * exists at every moment. A directory that neither this plugin nor a build of it made is adopted: it is kept in
 * `<root>/set-aside/`, and a warning names it.
 *
 * @example
 * export default defineConfig({ plugins: [atomicOutDir()] })
 */
export function atomicOutDir(options: AtomicOutDirOptions = {}): Plugin {
  const checked = checkOptions(options)
  let publication: Publication | undefined
  /** Of a plain build, which is not published. */
  let plain: OutFolders | undefined
  return {
    name: 'warmswap:atomic-out-dir',
    enforce: 'post',
    sharedDuringBuild: true,
    config: {
      order: 'post',
      async handler(config, { command }) {
        const folders = outFolders(config, checked.root)
        if (command === 'build') {
          if (applies(checked.apply, config)) publication = await Publication.of(folders, checked)
          else if (config.build?.write !== false) plain = folders
        }
        // Stages are no sources: without this a dev server beside the build would reload for each file of them.
        const watches = command === 'serve' && config.server?.watch !== null
        return watches ? { server: { watch: { ignored: bundleIgnores(folders.store) } } } : undefined
      },
    },
    configResolved: {
      order: 'pre',
      // Not async: others read the output directory in this same hook. Before Vite 7 it is called without a context.
      handler(config) {
        publication?.redirect(config, (this as typeof this | undefined)?.meta?.viteVersion === undefined)
      },
    },
    watchChange() {
      publication?.changed(this.environment.name)
    },
    async buildStart() {
      // Before Vite empties it: through the link it would empty what the link shows.
      if (plain)
        await giveDirectory(plain.store, plain.link).catch((error: unknown) =>
          this.warn(`the link '${plain?.link}' stays: ${String(error)}`),
        )
      await publication?.started(this.environment.name)
    },
    buildEnd(error) {
      if (error) publication?.failed(this.environment.name)
    },
    renderError() {
      publication?.failed(this.environment.name)
    },
    writeBundle() {
      publication?.written(this.environment.name)
    },
    closeBundle: {
      order: 'post',
      sequential: true,
      async handler(error?: Error) {
        if (error) publication?.failed(this.environment.name)
        await publication?.ended(this.environment.name)
      },
    },
    async closeWatcher() {
      await publication?.close()
    },
    buildApp: {
      order: 'post',
      async handler(builder) {
        const environments = Object.values(builder.environments)
        // Vite does this after the last hook, which would be after the publish.
        if (publication && environments.every(({ isBuilt }) => !isBuilt))
          for (const each of environments) await builder.build(each)
        await publication?.allStarted(environments.filter(({ isBuilt }) => isBuilt).map(({ name }) => name))
      },
    },
  }
}

function applies(apply: 'watch' | 'always', { build }: UserConfig): boolean {
  return apply === 'always' || Boolean(build?.watch)
}
