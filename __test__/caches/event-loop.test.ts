// @module-tag storm
/**
 * caches/event-loop-stays-free: the event loop and libuv's threads are free while a tree of more than 25 000 files is packed and restored. In a
 * process of its own: what vitest does would be measured too.
 */

import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect } from 'vitest'
import { start } from '../support/children.js'
import { repository } from '../support/paths.js'
import { test } from '../support/temp.js'

const program = join(repository, '__test__/programs/caches-event-loop.mjs')
const FILES = 26_000
/** 20 ms by the invariant, ten times that on a machine under load; bench/RESULTS.md has the figure. */
const LATEST_MS = 200

interface Observed {
  outcome: string
  files: number
  statMs: number
  wasRunning: boolean
  p99: number
  max: number
}

async function observe(...args: string[]): Promise<{ snapshot: Observed; restore: Observed }> {
  const child = start(process.execPath, [program, ...args])
  const line = await child.line(/^\{/)
  await child.ended
  return JSON.parse(line) as { snapshot: Observed; restore: Observed }
}

function manyFiles(root: string): string {
  for (let index = 0; index < FILES; index += 1) {
    const directory = join(root, `${index % 130}`)
    if (index < 130) mkdirSync(directory, { recursive: true })
    writeFileSync(join(directory, `${index}.js`), `export default ${index} // ${'x'.repeat(index % 4000)}\n`)
  }
  return root
}

describe('caches/event-loop-stays-free: during a snapshot and a restore of 26 000 files', () => {
  test('the event loop is never late and four concurrent fs.stat calls finish; a blocked loop is detected', {
    timeout: 180_000,
  }, async ({ memory }) => {
    const tree = manyFiles(join(memory, 'tree'))
    const observed = await observe(tree, join(memory, 'into'))
    console.log(observed)
    expect(observed).toMatchObject({
      snapshot: { outcome: 'uploaded', files: FILES, wasRunning: true },
      restore: { outcome: 'restored', files: FILES, wasRunning: true },
    })
    for (const { p99, max, statMs } of Object.values(observed))
      expect(
        [p99, max, statMs].map((ms) => ms < LATEST_MS),
        `p99 ${p99}, max ${max}, stat ${statMs} ms`,
      ).toEqual([true, true, true])
    const held = await observe(tree, join(memory, 'again'), 'block')
    expect(held.restore.max, 'the control').toBeGreaterThan(500)
  })
})
