/** Where the output of a configuration goes: one folder for all its environments, or several separate ones. */

import { dirname, isAbsolute, join, relative, resolve, sep } from 'node:path'
import type { UserConfig } from 'vite'
import { invalidArgument } from '../../native/errors.js'

/** Absolute paths. */
export interface OutFolders {
  /** Vite's root. */
  root: string
  /** A folder that holds outDirs of environments; it becomes a link. */
  link: string
  /** The store of its generations. */
  store: string
}

interface OutDir {
  /** The name of the environment. */
  name: string
  path: string
}

/**
 * The folders of a configuration, as its last `config` hook sees it. An environment that builds into `node_modules`
 * produces input for another environment (RedwoodSDK's `ssr`). Its output is not read later, and it is not published.
 */
export function outFolders(config: UserConfig, storeRoot: string | undefined): OutFolders[] {
  const root = resolve(config.root ?? process.cwd())
  const dirs = outDirs(config)
    .map(({ name, outDir }) => ({ name, path: resolve(root, outDir) }))
    .filter(({ path }) => !path.split(sep).includes('node_modules') || root.split(sep).includes('node_modules'))
  for (const dir of dirs) checkOutDir(dir, root, sources(config, root))
  const links = groups(dirs, root)
  return links.map((link) => {
    const name = relative(root, link)
      .replace(/[^\w.-]+/g, '-')
      .replace(/^[.-]+/, '')
    const store = storeRoot === undefined ? join(root, '.warmswap', name) : resolve(root, storeRoot)
    return { root, link, store: storeRoot !== undefined && links.length > 1 ? join(store, name) : store }
  })
}

/** Whether `path` is `folder` or below it. */
export function isWithin(folder: string, path: string): boolean {
  const way = relative(folder, path)
  return way === '' || (!isAbsolute(way) && way !== '..' && !way.startsWith(`..${sep}`))
}

function outDirs({ build, builder, environments = {} }: UserConfig): { name: string; outDir: string }[] {
  const shared = build?.outDir ?? 'dist'
  // Without `builder` Vite builds one environment, whatever else is configured.
  const built = builder ? Object.keys({ client: true, ...environments }) : [build?.ssr ? 'ssr' : 'client']
  return built.map((name) => ({ name, outDir: environments[name]?.build?.outDir ?? shared }))
}

/** Sources that the plugin must never move, with a description of each. */
function sources(config: UserConfig, root: string): Map<string, string> {
  const found = new Map([[root, 'the root of the project']])
  if (config.publicDir !== false) found.set(resolve(root, config.publicDir || 'public'), 'publicDir')
  for (const environment of [config, ...Object.values(config.environments ?? {})]) {
    const options = environment.build as { rollupOptions?: { input?: unknown }; rolldownOptions?: { input?: unknown } }
    for (const input of [options?.rollupOptions?.input, options?.rolldownOptions?.input].flatMap((given) =>
      typeof given === 'object' && given !== null ? Object.values(given) : [given],
    ))
      if (typeof input === 'string' && /^[./]/.test(input)) found.set(resolve(root, input), `the input '${input}'`)
  }
  return found
}

function checkOutDir({ name, path }: OutDir, root: string, found: Map<string, string>): void {
  for (const [source, what] of found) {
    if (!isWithin(path, source)) continue
    throw invalidArgument(
      `build.outDir of the environment '${name}'`,
      relative(root, path) || '.',
      `a folder without sources, because atomicOutDir() replaces it by a link, and this one holds ${what}. Set environments.${name}.build.outDir to a folder of its own, such as 'dist/${name}'`,
    )
  }
}

/** One folder, if there is one below the root that holds all outDirs; otherwise one for each group of outDirs. */
function groups(dirs: OutDir[], root: string): string[] {
  const paths = dirs.map(({ path }) => path)
  if (paths.length === 0) return []
  const common = paths.reduce(commonFolder)
  if (!isWithin(common, root)) return [common]
  const byFolder = new Map<string, string>()
  for (const path of paths) {
    const key = isWithin(root, path) ? (relative(root, path).split(sep)[0] ?? '') : path
    byFolder.set(key, commonFolder(byFolder.get(key) ?? path, path))
  }
  const folders = [...byFolder.values()]
  return folders.filter((folder) => !folders.some((other) => other !== folder && isWithin(other, folder)))
}

function commonFolder(one: string, other: string): string {
  return isWithin(one, other) ? one : commonFolder(dirname(one), other)
}
