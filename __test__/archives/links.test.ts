/** Links at the paths that the caller of pack() and unpack() gives are followed, and never to a home directory. */

// guarantee: archives/path-is-followed-once

import { lstatSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect } from 'vitest'
import { pack, unpack } from 'warmswap'
import { test } from '../support/temp.js'
import { digest, makeTree } from '../support/trees.js'

test('pack and unpack follow a link as tree and as target, and keep the link', async ({ memory }) => {
  const [tree, real] = [makeTree(join(memory, 'tree')), join(memory, 'real')]
  mkdirSync(real)
  symlinkSync('tree', join(memory, 'from'))
  symlinkSync('real', join(memory, 'into'))
  symlinkSync('into', join(memory, 'twice'))
  expect(await unpack(pack(join(memory, 'from')), join(memory, 'into'))).toMatchObject({
    outcome: 'restored',
    commit: 'rename',
  })
  expect(digest(real)).toEqual(digest(tree))
  expect(await unpack(pack(join(memory, 'from')), join(memory, 'twice'), { mode: 'replace' })).toMatchObject({
    outcome: 'restored',
    commit: 'exchange',
  })
  for (const link of ['into', 'twice']) expect(lstatSync(join(memory, link)).isSymbolicLink()).toBe(true)
})

test('a link to the home directory is refused as a target', async ({ memory }) => {
  const home = process.env.HOME
  const tree = makeTree(join(memory, 'tree'))
  mkdirSync(join(memory, 'home/me'), { recursive: true })
  writeFileSync(join(memory, 'home/me/kept'), 'kept')
  symlinkSync('home/me', join(memory, 'mine'))
  symlinkSync('home', join(memory, 'all'))
  process.env.HOME = join(memory, 'home/me')
  try {
    for (const link of ['mine', 'all'])
      await expect(unpack(pack(tree), join(memory, link), { mode: 'replace' })).rejects.toMatchObject({
        code: 'ERR_INVALID_ARGUMENT',
      })
  } finally {
    process.env.HOME = home
  }
  expect(readFileSync(join(memory, 'home/me/kept'), 'utf8')).toBe('kept')
})
