/** The README's quick start of bundles, run as it is written. */

import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { start } from '../support/children.js'
import { exampleBelow, folderWith } from '../support/readme.js'

test("the README's bundle says hello", async () => {
  const folder = folderWith(exampleBelow('## Bundles'))
  const child = start(process.execPath, ['program.mjs'], { cwd: folder })
  const ended = await child.ended
  expect(child.stderr()).toBe('')
  expect(ended.code).toBe(0)
  expect(child.lines).toEqual(['generation 1', 'hello true'])
  expect(readFileSync(join(folder, 'dist/main.mjs'), 'utf8')).toContain('greet')
})
