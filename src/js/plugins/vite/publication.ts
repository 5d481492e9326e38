/** One output directory that becomes a generation, for all environments that write into it. */

import { mkdir, readdir, writeFile } from 'node:fs/promises'
import { dirname, isAbsolute, join, posix, relative, resolve, sep } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { ResolvedConfig, Rollup } from 'vite'
import { type BundleStore, isDirectory, openBundles, type Stage } from '../../bundles/index.js'
import { attempt, messageOf } from '../../native/callbacks.js'
import { isWarmswapError, WarmswapError } from '../../native/errors.js'
import type { CheckedOutDirOptions } from './atomic-out-dir-options.js'
import { carryFiles, hashedFiles, type RecordedFiles, removeCarried } from './old-chunks.js'
import { redirectImports, restoreImports } from './out-dir-view/modules.js'
import { hideView, outsideBuild, showView, type View } from './out-dir-view/views.js'
import { isWithin, type OutFolders } from './out-folders.js'

/** Each environment has a watcher of its own, and they notice one change at slightly different times. */
const SAME_CHANGE_MS = 100

interface EnvironmentBuild {
  phase: 'due' | 'building' | 'ended'
  wrote: boolean
  failed: boolean
  /** Hashed files, as paths in the generation. */
  assets: string[]
}

const publications = new Map<string, Promise<Publication>>()

export class Publication {
  /** The publication of a store, shared by all environments of a configuration. */
  static of(folders: OutFolders, options: CheckedOutDirOptions): Promise<Publication> {
    const known = publications.get(folders.store)
    if (known) return known
    const opened = Publication.open(folders, options)
    publications.set(folders.store, opened)
    opened.catch(() => publications.delete(folders.store))
    return opened
  }

  private static async open(folders: OutFolders, options: CheckedOutDirOptions): Promise<Publication> {
    const { root, keep, graceMs } = options
    if (root === undefined) await hideFromGit(dirname(folders.store))
    const store = await openBundles(folders.store, {
      link: folders.link,
      adopt: true,
      ...(keep !== undefined && { keep }),
      ...(graceMs !== undefined && { graceMs }),
    }).catch((error: unknown) => {
      throw withWayOut(error, folders)
    })
    const work = options.startsEmpty ? await store.stage() : await Publication.workOf(store, folders.link)
    return new Publication(folders, options, store, work)
  }

  /** Work starts from what outDir shows, for builds that add to it (emptyOutDir: false). */
  private static async workOf(store: BundleStore, link: string): Promise<Stage> {
    // The directory of a plain build: the first publish replaces it.
    const isPlain = isDirectory(link)
    // A framework, or a script before the build, has emptied or removed outDir.
    const isEmpty = (await readdir(link).catch(() => [])).length === 0
    const work = await store.stage({ from: isPlain || isEmpty ? 'empty' : 'current' })
    if (isPlain) await work.adopt(link)
    const current = store.current()
    if (current) await removeCarried(current, work.path)
    return work
  }

  private readonly environments = new Map<string, EnvironmentBuild>()
  private mode: 'watch' | 'single' | 'app' | undefined
  private logger: ResolvedConfig['logger'] | undefined
  /** Taken when a round of builds starts, so that an older round that ends later is refused. */
  private stage: Promise<Stage> | undefined
  private publishing: Promise<void> = Promise.resolve()
  private closed = false
  /** Names of environments that write into this folder, with their paths in it. */
  private readonly places = new Map<string, string>()
  /** Environments whose watchers are open. */
  private readonly watched = new Set<string>()
  /** Whether hooks of `buildApp` are still running. */
  private isAppRunning = false
  /** Work of a framework in listeners of a watcher: SvelteKit builds its client there. */
  private readonly listeners = new Set<Promise<unknown>>()
  private readonly view: View

  private constructor(
    private readonly folders: OutFolders,
    private readonly options: CheckedOutDirOptions,
    private readonly store: BundleStore,
    private readonly work: Stage,
  ) {
    this.view = { from: folders.link, to: work.path }
    showView(this.view)
    redirectImports()
  }

  /** Whether an environment writes into this folder. */
  has(name: string): boolean {
    return this.places.has(name)
  }

  appStarted(): void {
    this.isAppRunning = true
    if (this.mode === 'single') this.mode = 'app'
  }

