/** Paths in the checkout. */

import { existsSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'

export const repository = resolve(dirname(fileURLToPath(import.meta.url)), '../..')

/**
 * The addon with fault points and seeded bugs; `npm run build:testing` builds it. Set as NAPI_RS_NATIVE_LIBRARY_PATH.
 */
export const testingAddon = join(repository, 'build/testing/warmswap.linux-x64-gnu.node')

/** A Rust child program of __test__/programs, built with the feature `testing`. */
export function rustChild(name: string): string {
  const target = process.env.CARGO_TARGET_DIR ?? join(repository, 'target')
  const path = join(target, process.env.CARGO_BUILD_TARGET ?? '', 'debug', name)
  if (!existsSync(path)) throw new Error(`${path} is missing: run 'npm run build:testing'`)
  return path
}
