// @module-tag storm
import { spawnSync } from 'node:child_process'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { repository } from '../support/paths.js'

test('examples/engine-restart: the routing bug is found and timed, the fix passes', { timeout: 400_000 }, () => {
  const vitest = join(repository, 'node_modules/vitest/vitest.mjs')
  const { status, stdout, stderr } = spawnSync(process.execPath, [vitest, 'run', '--root', 'examples/engine-restart'], {
    cwd: repository,
    encoding: 'utf8',
    env: { ...process.env, NO_COLOR: '1' },
  })
  const output = stdout + stderr
  console.log(
    output
      .split('\n')
      .filter((line) => /: fails up to|: never failed|longest gap|samples over/.test(line))
      .join('\n'),
  )
  expect(output).toMatch(/3 (passed|skipped)/)
  expect(status, output).toBe(0)
})
