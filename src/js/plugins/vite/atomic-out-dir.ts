/**
 * `atomicOutDir()`: publishes the output of `vite build --watch` as one generation, or not at all.
 *
 * The output directory is fixed for the life of a watcher, Vite empties it at each render start, and plugins write into
 * it as late as in `closeBundle`. So Vite builds into one private work directory. After the last `closeBundle` the tree
 * is copied into a stage and published, and the real outDir is a link to a copy of the current generation.
 *
 * Vite resolves a configuration once for each environment, each time with new plugin objects. So the state of an output
 * directory is kept in a {@link Publication}, found by the path of its store.
 */

import type { Plugin, ResolvedConfig, UserConfig, ViteBuilder } from 'vite'
import { bundleIgnores, giveDirectory } from '../../bundles/index.js'
import { WarmswapError } from '../../native/errors.js'
import {
  type AtomicOutDirOptions,
  type CheckedOutDirOptions,
  checkOptions,
  type OutDirForm,
} from './atomic-out-dir-options.js'
import { wrapHooks } from './out-dir-view/hooks.js'
import { loadInView, resolveInView } from './out-dir-view/modules.js'
import { insideBuild, isBuildWorker, outsideBuild, showToAll } from './out-dir-view/views.js'
import { followWatchers } from './out-dir-view/watchers.js'
import { type OutFolders, outFolders } from './out-folders.js'
import { Publication } from './publication.js'

const NAME = 'warmswap:atomic-out-dir'

/**
 * Builds into a private work directory; after the last hook of the build the tree is published and outDir is a link to a
 * copy of it. A failed build publishes nothing. Environments whose outDirs lie in one folder are published together, once;
 * separate folders are published one after the other. An environment that builds into `node_modules` is left alone.
 *
 * Hooks of all plugins, and workers that they start, see the work directory at the configured path, in calls of `node:fs`
 * and in imports. Other code sees what is published.
 *
 * A plain build (`apply: 'watch'`, without `--watch`) first replaces the link by a real directory with the same files,
 * so that `npm pack` and `cp` find one; the next watch build puts the link back with its first publish. outDir
 * exists at every moment. A directory that neither this plugin nor a build of it made is adopted: it is kept in
 * `<root>/set-aside/`, and a warning names it.
 *
 * @param options Store, when to publish, and generations to keep.
 * @example
 * export default defineConfig({ plugins: [atomicOutDir()] })
 */
export function atomicOutDir(options: AtomicOutDirOptions = {}): Plugin {
  return outDirPlugin(checkOptions(options))
}

/** The plugin, also in the form that an integration of a framework needs. */
export function outDirPlugin(checked: CheckedOutDirOptions): Plugin {
  let publications: Publication[] = []
  /** Whether this is a plain build, which is not published. */
  let plain: OutFolders[] = []
  /** Whether this plugin has the last `buildApp` hook of a configuration. */
  const isLast = new WeakMap<ResolvedConfig, boolean>()
  const of = (name: string): Publication | undefined => publications.find((each) => each.has(name))
  const buildHooks = hooksOfBuild(of)
  return {
    name: NAME,
    enforce: 'post',
    sharedDuringBuild: true,
    config: {
      order: 'post',
      async handler(config, { command }) {
        publications = []
        plain = []
        // SvelteKit resolves the configuration again in its workers: their build is published by the main thread.
        if (isBuildWorker()) return undefined
        if (command === 'build' && applies(checked.apply, config))
          publications = await outsideBuild(async () => await opened(config, checked))
        else if (command === 'build' && config.build?.write !== false) plain = foldersOrNone(config, checked.root)
        // Stages are not sources: otherwise a dev server running at the same time would reload for each file in them.
        const watches = command === 'serve' && config.server?.watch !== null
        const ignored = watches ? foldersOrNone(config, checked.root).flatMap(({ store }) => bundleIgnores(store)) : []
        return ignored.length > 0 ? { server: { watch: { ignored } } } : undefined
      },
    },
    configResolved: {
      order: 'pre',
      // Not async, because other plugins read the output directory in this same hook.
      handler(config) {
        if (publications.length === 0) return
        for (const each of publications) each.redirect(config)
        const version = (this as typeof this | undefined)?.meta?.viteVersion
        isLast.set(config, wrapBuild(config, publications, { hasNoHook: version === undefined, hold: checked.hold }))
      },
    },
    resolveId: {
      order: 'pre',
      handler(source, importer) {
        const name = this.environment.name
        return of(name) ? insideBuild(() => resolveInView(source, importer, this.environment.config.root)) : undefined
      },
    },
    load: {
      order: 'pre',
      async handler(id) {
        return of(this.environment.name) ? await loadInView(id) : undefined
      },
    },
    async buildStart() {
      // Before Vite empties outDir: through the link, it would empty the published copy.
      for (const { store, link } of plain)
        await giveDirectory(store, link).catch((error: unknown) =>
          this.warn(`the link '${link}' stays: ${String(error)}`),
        )
      const publication = of(this.environment.name)
      await outsideBuild(async () => await publication?.started(this.environment.name))
    },
    ...buildHooks,
    buildApp: {
      order: 'post',
      async handler(builder) {
        const environments = Object.values(builder.environments)
        // Vite does this after the last hook, which would be after the publish.
        if (publications.length > 0 && environments.every(({ isBuilt }) => !isBuilt))
          for (const each of environments) await builder.build(each)
        if (isLast.get(builder.config) ?? true) await allStarted(builder, publications, checked.hold)
      },
    },
  }
}

