/** The stores that the cases of the bundle format work on. */

import { join } from 'node:path'
import { type BundleStore, type BundleStoreOptions, openBundles } from '../bundles/index.js'

/** Files of a generation: each holds the version, so that files of two generations in one read are noticed. */
export const filesOf = (version: number): Record<string, string> => ({
  'one.txt': `${version}\n`,
  'deep/two.txt': `${version}\n${'x'.repeat(version % 7)}`,
  'deep/größe ü.txt': `${version}\n`,
})

export async function publish(store: BundleStore, version: number): Promise<number> {
  const stage = await store.stage()
  for (const [path, text] of Object.entries(filesOf(version))) await stage.write(path, text)
  await stage.write('empty', '')
  await stage.symlink('link', 'one.txt')
  return (await stage.publish()).number
}

/** Runs `task` with a store that has this many generations. Old ones are removed as `options` say. */
export async function withStore(
  folder: string,
  generations: number,
  task: (store: BundleStore, root: string) => Promise<void>,
  options: BundleStoreOptions = {},
): Promise<void> {
  const root = join(folder, 'store')
  const store = await openBundles(root, options)
  try {
    for (let version = 1; version <= generations; version += 1) await publish(store, version)
    await store.collect()
    await task(store, root)
  } finally {
    await store.close()
  }
}

export const nameOf = (number: number): string => String(number).padStart(6, '0')
