/** Which store `warmswap bundles` works on. */

import { existsSync, readdirSync } from 'node:fs'
import { basename, join, resolve } from 'node:path'
import { type BundleStore, type BundleStoreOptions, openBundles } from '../bundles/index.js'
import { wrongArguments } from './arguments.js'

const FOLDER = '.warmswap'

/** Where the store is. A misspelt path must not make one. */
export function existingStore(given: string | undefined): string {
  const root = resolve(given ?? process.env.WARMSWAP_BUNDLES ?? onlyStore())
  if (!isStore(root)) throw wrongArguments(`'${root}' is not a store of bundles, or does not exist`)
  return root
}

/** Opens a store that exists. */
export async function openExisting(given: string | undefined, options: BundleStoreOptions): Promise<BundleStore> {
  return await openBundles(existingStore(given), options)
}

/** The generations that exist, without an open, which collects. */
export function generationsIn(root: string): number[] {
  return readdirSync(join(root, 'gens'))
    .filter((name) => /^\d{6,}$/.test(name))
    .map(Number)
}

/** Where `publish` has its store. */
export function storeFor(given: string | undefined, directory: string): string {
  return resolve(given ?? process.env.WARMSWAP_BUNDLES ?? join(FOLDER, basename(directory)))
}

const isStore = (path: string): boolean => existsSync(join(path, 'FORMAT'))

function onlyStore(): string {
  const folder = resolve(FOLDER)
  if (isStore(folder)) return folder
  const names = existsSync(folder) ? readdirSync(folder).filter((name) => isStore(join(folder, name))) : []
  if (names.length === 1) return join(folder, names[0] as string)
  throw wrongArguments(
    names.length === 0
      ? `--store is missing, and '${folder}' has no store. Expected the directory of a store, here or in WARMSWAP_BUNDLES`
      : `--store is missing, and '${folder}' has ${names.length} stores: ${names.sort().join(', ')}. Expected --store ${FOLDER}/${names[0]}, for example`,
  )
}
