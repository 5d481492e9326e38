/**
 * Whether a dependency can be given to `optimizeDeps.include`. Vite warns about a package that is missing, and does not
 * start if a package no longer exports the name (6.4 to 8.4).
 */

import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'

export function isInstalled(root: string, id: string): boolean {
  const [, name, path = ''] = /^((?:@[^/]+\/)?[^/]+)(\/.*)?$/.exec(id) ?? []
  if (name === undefined) return false
  if (process.versions.pnp !== undefined) return canRequire(root, id)
  const manifest = findManifest(root, name)
  if (manifest === undefined) return false
  return manifest.exports === undefined || manifest.exports === null || isExported(manifest.exports, `.${path}`)
}

function findManifest(root: string, name: string): { exports?: unknown } | undefined {
  for (let folder = root; ; folder = dirname(folder)) {
    try {
      return JSON.parse(readFileSync(join(folder, 'node_modules', name, 'package.json'), 'utf8'))
    } catch {
      if (folder === dirname(folder)) return undefined
    }
  }
}

function canRequire(root: string, id: string): boolean {
  try {
    createRequire(join(root, 'package.json')).resolve(id)
    return true
  } catch {
    return false
  }
}

/** Whether `exports` of a manifest has a target for this entry. */
function isExported(exports: unknown, entry: string): boolean {
  const isTable = typeof exports === 'object' && exports !== null && !Array.isArray(exports)
  if (!isTable || !Object.keys(exports).some((key) => key.startsWith('.'))) return entry === '.' && hasTarget(exports)
  const targets = Object.entries(exports).filter(([key]) => matches(key, entry))
  return targets.length > 0 && targets.every(([, target]) => hasTarget(target))
}

function matches(key: string, entry: string): boolean {
  if (key === entry) return true
  if (key.endsWith('/')) return entry.startsWith(key)
  const star = key.indexOf('*')
  return star >= 0 && entry.startsWith(key.slice(0, star)) && entry.endsWith(key.slice(star + 1))
}

function hasTarget(target: unknown): boolean {
  if (typeof target === 'string') return true
  return typeof target === 'object' && target !== null && Object.values(target).some(hasTarget)
}
