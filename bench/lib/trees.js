// Real node_modules trees, installed once from committed package.json and lock files.
import { join } from 'node:path'
import { root } from '../../scripts/lib/process.js'
import { ensureInstalled } from '../../scripts/lib/setup.js'

/** The path of a real node_modules: 'small' (8 000 files), 'medium' (more than 25 000) or 'large' (70 000). */
export function tree(size = 'medium') {
  const directory = join(root, 'bench/trees', size)
  ensureInstalled(directory)
  return join(directory, 'node_modules')
}
