/** One output directory on its way to becoming a generation, for all environments that write into it. */

import { mkdir, writeFile } from 'node:fs/promises'
import { dirname, join, relative, resolve } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { ResolvedConfig } from 'vite'
import { type BundleStore, type Stage, isDirectory, openBundles } from '../../bundles/index.js'
import { attempt, messageOf } from '../../native/callbacks.js'
import { WarmswapError, isWarmswapError } from '../../native/errors.js'
import type { CheckedOutDirOptions } from './atomic-out-dir-options.js'
import { type OutFolders, isWithin } from './out-folders.js'

/** Each environment has a watcher of its own, and they learn of one change at slightly different times. */
const SAME_CHANGE_MS = 100

interface EnvironmentBuild {
  phase: 'due' | 'building' | 'ended'
  wrote: boolean
  failed: boolean
}

const publications = new Map<string, Promise<Publication>>()

export class Publication {
  /** The publication of a store; the same one for each environment of a configuration. */
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
    })
    return new Publication(folders, options, store, await Publication.workOf(store, folders.link))
  }

  /** Work starts from what outDir shows, for builds that add to it (emptyOutDir: false). */
  private static async workOf(store: BundleStore, link: string): Promise<Stage> {
    // The directory of a plain build: the first publish replaces it.
    if (!isDirectory(link)) return await store.stage({ from: 'current' })
    const work = await store.stage()
    await work.adopt(link)
    return work
  }

  private readonly environments = new Map<string, EnvironmentBuild>()
  private mode: 'watch' | 'single' | 'app' | undefined
  private logger: ResolvedConfig['logger'] | undefined
  /** Drawn when a round of builds starts, so that an older round that ends later is refused. */
  private stage: Promise<Stage> | undefined
  private publishing: Promise<void> = Promise.resolve()
  private closed = false

  private constructor(
    private readonly folders: OutFolders,
    private readonly options: CheckedOutDirOptions,
    private readonly store: BundleStore,
    private readonly work: Stage,
  ) {}

  /** Lets all environments of a configuration write into the work directory. `wrapBuilder`: this Vite has no `buildApp` hook (before 7). */
  redirect(config: ResolvedConfig, wrapBuilder: boolean): void {
    this.logger = config.logger
    this.mode ??= config.build.watch ? 'watch' : isForOneEnvironment(config) ? 'single' : 'app'
    const builds = new Set([config.build, ...Object.values(config.environments).map(({ build }) => build)])
    for (const build of builds) {
      const outDir = resolve(config.root, build.outDir)
      if (!isWithin(this.folders.link, outDir)) continue
      // What Vite would decide for the real outDir.
      build.emptyOutDir ??= isWithin(config.root, outDir)
      build.outDir = relative(config.root, join(this.work.path, relative(this.folders.link, outDir)))
    }
    const { builder } = config
    if (!wrapBuilder || !builder) return
    const buildApp = builder.buildApp
    builder.buildApp = async (app) => {
      await buildApp(app)
      await this.allStarted([...this.environments.keys()])
    }
  }

  changed(name: string): void {
    this.of(name).phase = 'due'
  }

  async started(name: string): Promise<void> {
    // Vite empties the work directory in the next step, and a watcher does not wait for the closeBundle before.
    await this.publishing
    this.environments.set(name, { phase: 'building', wrote: false, failed: false })
    this.stage ??= this.store.stage({ fenced: true })
    await this.stage.catch((error: unknown) => {
      this.stage = undefined
      throw error
    })
  }

  written(name: string): void {
    this.of(name).wrote = true
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

  /** All environments of an app were built, or with watchers: their first builds were started. */
  async allStarted(names: string[]): Promise<void> {
    if (this.closed) return
    for (const name of names) this.of(name)
    if (this.mode !== 'app') return
    await this.publishAndClose()
  }

  async close(): Promise<void> {
    if (this.closed) return
    this.closed = true
    publications.delete(this.folders.store)
    await this.publishing.catch(() => {})
    await this.dropStage()
    await this.work.discard()
    await this.store.close()
  }

  private of(name: string): EnvironmentBuild {
    let build = this.environments.get(name)
    if (!build) {
      build = { phase: 'due', wrote: false, failed: false }
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

  /** Vite does not wait for the closeBundle of a watcher: a rejection of it would end the process. The next build tries again. */
  private async publishInWatch(): Promise<void> {
    await this.publishIfWhole().catch((error: unknown) =>
      this.logger?.error(`warmswap: not published: ${messageOf(error)}`, { timestamp: true }),
    )
  }

  /** A plain build fails with its callback; a watcher goes on. */
  private async notifyPublished(): Promise<void> {
    const { onPublish } = this.options
    if (this.mode === 'watch') attempt('options.onPublish of atomicOutDir()', () => onPublish?.(this.store), onPublish)
    else await onPublish?.(this.store)
  }

  private async publishIfWhole(): Promise<void> {
    const builds = [...this.environments.values()]
    if (this.closed || builds.some(({ phase }) => phase !== 'ended')) return
    if (builds.every(({ wrote, failed }) => wrote && !failed)) {
      const publishing = this.publish()
      this.publishing = publishing.catch(() => {})
      await publishing
    } else {
      await this.dropStage()
    }
  }

  private async publish(): Promise<void> {
    const stage = await this.stage
    if (!stage) return
    this.stage = undefined
    try {
      await stage.adopt(this.work.path)
      const { changed } = await stage.publish({ ifChanged: true })
      if (changed) await this.notifyPublished()
    } catch (error) {
      if (!isWarmswapError(error) || error.code !== 'ERR_FENCED') throw error
      this.logger?.warn(`warmswap: not published: ${error.message}`)
    } finally {
      await stage.discard()
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

/** Generations are no sources: as other tools do, the folder ignores itself. */
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
