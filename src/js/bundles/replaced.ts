/** Directories at the path of `link`: those that a link replaced, and those that replace a link. */

import { existsSync, lstatSync } from 'node:fs'
import { join } from 'node:path'
import type { NativeBundles } from '../native/binding.cjs'
import { native, unwrap } from '../native/native.js'
import { DEFAULT_TIMEOUT_MS } from './wait.js'

/** Warns about each directory that the link replaced since the last call, which is never removed, and about maxBytes. */
export function reportSetAside(bundles: NativeBundles): void {
  reportExcess(bundles)
  for (const path of bundles.setAside()) {
    process.emitWarning(
      `the link of a store replaced a directory with files. It is kept at '${path}': remove it when you no longer need it ('npx warmswap doctor' lists such directories)`,
      { type: 'WarmswapWarning', code: 'WARMSWAP_SET_ASIDE' },
    )
  }
}

/** Warns if pinned generations alone exceed the bound of the store, once until they fit again. */
export function reportExcess(bundles: NativeBundles): void {
  const excess = bundles.excessBytes()
  if (excess === null || excess === undefined) return
  process.emitWarning(
    `the store '${bundles.root}' has ${excess.bytes} bytes in its current and pinned generations, more than maxBytes (${excess.maxBytes}). None of them is removed. Release pins ('npx warmswap bundles pins' lists them), or raise maxBytes`,
    { type: 'WarmswapWarning', code: 'WARMSWAP_MAX_BYTES' },
  )
}

/** Whether the path is a directory and not a symbolic link. */
export function isDirectory(path: string): boolean {
  return lstatSync(path, { throwIfNoEntry: false })?.isDirectory() === true
}

/**
 * Turns `link` into a real directory with the same files, for a tool that builds into it without a store. The next
 * publish with this link replaces the directory. Does nothing if `root` is not a store, or if `link` already is a
 * directory.
 */
export async function giveDirectory(root: string, link: string): Promise<void> {
  if (isDirectory(link) || !existsSync(join(root, 'FORMAT'))) return
  const bundles = unwrap(await native().openBundles(root, { durability: 'process', adopt: false }, DEFAULT_TIMEOUT_MS))
  try {
    unwrap(await bundles.giveDirectory(link, DEFAULT_TIMEOUT_MS))
  } finally {
    reportSetAside(bundles)
    unwrap(await bundles.settled())
  }
}
