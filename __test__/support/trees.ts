/** Trees to pack, and their digests: everything that a restore must reproduce. */

import { createHash } from 'node:crypto'
import {
  chmodSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { join, relative } from 'node:path'

/**
 * A small tree with the usual features: depth, an executable, a link, an empty directory, unusual names, one larger
 * file.
 */
export function makeTree(root: string, files = 20): string {
  mkdirSync(join(root, 'deep/er/est'), { recursive: true })
  mkdirSync(join(root, 'empty'))
  for (let index = 0; index < files; index += 1)
    writeFileSync(join(root, 'deep/er', `${index}.js`), `export default ${index} // ${'x'.repeat(index * 37)}\n`)
  writeFileSync(join(root, 'a.js'), 'a')
  writeFileSync(join(root, 'nothing'), '')
  writeFileSync(join(root, 'größe und mehr'), 'ü')
  writeFileSync(join(root, 'run.sh'), '#!/bin/sh\n')
  chmodSync(join(root, 'run.sh'), 0o755)
  symlinkSync('er/1.js', join(root, 'deep/link'))
  return root
}

/** Incompressible bytes that are the same in every run. */
export function noise(bytes: number, seed = 1): Buffer {
  const out = Buffer.alloc(bytes)
  let state = seed >>> 0 || 1
  for (let at = 0; at < bytes; at += 4) {
    state ^= state << 13
    state ^= state >>> 17
    state ^= state << 5
    out.writeInt32LE(state | 0, Math.min(at, bytes - 4))
  }
  return out
}

/** Path → kind, permission bits and content, of all entries below `root` that are not warmswap's own. */
export function digest(root: string): Record<string, string> {
  const found: Record<string, string> = {}
  const walk = (directory: string): void => {
    for (const name of readdirSync(directory).sort()) {
      if (name.startsWith('.warmswap-')) continue
      const path = join(directory, name)
      const stat = lstatSync(path)
      const mode = (stat.mode & 0o777).toString(8)
      const key = relative(root, path)
      if (stat.isSymbolicLink()) found[key] = `link ${readlinkSync(path)}`
      else if (stat.isDirectory()) {
        found[key] = `directory ${mode}`
        walk(path)
      } else found[key] = `file ${mode} ${createHash('sha256').update(readFileSync(path)).digest('hex')}`
    }
  }
  walk(root)
  return found
}
