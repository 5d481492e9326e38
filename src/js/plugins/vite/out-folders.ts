/** Where the output of a configuration goes: one folder for all its environments. */

import { dirname, isAbsolute, join, relative, resolve, sep } from 'node:path'
import type { UserConfig } from 'vite'
import { invalidArgument } from '../../native/errors.js'

/** Absolute paths. */
export interface OutFolders {
  /** Vite's root. */
  root: string
  /** The folder that holds the outDirs of all environments; it becomes a link. */
  link: string
  /** The store of its generations. */
  store: string
}

/** The folders of a configuration, as its last `config` hook sees it. */
export function outFolders(config: UserConfig, storeRoot: string | undefined): OutFolders {
  const root = resolve(config.root ?? process.cwd())
  const link = outDirs(config)
    .map((outDir) => resolve(root, outDir))
    .reduce(commonFolder)
  if (isWithin(link, root))
    throw invalidArgument(
      'build.outDir',
      relative(root, link) || '.',
      'one folder below the root that holds the outDirs of all environments, such as dist/client and dist/server: atomicOutDir() publishes them together',
    )
  const name = relative(root, link)
    .replace(/[^\w.-]+/g, '-')
    .replace(/^[.-]+/, '')
  return { root, link, store: storeRoot === undefined ? join(root, '.warmswap', name) : resolve(root, storeRoot) }
}

/** Whether `path` is `folder` or below it. */
export function isWithin(folder: string, path: string): boolean {
  const way = relative(folder, path)
  return way === '' || (!isAbsolute(way) && way !== '..' && !way.startsWith(`..${sep}`))
}

function outDirs({ build, builder, environments = {} }: UserConfig): string[] {
  const shared = build?.outDir ?? 'dist'
  // Without `builder` Vite builds one environment, whatever else is configured.
  const built = builder ? Object.keys({ client: true, ...environments }) : [build?.ssr ? 'ssr' : 'client']
  return built.map((name) => environments[name]?.build?.outDir ?? shared)
}

function commonFolder(one: string, other: string): string {
  return isWithin(one, other) ? one : commonFolder(dirname(one), other)
}
