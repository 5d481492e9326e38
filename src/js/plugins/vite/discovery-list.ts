/**
 * The names of dependencies that were discovered late. The list survives the deletion of node_modules.
 *
 * Each name is an empty file, `<folder>/<environment>/<name>`, both encoded as in a URL. Creating and removing a file
 * is atomic, so any number of dev servers can change the list concurrently without a lock and without the addon.
 */

import { existsSync, lstatSync, mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

/** Names of files have at most 255 bytes. */
const MOST_BYTES = 255

export class DiscoveryList {
  readonly folder: string
  /** The folder that gets a `.gitignore`. Undefined if the user has chosen the place. */
  readonly #hidden: string | undefined

  constructor(folder: string, hidden?: string) {
    this.folder = folder
    this.#hidden = hidden
  }

  /** The names of one environment, sorted. Files that are not of the list are left out. */
  read(environment: string): string[] {
    const folder = this.#folderOf(environment)
    if (!existsSync(folder)) return []
    return readdirSync(folder, { withFileTypes: true })
      .filter((entry) => entry.isFile())
      .flatMap(({ name }) => decoded(name) ?? [])
      .sort()
  }

  add(environment: string, names: readonly string[]): void {
    const files = names.map(encodeURIComponent).filter((file) => decoded(file) !== undefined)
    if (files.length === 0) return
    const folder = this.#folderOf(environment)
    mkdirSync(folder, { recursive: true })
    if (this.#hidden !== undefined) create(join(this.#hidden, '.gitignore'), '*\n')
    for (const file of files) create(join(folder, file), '')
  }

  remove(environment: string, names: readonly string[]): void {
    for (const name of names) {
      const path = join(this.#folderOf(environment), encodeURIComponent(name))
      // A file with contents is not of this list.
      const found = lstatSync(path, { throwIfNoEntry: false })
      if (found?.isFile() && found.size === 0) rmSync(path, { force: true })
    }
  }

  #folderOf(environment: string): string {
    return join(this.folder, encodeURIComponent(environment))
  }
}

/** Creates a file unless there is one. */
function create(path: string, text: string): void {
  try {
    writeFileSync(path, text, { flag: 'wx' })
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error
  }
}

/**
 * Decodes the name of a file of the list. Names with glob characters are skipped, because Vite would read them as
 * patterns.
 */
function decoded(file: string): string | undefined {
  if (file.startsWith('.') || file.length > MOST_BYTES) return undefined
  try {
    const name = decodeURIComponent(file)
    return encodeURIComponent(name) === file && !/[*?[\]{}()!|\\]/.test(name) ? name : undefined
  } catch {
    return undefined
  }
}
