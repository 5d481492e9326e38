/** The README's quick start of the coordinator, run as it is written. */

import { test } from 'warmswap/vitest'
import { exampleBelow, folderWith } from '../support/readme.js'

test("the README's coordinator says hello", async ({ race }) => {
  const cwd = folderWith(exampleBelow('### Coordinator'))
  await race.start({ command: [process.execPath, 'program.mjs'], cwd, ready: { line: /^hello world$/ } })
})
