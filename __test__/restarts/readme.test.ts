/** The first program of docs/guide/restarts.md, run as it is written. */

import { test } from 'warmswap/vitest'
import { blockBelow, folderWith } from '../support/docs.js'

test("the program of the guide answers a request", async ({ race }) => {
  const cwd = folderWith(blockBelow('docs/guide/restarts.md', 'A server that reloads without a gap'))
  await race.start({ command: [process.execPath, 'program.mjs'], cwd, ready: { line: /^hello world$/ } })
})
