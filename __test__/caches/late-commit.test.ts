// @module-tag system
/**
 * archives/no-late-commit: end to end, a worker that was held just before its commit (a disk that stalled) wakes after the call has settled. It
 * must not change the target. The seeded bug 'commit-after-deadline' does, and is seen here.
 */

import { execFileSync } from 'node:child_process'
import { closeSync, constants, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { openCache } from 'warmswap'
import { describe, expect } from 'vitest'
import { start } from '../support/children.js'
import { repository } from '../support/paths.js'
import { test } from '../support/temp.js'
import { digest, makeTree } from '../support/trees.js'

const program = join(repository, '__test__/programs/caches-store.js')

/** A store with a generation, and a target that holds something else. */
async function prepare(memory: string): Promise<{ store: string; target: string }> {
  const store = `file://${join(memory, 'store')}`
  const target = join(memory, 'there/target')
  await openCache(store).snapshot({ key: 'site', from: makeTree(join(memory, 'tree'), 40) })
  reset(target)
  return { store, target }
}

function reset(target: string): void {
  // With the tree manifest next to it.
  rmSync(dirname(target), { recursive: true, force: true })
  writeFileSync(join(makeTree(target), 'old'), 'old')
}

/** Which listing of the target is the commit's look at it: the last one before the exchange. */
async function lookBeforeCommit(memory: string, store: string, target: string): Promise<number> {
  const log = join(memory, 'log')
  const child = start(process.execPath, [program, 'late-restore', store, target], {
    testing: true,
    env: { DEADLINE_MS: '60000', WARMSWAP_FAULT_LOG: log },
  })
  await child.line(/^restored$/)
  await child.ended
  const lines = readFileSync(log, 'utf8').split('\n')
  const commit = lines.findIndex((line) => / renameat2 .*\/target$/.test(line))
  expect(commit).toBeGreaterThan(0)
  const looks = lines.slice(0, commit).filter((line) => / getdents .*\/target$/.test(line)).length
  expect(looks).toBeGreaterThan(0)
  return looks
}

/** The target's content after a restore that was held over its deadline. */
async function restoreLate(memory: string, mutant: string): Promise<{ before: object; after: object }> {
  const { store, target } = await prepare(memory)
  const look = await lookBeforeCommit(memory, store, target)
  reset(target)
  const before = digest(target)
  const fifo = join(memory, 'fifo')
  execFileSync('mkfifo', [fifo])
  const child = start(process.execPath, [program, 'late-restore', store, target], {
    testing: true,
    env: {
      DEADLINE_MS: '3000',
      WARMSWAP_FAULT: `${look}:HOLD:getdents:/target`,
      WARMSWAP_FAULT_FIFO: fifo,
      WARMSWAP_MUTANT: mutant,
    },
  })
  await child.line(/^timeout$/)
  // Resumes the worker. ENXIO if it was never held.
  closeSync(openSync(fifo, constants.O_WRONLY | constants.O_NONBLOCK))
  await child.line(/^the worker has ended$/)
  expect(await child.ended).toEqual({ code: 0, signal: null })
  return { before, after: digest(target) }
}

describe('archives/no-late-commit: a worker that wakes after the deadline', () => {
  test('does not change the target', async ({ memory }) => {
    const { before, after } = await restoreLate(memory, '')
    expect(after).toEqual(before)
  })

  test('seeded bug commit-after-deadline: the target is changed after the call has settled', async ({ memory }) => {
    const { before, after } = await restoreLate(memory, 'commit-after-deadline')
    expect(after).not.toEqual(before)
  })
})