  /** Delays the publish until this work of a watcher's listener has ended. */
  listening(work: Promise<unknown>): void {
    const settled = work.then(
      () => {},
      () => {},
    )
    this.listeners.add(settled)
    void settled.then(async () => {
      this.listeners.delete(settled)
      await outsideBuild(async () => await this.publishInWatch())
      if (this.watched.size === 0) await this.closeWatcher('')
    })
  }

  /** Lets all environments of a configuration write into the work directory. */
  redirect(config: ResolvedConfig): void {
    this.logger = config.logger
    const builds = new Map([
      ...Object.entries(config.environments).map(([name, { build }]) => [build, name] as const),
      [config.build, config.build.ssr ? 'ssr' : 'client'] as const,
    ])
    for (const [build, name] of builds) {
      const outDir = resolve(config.root, build.outDir)
      if (!isWithin(this.folders.link, outDir)) continue
      if (config.environments[name]?.build === build || isForOneEnvironment(config))
        this.places.set(name, relative(this.folders.link, outDir).split(sep).join('/'))
      // The value that Vite would choose for the real outDir.
      build.emptyOutDir ??= isWithin(config.root, outDir)
      const work = join(this.work.path, relative(this.folders.link, outDir))
      // Astro creates a URL from its absolute outDir.
      build.outDir = isAbsolute(build.outDir) ? work : relative(config.root, work)
    }
    if (config.build.watch) this.mode = 'watch'
    else this.mode = this.isSingle(config) ? 'single' : 'app'
  }

  /** React Router 7 has a builder and does not use it: it builds each environment alone, into a folder of its own. */
  private isSingle(config: ResolvedConfig): boolean {
    return isForOneEnvironment(config) && (!config.builder || new Set(this.places.values()).size === 1)
  }

  changed(name: string): void {
    this.of(name).phase = 'due'
  }

  async started(name: string): Promise<void> {
    // Vite empties the work directory in the next step, and a watcher does not wait for the closeBundle before.
    await this.publishing
    this.environments.set(name, { phase: 'building', wrote: false, failed: false, assets: this.of(name).assets })
    if (this.mode === 'watch') this.watched.add(name)
    this.stage ??= this.store.stage({ fenced: true })
    await this.stage.catch((error: unknown) => {
      this.stage = undefined
      throw error
    })
  }

  /** After the files of an environment were written; those of a client are carried into later generations. */
  written(name: string, isClient: boolean, options: Rollup.NormalizedOutputOptions, bundle: Rollup.OutputBundle): void {
    const build = this.of(name)
    // More than one output: each has a call of its own.
    const before = build.wrote ? build.assets : []
    build.wrote = true
    const place = this.places.get(name) ?? ''
    const files = isClient ? hashedFiles(options, bundle) : []
    build.assets = [...before, ...files.map((file) => posix.join(place, file))]
  }

  failed(name: string): void {
    this.of(name).failed = true
  }

  /** After the last closeBundle of an environment. */
  async ended(name: string): Promise<void> {
    this.of(name).phase = 'ended'
    if (this.mode === 'app') return
    if (this.mode === 'watch' && this.environments.size > 1) await sleep(SAME_CHANGE_MS)
    if (this.mode === 'watch') return await this.publishInWatch()
    await this.publishAndClose()
  }

  /** Called when all environments of an app were built or, with watchers, when their first builds were started. */
  async allStarted(names: string[]): Promise<void> {
    if (this.closed) return
    for (const name of names) this.of(name)
    this.isAppRunning = false
    if (this.mode === 'watch') await this.publishInWatch()
    if (this.mode === 'app') await this.publishAndClose()
  }

  /** Called when the watcher of an environment was closed: SvelteKit closes the one of its client after each build. */
  async closeWatcher(name: string): Promise<void> {
    this.watched.delete(name)
    if (this.watched.size === 0 && !this.isAppRunning && this.listeners.size === 0) await this.close()
  }

  async close(): Promise<void> {
    if (this.closed) return
    this.closed = true
    hideView(this.view)
    restoreImports()
    publications.delete(this.folders.store)
    await this.publishing.catch(() => {})
    await this.dropStage()
    await this.work.discard()
    await this.store.close()
  }

  private of(name: string): EnvironmentBuild {
    let build = this.environments.get(name)
    if (!build) {
      build = { phase: 'due', wrote: false, failed: false, assets: [] }
      this.environments.set(name, build)
    }
    return build
  }

