/** Stores of bundles for tests, and what is published in them. */

import { join } from 'node:path'
import { type BundleStore, type Generation, openBundles } from 'warmswap'
import { test as base } from './temp.js'

/** Publishes a generation of these files. */
export async function publish(store: BundleStore, files: Record<string, string>): Promise<Generation> {
  await using stage = await store.stage()
  for (const [path, text] of Object.entries(files)) await stage.write(path, text)
  return await stage.publish()
}

/** With an empty store. */
export const test = base.extend<{ store: BundleStore }>({
  store: async ({ memory }, use) => {
    const store = await openBundles(join(memory, 'store'))
    await use(store)
    await store.close()
  },
})
