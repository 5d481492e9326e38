/**
 * `warmswap/esbuild`: publishes the output of a build as one generation, or not at all.
 * esbuild itself overwrites files that are being read, deletes all earlier outputs when a rebuild fails or is cancelled
 * (`rebuildImpl` in its pkg/api/api_impl.go), and lets a second `rebuild()` join a running one.
 */

import { dirname, relative, resolve } from 'node:path'
import type { BuildResult, OutputFile, Plugin, PluginBuild } from 'esbuild'
import type { BundleStore, Stage } from '../../bundles/index.js'
import { attempt } from '../../native/callbacks.js'
import { invalidArgument, isWarmswapError, WarmswapError } from '../../native/errors.js'
import { isSeeded } from '../../native/seeded-bugs.js'
import { callback, options as checkedOptions, string } from '../../native/validate.js'

/** Options of {@link atomicOutdir}. */
export interface AtomicOutdirOptions {
  /** The store to publish into. Open it with `link` so that the outdir leads to the current generation. */
  store: BundleStore
  /** Paths relative to the outdir that must exist, otherwise nothing is published. */
  require?: string[]
  /** JSON value to publish as the generation's `meta`. */
  meta?(result: BuildResult): unknown
}

/**
 * Publishes each successful build into `store`. `write: false` is set inside; a failed or cancelled build publishes
 * nothing and deletes nothing. A build that started before one that is already published is refused: its result is
 * dropped with a warning.
 *
 * @param options The store, and what a build must contain.
 * @example
 * const store = await openBundles(resolve('.warmswap/api'), { link: resolve('dist') })
 * const context = await esbuild.context({ entryPoints: ['api.ts'], outdir: 'dist', bundle: true, plugins: [atomicOutdir({ store })] })
 * await context.watch()
 */
export function atomicOutdir(options: AtomicOutdirOptions): Plugin {
  checkedOptions('options', options, ['store', 'require', 'meta'])
  const { store, require = [], meta } = options ?? {}
  if (typeof store?.stage !== 'function') throw invalidArgument('options.store', store, 'a store of openBundles()')
  if (!Array.isArray(require)) throw invalidArgument('options.require', require, 'an array of relative paths')
  require.forEach((path, index) => string(`options.require[${index}]`, path))
  if (meta !== undefined) callback('options.meta', meta)
  return { name: 'warmswap:atomic-outdir', setup: (build) => setup(build, store, { require, meta }) }
}

function setup(
  build: PluginBuild,
  store: BundleStore,
  { require, meta }: { require: string[]; meta: AtomicOutdirOptions['meta'] },
): void {
  const base = outputFolder(build)
  build.initialOptions.write = false
  let stage: Stage | undefined
  const drop = async (): Promise<void> => {
    const unused = stage
    stage = undefined
    await unused?.discard()
  }

  // The fence is taken when the build starts, not when it ends: an older build must not win because it is slower.
  build.onStart(async () => {
    await drop()
    if (!(__WARMSWAP_TESTING__ && isSeeded('fence-at-end'))) stage = await store.stage({ fenced: true })
  })
  build.onEnd(async (result) => {
    if (__WARMSWAP_TESTING__ && isSeeded('fence-at-end')) stage = await store.stage({ fenced: true })
    const current = stage
    if (current === undefined) return
    try {
      if (result.errors.length > 0) return
      await fill(current, result.outputFiles ?? [], base)
      await current.publish({ require, ...(meta && { meta: meta(result) }) })
    } catch (error) {
      if (isWarmswapError(error) && error.code === 'ERR_FENCED')
        return { warnings: [{ text: `not published: ${error.message}`, detail: error }] }
      throw error
    } finally {
      await drop()
    }
    return
  })
  build.onDispose(() => attempt('the clean-up of atomicOutdir()', drop))
}

function outputFolder({ initialOptions }: PluginBuild): string {
  const { outdir, outfile, absWorkingDir = process.cwd() } = initialOptions
  if (outdir !== undefined) return resolve(absWorkingDir, outdir)
  if (outfile !== undefined) return dirname(resolve(absWorkingDir, outfile))
  throw new WarmswapError(
    'ERR_INVALID_ARGUMENT',
    "atomicOutdir() needs esbuild's outdir or outfile: paths in the generation are relative to it",
  )
}

const HASHBANG = [0x23, 0x21]

async function fill(stage: Stage, files: OutputFile[], base: string): Promise<void> {
  // When esbuild writes files itself, it makes those that start with '#!' executable. `outputFiles` does not say so.
  const isProgram = ({ contents }: OutputFile): boolean => HASHBANG.every((byte, index) => contents[index] === byte)
  await stage.writeAll(
    files.filter((file) => !isProgram(file)),
    base,
  )
  for (const file of files.filter(isProgram))
    await stage.write(relative(base, file.path), file.contents, { mode: 0o755 })
}
