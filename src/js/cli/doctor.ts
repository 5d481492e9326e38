/** `warmswap doctor [directory]`: what holds here, and why; what is missing, and the way out. */

import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import { findAddons, packageFolder, sealOf } from '../native/addon-file.js'
import { messageOf } from '../native/callbacks.js'
import { native, unwrap } from '../native/native.js'
import { findSetAside } from './set-aside.js'

export function doctor([directory = '.']: string[]): number {
  const path = resolve(directory)
  console.log(`warmswap on ${process.platform} ${process.arch}, Node ${process.version}`)
  const sound = reportVersions()
  try {
    native()
  } catch (error) {
    console.log(`addon       missing: ${messageOf(error)}
bundles     no: needs the addon
locks       no: needs the addon
caches      no: needs the addon
state       yes: in JavaScript, each thread and each vm context for itself`)
    return 1
  }
  reportFilesystem(path)
  return sound ? 0 : 1
}

/** Compares the versions of JavaScript and addon, and the addon with what was built. */
function reportVersions(): boolean {
  const folder = packageFolder()
  const own = folder === undefined ? 'unknown' : versionIn(folder)
  const [file] = findAddons()
  console.log(`version     ${own}`)
  if (file === undefined) return true
  const seal = sealOf(file)
  const version =
    seal?.version ??
    (folder !== undefined && file.startsWith(join(folder, 'dist')) ? undefined : versionIn(dirname(file)))
  console.log(`addon       ${file}${version === undefined ? ', built here' : `, version ${version}`}`)
  if (seal !== undefined && createHash('sha256').update(readFileSync(file)).digest('hex') !== seal.sha256)
    console.log('            the file is not what was built: install it again')
  if (version === undefined || version === own) return true
  console.log(`            its version differs from that of the JavaScript, ${own}: run your package manager's install`)
  return false
}

function versionIn(folder: string): string | undefined {
  try {
    return (JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8')) as { version?: string }).version
  } catch {
    return undefined
  }
}

function reportFilesystem(path: string): void {
  const filesystem = unwrap(native().filesystemOf(path))
  const why = filesystem.trusted
    ? `flock of ${filesystem.name} excludes between all processes of this kernel`
    : `the flock of ${filesystem.name} is not on the allow list`
  console.log(`directory   ${path}
filesystem  ${filesystem.name}
bundles     ${filesystem.trusted ? 'yes' : 'no: put the store on a local filesystem and use link'} (${why})
locks       ${filesystem.trusted ? 'kernel mode: a dead holder is noticed at once' : 'lease mode: a dead holder is noticed when its lease ends'}
caches      yes: staged beside the target, committed in the way that fits its mount
state       yes: native root`)
  // Stores are on such filesystems only.
  if (filesystem.trusted) reportSetAside(path)
}

function reportSetAside(directory: string): void {
  const { trees, incomplete } = findSetAside(directory)
  for (const tree of trees)
    console.log(
      `set aside   ${tree}: the link of a store replaced this directory; remove it when you no longer need it`,
    )
  if (incomplete)
    console.log(
      'set aside   not all directories were searched: name the folder of the store to list what its link replaced',
    )
}
