/** Finds stores of bundles, their links, and the directories that the links replaced: only their owner removes them. */

import { type Dirent, existsSync, readdirSync, readFileSync, readlinkSync, realpathSync } from 'node:fs'
import { basename, dirname, join, resolve } from 'node:path'

const MAX_DEPTH = 4
const MAX_DIRECTORIES = 5_000
/** Large, and no place for a store. */
const SKIPPED = new Set(['node_modules', '.git'])

export interface SetAside {
  stores: string[]
  /** Links such as `dist` that lead to what a store shows. A broken one leads to a store that has nothing published. */
  links: { path: string; store: string; isBroken: boolean }[]
  trees: string[]
  /** Whether the search ended early. */
  incomplete: boolean
}

/** Searches stores in a directory and up to four levels below it. Follows no link. */
export function findSetAside(directory: string): SetAside {
  const stores: string[] = []
  const trees: string[] = []
  const symlinks: string[] = []
  const found = (incomplete: boolean): SetAside => ({
    stores: stores.sort(),
    links: linksTo(stores, symlinks.sort()),
    trees: trees.sort(),
    incomplete,
  })
  let level = [directory]
  let seen = 0
  for (let depth = 0; depth <= MAX_DEPTH; depth += 1) {
    const next: string[] = []
    for (const folder of level) {
      if (++seen > MAX_DIRECTORIES) return found(true)
      const entries = list(folder)
      if (isStore(folder, entries)) {
        stores.push(folder)
        trees.push(...list(join(folder, 'set-aside')).map(({ name }) => join(folder, 'set-aside', name)))
        continue
      }
      for (const entry of entries) {
        if (entry.isSymbolicLink()) symlinks.push(join(folder, entry.name))
        else if (entry.isDirectory() && !SKIPPED.has(entry.name)) next.push(join(folder, entry.name))
      }
    }
    level = next
  }
  return found(false)
}

function linksTo(stores: string[], symlinks: string[]): SetAside['links'] {
  const byPath = new Map(stores.map((store) => [realPath(store), store]))
  return symlinks.flatMap((path) => {
    const shown = shownBy(path)
    const store = shown === null ? undefined : byPath.get(shown)
    return store === undefined ? [] : [{ path, store, isBroken: !existsSync(path) }]
  })
}

/** The directory whose `view` the link leads to, or whose `current` as a link of older versions does. */
function shownBy(link: string): string | null {
  try {
    const target = resolve(dirname(link), readlinkSync(link))
    return ['view', 'current'].includes(basename(target)) ? realPath(dirname(target)) : null
  } catch {
    // Removed since its directory was read.
    return null
  }
}

/** Null for a path that does not exist, which no store has. */
function realPath(path: string): string | null {
  try {
    return realpathSync(path)
  } catch {
    return null
  }
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