  private async publishAndClose(): Promise<void> {
    try {
      await this.publishIfWhole()
    } finally {
      await this.close()
    }
  }

  /**
   * Vite does not wait for the closeBundle of a watcher, so a rejection would end the process. The next build tries
   * again.
   */
  private async publishInWatch(): Promise<void> {
    await this.publishIfWhole().catch((error: unknown) =>
      this.logger?.error(`warmswap: not published: ${messageOf(error)}`, { timestamp: true }),
    )
  }

  /** A plain build fails if its callback fails; a watcher continues. */
  private async notifyPublished(): Promise<void> {
    const { onPublish } = this.options
    if (this.mode === 'watch') attempt('options.onPublish of atomicOutDir()', () => onPublish?.(this.store), onPublish)
    else await onPublish?.(this.store)
  }

  private async publishIfWhole(): Promise<void> {
    const builds = [...this.environments.values()]
    if (this.closed || this.isUnderWay() || builds.some(({ phase }) => phase !== 'ended')) return
    if (builds.every(({ wrote, failed }) => wrote && !failed)) {
      const publishing = this.publish()
      this.publishing = publishing.catch(() => {})
      await publishing
    } else {
      await this.dropStage()
    }
  }

  private isUnderWay(): boolean {
    return this.mode === 'watch' && (this.isAppRunning || this.listeners.size > 0)
  }

  private async publish(): Promise<void> {
    const stage = await this.stage
    if (!stage) return
    this.stage = undefined
    try {
      await stage.adopt(this.work.path)
      const meta = await this.carryInto(stage)
      const { changed } = await stage.publish({ ifChanged: true, meta })
      if (changed) await this.notifyPublished()
    } catch (error) {
      if (!isWarmswapError(error) || error.code !== 'ERR_FENCED') throw withWayOut(error, this.folders)
      this.logger?.warn(`warmswap: not published: ${error.message}`)
    } finally {
      await stage.discard()
    }
  }

  /** Adds hashed files that pages of earlier builds may ask for. Resolves with what the generation records. */
  private async carryInto(stage: Stage): Promise<RecordedFiles> {
    const { graceMs = 0 } = this.options
    const assets = [...this.environments.values()].flatMap((build) => build.assets)
    if (graceMs === 0 || !this.store.current()) return { assets, carried: {} }
    const pin = this.store.pin()
    try {
      return { assets, carried: await carryFiles(pin.generation, stage.path, graceMs) }
    } finally {
      pin.release()
    }
  }

  private async dropStage(): Promise<void> {
    const stage = await this.stage?.catch(() => undefined)
    this.stage = undefined
    await stage?.discard()
  }
}

/**
 * Whether a configuration was resolved for one environment, whose options Vite then copies over `config.build`. An app
 * is built through buildApp instead, and its first configuration is resolved for none.
 */
function isForOneEnvironment({ build, environments }: ResolvedConfig): boolean {
  const of = environments[build.ssr ? 'ssr' : 'client']?.build as Record<string, unknown> | undefined
  return of !== undefined && Object.entries(build).every(([name, value]) => Object.is(of[name], value))
}

/** Replaces the names of openBundles() options in an error by those of this plugin. */
function withWayOut(error: unknown, { root, link, store }: OutFolders): unknown {
  if (!isWarmswapError(error) || error.code !== 'ERR_UNSUPPORTED') return error
  const [problem] = error.message.split(/\. (?=Move root|Remove the directory)/)
  const wayOut = error.message.includes('cannot replace the directory')
    ? `remove '${relative(root, link)}' before the build`
    : `set the option root of atomicOutDir() to a folder on a local filesystem, such as join(tmpdir(), 'my-app'): outDir '${relative(root, link)}' stays where it is and becomes a link to it. Or leave atomicOutDir() out on this machine`
  return new WarmswapError('ERR_UNSUPPORTED', `${problem}; ${wayOut}`, {
    path: error.path ?? store,
    cause: error,
  })
}

/** Generations are not sources: the folder contains a `.gitignore` for itself. */
async function hideFromGit(folder: string): Promise<void> {
  await mkdir(folder, { recursive: true })
  await writeFile(join(folder, '.gitignore'), '*\n', { flag: 'wx' }).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== 'EEXIST')
      throw new WarmswapError('ERR_IO', `'${folder}' cannot be written: ${error.message}`, {
        path: folder,
        cause: error,
      })
  })
}