/** The hooks that follow one environment. */
function hooksOfBuild(
  of: (name: string) => Publication | undefined,
): Pick<Plugin, 'watchChange' | 'buildEnd' | 'renderError' | 'writeBundle' | 'closeBundle' | 'closeWatcher'> {
  return {
    watchChange() {
      of(this.environment.name)?.changed(this.environment.name)
    },
    buildEnd(error) {
      if (error) of(this.environment.name)?.failed(this.environment.name)
    },
    renderError() {
      of(this.environment.name)?.failed(this.environment.name)
    },
    writeBundle(options, bundle) {
      const { name, config } = this.environment
      of(name)?.written(name, config.consumer === 'client', options, bundle)
    },
    closeBundle: {
      order: 'post',
      sequential: true,
      async handler(error?: Error) {
        const { name } = this.environment
        if (error) of(name)?.failed(name)
        await outsideBuild(async () => await of(name)?.ended(name))
      },
    },
    async closeWatcher() {
      const { name } = this.environment
      await outsideBuild(async () => await of(name)?.closeWatcher(name))
    },
  }
}

async function opened(config: UserConfig, options: CheckedOutDirOptions): Promise<Publication[]> {
  refuseNuxt(config)
  const publications: Publication[] = []
  for (const each of outFolders(config, options.root)) publications.push(await Publication.of(each, options))
  if (options.isWholeProcess) showToAll()
  return publications
}

async function allStarted(
  builder: ViteBuilder,
  publications: Publication[],
  hold: OutDirForm['hold'] = undefined,
): Promise<void> {
  const built = Object.values(builder.environments).filter(({ isBuilt }) => isBuilt)
  const publish = async (): Promise<void> => {
    for (const each of publications) {
      const names = built.map(({ name }) => name).filter((name) => each.has(name))
      await outsideBuild(async () => await each.allStarted(names))
    }
  }
  if (hold) hold(publish)
  else await publish()
}

/**
 * Lets the hooks of the build see the work directories. `hasNoHook`: this Vite has no `buildApp` hook (before 7).
 * Returns whether this plugin has the last `buildApp` hook.
 */
function wrapBuild(
  config: ResolvedConfig,
  publications: Publication[],
  { hasNoHook, hold }: { hasNoHook: boolean; hold: OutDirForm['hold'] },
): boolean {
  const before = (builder: ViteBuilder): void => {
    for (const each of publications) each.appStarted()
    followWatchers(builder, (work) => {
      for (const each of publications) each.listening(work)
    })
  }
  const after = async (builder: ViteBuilder): Promise<void> => await allStarted(builder, publications, hold)
  const isLast = wrapHooks(config, NAME, { before, after })
  const { builder } = config
  if (!builder) return isLast
  const buildApp = builder.buildApp
  builder.buildApp = async (app) => {
    before(app)
    await insideBuild(async () => await buildApp(app))
    if (hasNoHook) await after(app)
  }
  return isLast
}

/** Nuxt passes Vite's output to Nitro, which creates `.output` after the last hook of Vite. */
function refuseNuxt({ plugins = [], build }: UserConfig): void {
  const all = (plugins as unknown[]).flat(Number.POSITIVE_INFINITY)
  if (!all.some((each) => /^nuxt:/.test((each as { name?: string } | null)?.name ?? ''))) return
  throw new WarmswapError(
    'ERR_UNSUPPORTED',
    `atomicOutDir() cannot publish what Nuxt builds: the outDir of the environment '${build?.ssr ? 'ssr' : 'client'}' ('${build?.outDir}') is an intermediate directory, and Nitro creates '.output' from it later. Remove atomicOutDir() from nuxt.config, and publish Nitro's output as docs/guide/frameworks.md shows`,
  )
}

/** A configuration that cannot be published fails at publication only: dev servers and plain builds work. */
function foldersOrNone(config: UserConfig, storeRoot: string | undefined): OutFolders[] {
  try {
    return outFolders(config, storeRoot)
  } catch {
    return []
  }
}

function applies(apply: 'watch' | 'always', { build }: UserConfig): boolean {
  return apply === 'always' || Boolean(build?.watch)
}
