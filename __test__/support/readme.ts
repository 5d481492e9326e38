/** What the README shows, to be run as it is written. */

import { mkdirSync, mkdtempSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { onTestFinished } from 'vitest'
import { repository } from './paths.js'
import { removeTemp } from './temp.js'

/** The first program below a heading. */
export function exampleBelow(heading: string): string {
  const [, section = ''] = readFileSync(join(repository, 'README.md'), 'utf8').split(`\n${heading}\n`)
  const [, program = ''] = /```js\n([\s\S]*?)```/.exec(section) ?? []
  return program
}

/** A folder with `program.mjs`, inside the repository, so that 'warmswap' is this package; gone after the test. */
export function folderWith(program: string): string {
  mkdirSync(join(repository, 'build'), { recursive: true })
  const folder = mkdtempSync(join(repository, 'build/readme-'))
  onTestFinished(() => removeTemp(folder))
  writeFileSync(join(folder, 'program.mjs'), program)
  return folder
}
