/** Finds stores of bundles, and the directories that their links replaced: only their owner removes them. */

import { type Dirent, readFileSync, readdirSync } from 'node:fs'
import { join } from 'node:path'

const MAX_DEPTH = 4
const MAX_DIRECTORIES = 5_000
/** Large, and no place for a store. */
const SKIPPED = new Set(['node_modules', '.git'])

export interface SetAside {
  stores: string[]
  trees: string[]
  /** Whether the search ended early. */
  incomplete: boolean
}

/** Looks for stores in a directory and up to four levels below it. Follows no link. */
export function findSetAside(directory: string): SetAside {
  const stores: string[] = []
  const trees: string[] = []
  let level = [directory]
  let seen = 0
  for (let depth = 0; depth <= MAX_DEPTH; depth += 1) {
    const next: string[] = []
    for (const folder of level) {
      if (++seen > MAX_DIRECTORIES) return { stores, trees, incomplete: true }
      const entries = list(folder)
      if (isStore(folder, entries)) {
        stores.push(folder)
        trees.push(...list(join(folder, 'set-aside')).map(({ name }) => join(folder, 'set-aside', name)))
      } else
        next.push(
          ...entries
            .filter((entry) => entry.isDirectory() && !SKIPPED.has(entry.name))
            .map(({ name }) => join(folder, name)),
        )
    }
    level = next
  }
  return { stores: stores.sort(), trees: trees.sort(), incomplete: false }
}

function list(folder: string): Dirent[] {
  try {
    return readdirSync(folder, { withFileTypes: true })
  } catch {
    // Another user's, or removed since its parent was read.
    return []
  }
}

function isStore(folder: string, entries: Dirent[]): boolean {
  if (!entries.some((entry) => entry.name === 'FORMAT' && entry.isFile())) return false
  try {
    return readFileSync(join(folder, 'FORMAT'), 'utf8').startsWith('warmswap bundles ')
  } catch {
    return false
  }
}
