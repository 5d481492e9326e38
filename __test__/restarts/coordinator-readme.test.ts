/** The README's quick start of the coordinator, run as it is written. */

import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { start } from '../support/children.js'
import { repository } from '../support/paths.js'

test("the README's coordinator says hello", async () => {
  const [, section = ''] = readFileSync(join(repository, 'README.md'), 'utf8').split('### Coordinator')
  const [, program = ''] = /```js\n([\s\S]*?)```/.exec(section) ?? []
  // Below the repository, so that 'warmswap' is found from the generation as it would be in a project.
  mkdirSync(join(repository, 'build'), { recursive: true })
  const folder = mkdtempSync(join(repository, 'build/readme-'))
  writeFileSync(join(folder, 'server.mjs'), program)
  const server = start(process.execPath, ['server.mjs'], { cwd: folder })
  try {
    expect(await server.line(/./)).toBe('hello world')
  } finally {
    server.signal('SIGKILL')
    await server.ended
    rmSync(folder, { recursive: true, force: true })
  }
})
