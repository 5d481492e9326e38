/** examples/prewarm: today's half must show the trouble, ours must not. */

import { join } from 'node:path'
import { expect, test } from 'vitest'
import { start } from '../support/children.js'
import { repository } from '../support/paths.js'

test('I4: eight starts, the holder killed: today nobody is served, with warmswap everybody', async () => {
  const example = start(process.execPath, [join(repository, 'examples/prewarm/run.js')])
  const { code } = await example.ended
  const rows = Object.fromEntries(example.lines.slice(1).map((line) => [line.split(/\s+/)[0], line.trim().split(/\s+/).slice(1).map(Number)]))
  expect(rows.today?.slice(0, 3), example.stderr()).toEqual([0, 7, 1])
  expect(rows.warmswap?.slice(0, 3), example.stderr()).toEqual([7, 7, 2])
  expect(code).toBe(0)
})
