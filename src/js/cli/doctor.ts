/** `warmswap doctor [directory]`: what holds here, and why. */

import { resolve } from 'node:path'
import { native, unwrap } from '../native.js'
import { findSetAside } from './set-aside.js'

export function doctor([directory = '.']: string[]): number {
  const path = resolve(directory)
  const filesystem = unwrap(native.filesystemOf(path))
  const why = filesystem.trusted ? `flock of ${filesystem.name} excludes between all processes of this kernel` : `the flock of ${filesystem.name} is not on the allow list`
  console.log(`warmswap on ${process.platform} ${process.arch}, Node ${process.version}
directory   ${path}
filesystem  ${filesystem.name}
bundles     ${filesystem.trusted ? 'yes' : 'no: put the store on a local filesystem and use link'} (${why})
locks       ${filesystem.trusted ? 'kernel mode: a dead holder is noticed at once' : 'lease mode: a dead holder is noticed when its lease ends'}
caches      yes: staged beside the target, committed in the way that fits its mount
state       yes: native root`)
  // Stores are on such filesystems only.
  if (filesystem.trusted) reportSetAside(path)
  return 0
}

function reportSetAside(directory: string): void {
  const { trees, incomplete } = findSetAside(directory)
  for (const tree of trees) console.log(`set aside   ${tree}: the link of a store replaced this directory; remove it when you no longer need it`)
  if (incomplete) console.log('set aside   not all directories were searched: name the folder of the store to list what its link replaced')
}
