/** Stores of bundles for tests, and the files that are published in them. */

import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { expect } from 'vitest'
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

/** Checks that the current generation is unchanged, and that nothing else is left. */
export async function expectUntouched(store: BundleStore, number: number): Promise<void> {
  expect(store.current()?.number).toBe(number)
  expect(await store.verify()).toEqual({ ok: true, problems: [] })
  await store.collect()
  for (const folder of ['owners', 'stage', 'trash']) expect(readdirSync(join(store.root, folder)), folder).toEqual([])
}
