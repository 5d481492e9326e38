/**
 * Hashed files of earlier builds, for pages that were loaded before a rebuild.
 * Each generation records the files whose names contain a hash of their content. The next publish copies those that the
 * new build did not write, until `graceMs` after their own build stopped being current.
 */

import { constants } from 'node:fs'
import { copyFile, lstat, mkdir, rm } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import type { Rollup } from 'vite'
import type { Generation } from '../../bundles/index.js'
import { isSeeded } from '../../native/seeded-bugs.js'
import { isWithin } from './out-folders.js'

/** The record of a generation's hashed files, as paths in the generation. */
export interface RecordedFiles {
  /** Files that its own build wrote. */
  assets: string[]
  /** Files of earlier builds, and when each is dropped, in milliseconds since the epoch. */
  carried: Record<string, number>
}

/** The files of a bundle whose names have a hash of their content. */
export function hashedFiles(options: Rollup.NormalizedOutputOptions, bundle: Rollup.OutputBundle): string[] {
  return Object.values(bundle)
    .filter((file) => (file.type === 'chunk' ? isHashedChunk(file, options) : isHashedAsset(file, options)))
    .map(({ fileName }) => fileName)
}

function isHashedChunk(file: Rollup.OutputChunk, options: Rollup.NormalizedOutputOptions): boolean {
  const pattern = file.isEntry ? options.entryFileNames : options.chunkFileNames
  return matches(typeof pattern === 'function' ? pattern(file) : pattern, file.fileName)
}

function isHashedAsset(file: Rollup.OutputAsset, options: Rollup.NormalizedOutputOptions): boolean {
  // A file with a fixed name (index.html, a manifest) was not named by the pattern.
  if ((file.names ?? []).length === 0) return false
  const pattern = options.assetFileNames
  const asset = file as Parameters<Exclude<typeof pattern, string>>[0]
  return matches(typeof pattern === 'function' ? pattern(asset) : pattern, file.fileName)
}

const HASH = /\[hash(?::(\d+))?\]/g
const PLACEHOLDER = /(\[[^\]]+\])/

/** Whether a pattern with a hash made this name. */
function matches(pattern: unknown, fileName: string): boolean {
  if (typeof pattern !== 'string' || pattern.search(HASH) < 0) return false
  const parts = pattern
    .replace(/^\.?\//, '')
    .split(PLACEHOLDER)
    .map((part) => {
      const hash = /^\[hash(?::(\d+))?\]$/.exec(part)
      if (hash) return `[\\w-]{${hash[1] ?? '8'}}`
      if (part === '[ext]' || part === '[extname]') return '[^/]*'
      return PLACEHOLDER.test(part) ? '.+' : part.replace(/[.*+?^${}()|[\]\\]/g, '\\$&')
    })
  return new RegExp(`^${parts.join('')}$`).test(fileName)
}

/** Reads the record of a generation. A generation of another tool, or of an earlier version, has none. */
export function recordedFiles(generation: Generation): RecordedFiles {
  const meta = generation.meta as Partial<RecordedFiles> | null | undefined
  return {
    assets: Array.isArray(meta?.assets) ? meta.assets.filter((path) => typeof path === 'string') : [],
    carried: typeof meta?.carried === 'object' && meta.carried !== null ? meta.carried : {},
  }
}

/** Copies hashed files of `from` that a new build did not write into its tree. Resolves with their times. */
export async function carryFiles(from: Generation, to: string, graceMs: number): Promise<Record<string, number>> {
  const now = Date.now()
  const { assets, carried } = recordedFiles(from)
  const isDue = (until: number): boolean => until > now || (__WARMSWAP_TESTING__ && isSeeded('old-chunks-forever'))
  const due = new Map(Object.entries(carried).filter(([, until]) => isDue(until)))
  for (const path of assets) due.set(path, now + graceMs)
  const copied: Record<string, number> = {}
  for (const [path, until] of due) if (await carry(from.path, to, path)) copied[path] = until
  return copied
}

async function carry(from: string, to: string, path: string): Promise<boolean> {
  const source = join(from, path)
  const target = join(to, path)
  if (!isBelow(to, path)) return false
  try {
    if (!(await lstat(source)).isFile() || (await leadsThroughLink(to, path))) return false
    await mkdir(dirname(target), { recursive: true })
    const keeps = __WARMSWAP_TESTING__ && isSeeded('old-chunks-overwrite') ? 0 : constants.COPYFILE_EXCL
    await copyFile(source, target, keeps | constants.COPYFILE_FICLONE)
    return true
  } catch (error) {
    // EEXIST: the new build wrote it. ENOENT: a plugin of the build before removed it. ENOTDIR: a file is in place of its folder.
    if (['EEXIST', 'ENOENT', 'ENOTDIR'].includes((error as NodeJS.ErrnoException).code ?? '')) return false
    throw error
  }
}

const isBelow = (tree: string, path: string): boolean => join(tree, path) !== tree && isWithin(tree, join(tree, path))

/** Whether a folder of this path is a link in the new tree: a file below it would be written wherever the link leads. */
async function leadsThroughLink(tree: string, path: string): Promise<boolean> {
  if (__WARMSWAP_TESTING__ && isSeeded('old-chunks-through-a-link')) return false
  for (let folder = dirname(join(tree, path)); folder !== tree; folder = dirname(folder)) {
    const stat = await lstat(folder).catch(() => undefined)
    if (stat?.isSymbolicLink()) return true
  }
  return false
}

/** Removes carried-over files from a tree in which a build continues: they do not belong to the build. */
export async function removeCarried(generation: Generation, tree: string): Promise<void> {
  for (const path of Object.keys(recordedFiles(generation).carried))
    if (isBelow(tree, path) && !(await leadsThroughLink(tree, path))) await rm(join(tree, path), { force: true })
}
