/** Which store `warmswap bundles` works on. */

import { existsSync, lstatSync, readdirSync } from 'node:fs'
import { basename, join, resolve } from 'node:path'
import { type BundleStore, type BundleStoreOptions, openBundles } from '../bundles/index.js'
import { wrongArguments } from './arguments.js'

const FOLDER = '.warmswap'

/** Where the store is. A misspelt path must not make one. */
export function existingStore(given: string | undefined): string {
  const root = resolve(given ?? fromEnvironment() ?? onlyStore())
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
  return resolve(given ?? fromEnvironment() ?? join(FOLDER, basename(directory)))
}

/** A variable that a script sets to an empty text is not set. */
const fromEnvironment = (): string | undefined => process.env.WARMSWAP_BUNDLES || undefined

/**
 * The directory to publish. Checked before the store is opened: an empty store, and a link to it, would hide a misspelt path.
 */
export function directoryToPublish(given: string): string {
  // As of "$OUT" without a value: the working directory would be published.
  if (given === '') throw wrongArguments("the directory to publish is '', an empty text. Expected a directory")
  const directory = resolve(given)
  const found = lstatSync(directory, { throwIfNoEntry: false })
  if (found?.isSymbolicLink())
    throw wrongArguments(`'${directory}' is a link. Expected the directory to publish, such as "$(realpath ${given})"`)
  if (!found?.isDirectory())
    throw wrongArguments(`'${directory}' is not a directory, or does not exist. Expected the directory to publish`)
  return directory
}

const isStore = (path: string): boolean => existsSync(join(path, 'FORMAT'))

function onlyStore(): string {
  const folder = resolve(FOLDER)
  if (isStore(folder)) return folder
  const all = existsSync(folder) ? readdirSync(folder).filter((name) => isStore(join(folder, name))) : []
  // A first publish that failed, of an empty directory for example, has left a store without a generation.
  const used = all.filter((name) => generationsIn(join(folder, name)).length > 0)
  const names = used.length > 0 ? used : all
  if (names.length === 1) return join(folder, names[0] as string)
  throw wrongArguments(
    names.length === 0
      ? `--store is missing, and '${folder}' has no store. Expected the directory of a store, here or in WARMSWAP_BUNDLES`
      : `--store is missing, and '${folder}' has ${names.length} stores: ${names.sort().join(', ')}. Expected --store ${FOLDER}/${names[0]}, for example`,
  )
}
