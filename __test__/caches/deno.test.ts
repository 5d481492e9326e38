// @module-tag system
/** deco's daemon is a program of Deno: the package works there, addon, streams and process exit. */

import { existsSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { openCache } from 'warmswap'
import { expect } from 'vitest'
import { start } from '../support/children.js'
import { repository } from '../support/paths.js'
import { test } from '../support/temp.js'
import { digest, makeTree } from '../support/trees.js'

// Not the package's own `deno`, which copies the program at its first start: npm ran no install scripts here.
const deno = join(repository, `node_modules/@deno/linux-${process.arch}-glibc/deno`)
const isThere = existsSync(deno)

// On the disk: Deno asks for all permissions below /dev.
test.skipIf(!isThere && process.env.CI === undefined)(
  `a program of Deno restores a folder, snapshots it, and ends by itself${isThere ? '' : ' (NOT RUN: npm has no Deno for this machine)'}`,
  async ({ disk }) => {
    const tree = makeTree(join(disk, 'tree'))
    const store = `file://${join(disk, 'store')}`
    expect(await openCache(store).snapshot({ key: 'site', from: tree })).toMatchObject({ outcome: 'uploaded' })
    const program = join(disk, 'program')
    mkdirSync(join(program, 'node_modules'), { recursive: true })
    symlinkSync(repository, join(program, 'node_modules/warmswap'))
    writeFileSync(join(program, 'package.json'), '{ "type": "module", "dependencies": { "warmswap": "*" } }')
    writeFileSync(join(program, 'main.mjs'), readFileSync(join(repository, '__test__/programs/caches-deno.mjs')))
    const [into, copy] = [join(disk, 'into'), join(disk, 'copy')]
    const child = start(
      deno,
      [
        'run',
        '--no-lock',
        '--node-modules-dir=manual',
        '--allow-ffi',
        '--allow-read',
        '--allow-write',
        '--allow-env',
        '--allow-sys',
        'main.mjs',
        store,
        into,
        copy,
      ],
      {
        cwd: program,
        env: { DENO_DIR: join(disk, 'deno-dir'), DENO_NO_UPDATE_CHECK: '1', NO_COLOR: '1' },
      },
    )
    expect(await child.ended, child.stderr()).toEqual({ code: 0, signal: null })
    expect(child.lines.map((line) => JSON.parse(line))).toEqual([
      { deno: expect.any(String), restore: 'restored', files: 24 },
      { snapshot: 'uploaded' },
      { unpack: 'restored' },
      { refused: 'ERR_INVALID_ARGUMENT' },
    ])
    expect(digest(copy)).toEqual(digest(into))
    expect(digest(into)).toEqual({ ...digest(tree), 'written-by-deno': expect.stringMatching(/^file/) })
  },
)
