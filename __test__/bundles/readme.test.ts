/** The README's quick start of bundles, run as it is written. */

import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { start } from '../support/children.js'
import { repository } from '../support/paths.js'

test("the README's bundle says hello", async () => {
  const [, section = ''] = readFileSync(join(repository, 'README.md'), 'utf8').split('## Bundles')
  const [, program = ''] = /```js\n([\s\S]*?)```/.exec(section) ?? []
  // Below the repository, so that 'warmswap' is found as it would be in a project.
  mkdirSync(join(repository, 'build'), { recursive: true })
  const folder = mkdtempSync(join(repository, 'build/readme-'))
  writeFileSync(join(folder, 'program.mjs'), program)
  const child = start(process.execPath, ['program.mjs'], { cwd: folder })
  const ended = await child.ended
  expect(child.stderr()).toBe('')
  expect(ended.code).toBe(0)
  expect(child.lines).toEqual(['generation 1', 'hello true'])
  expect(readFileSync(join(folder, 'dist/main.mjs'), 'utf8')).toContain('greet')
  rmSync(folder, { recursive: true, force: true })
})
