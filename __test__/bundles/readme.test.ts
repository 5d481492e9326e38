/** The first program of docs/guide/bundles.md, run as it is written. */

import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { start } from '../support/children.js'
import { blockBelow, folderWith } from '../support/docs.js'

test("the program of the guide publishes a bundle and imports it", async () => {
  const folder = folderWith(blockBelow('docs/guide/bundles.md', 'Publish a build and read it'))
  const child = start(process.execPath, ['program.mjs'], { cwd: folder })
  const ended = await child.ended
  expect(child.stderr()).toBe('')
  expect(ended.code).toBe(0)
  expect(child.lines).toEqual(['generation 1', 'hello true'])
  expect(readFileSync(join(folder, 'dist/main.mjs'), 'utf8')).toContain('greet')
})
