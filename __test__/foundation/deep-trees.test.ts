// guarantee: library/deep-trees-are-removed

import { execFileSync, spawnSync } from 'node:child_process'
import { readdirSync } from 'node:fs'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { pack } from 'warmswap'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { repository } from '../support/paths.js'
import { makeTemp } from '../support/temp.js'

const LEVELS = 20_000
const DEEPER = `
import os, sys
os.makedirs(sys.argv[1])
os.chdir(sys.argv[1])
open('file', 'w').close()
for level in range(int(sys.argv[2])):
    os.mkdir('d')
    os.chdir('d')
`

let root: string

beforeEach(async () => {
  root = makeTemp('/dev/shm')
  execFileSync('mkdir', [join(root, 'source')])
  await writeFile(join(root, 'source/a'), 'a')
  await writeFile(join(root, 'archive'), pack(join(root, 'source')))
  execFileSync('python3', ['-c', DEEPER, join(root, 'deep'), String(LEVELS)])
})

// Node's own removal ends with ENAMETOOLONG.
afterEach(() => {
  execFileSync('rm', ['-rf', root])
})

function call(kind: string): string {
  const child = spawnSync(process.execPath, [join(repository, '__test__/programs/deep-trees.mjs'), kind, root], {
    cwd: repository,
    encoding: 'utf8',
    timeout: 50_000,
  })
  expect([child.signal, child.status, child.stderr]).toEqual([null, 0, ''])
  return child.stdout.trim()
}

const ends: [kind: string, end: string | RegExp, removed: boolean][] = [
  ['unpack replace', 'restored', true],
  ['unpack merge', 'restored', false],
  ['pack', 'some bytes', false],
  ['snapshot', /uploaded|error|empty/, false],
  ['adopt by move', /^ERR_INVALID_ARGUMENT: .*path of \d+ bytes.*shorter than 4096/, false],
  ['adopt by clone', /^ERR_INVALID_ARGUMENT: .*path of \d+ bytes.*shorter than 4096/, false],
  ['discard', 'discarded', true],
  ['trash', 'opened', true],
  ['orphaned stage', /^swept [01]$/, true],
]

for (const [kind, end, removed] of ends) {
  test(`a tree of 20 000 levels ends no process: ${kind}`, () => {
    const told = call(kind)
    if (typeof end === 'string') expect(told).toBe(end)
    else expect(told).toMatch(end)
    if (removed) expect(leftovers()).toEqual([])
  })
}

/** The folders in which something of the deep tree is left. */
function leftovers(): string[] {
  const folders = ['deep', 'store/trash', 'store/stage'].map((name) => join(root, name))
  return folders.filter((folder) =>
    entries(folder).some((name) => ['d', 'old', 'orphan', 'stage-orphan'].includes(name)),
  )
}

function entries(folder: string): string[] {
  try {
    return readdirSync(folder)
  } catch {
    return []
  }
}
