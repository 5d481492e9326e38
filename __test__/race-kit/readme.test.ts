// @module-tag system
import { spawnSync } from 'node:child_process'
import { mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { blocksOf } from '../support/docs.js'
import { repository } from '../support/paths.js'

test('the test file of the guide reproduces a race in an unknown server', { timeout: 120_000 }, () => {
  const [file = '', server = ''] = blocksOf('docs/guide/race-kit.md').map(({ code }) => code)
  expect(file.split('\n').filter((line) => line !== '')).toHaveLength(10)
  // Inside the repository, so that 'warmswap/vitest' is this one.
  const folder = join(repository, 'build/readme-race')
  mkdirSync(folder, { recursive: true })
  writeFileSync(join(folder, 'restart.test.ts'), file)
  writeFileSync(join(folder, 'vitest.config.js'), 'export default {}')
  writeFileSync(join(folder, 'their-server.mjs'), server)
  const vitest = join(repository, 'node_modules/vitest/vitest.mjs')
  const { status, stdout, stderr } = spawnSync(process.execPath, [vitest, 'run', '--root', '.'], {
    cwd: folder,
    encoding: 'utf8',
    env: { ...process.env, NO_COLOR: '1' },
  })
  const output = stdout + stderr
  rmSync(folder, { recursive: true })
  expect(output).toMatch(/'read' failed \d+ of \d+ times at 50 ms or later, last at \d+(\.\d+)? ms \(server-error\)/)
  expect(output).toMatch(/read: fails up to [\d.]+ ms, works from [\d.]+ ms on/)
  expect(output).toMatch(/repeat: WARMSWAP_RACE_SEED=\d+ npx vitest run restart.test.ts -t "/)
  expect(status).toBe(1)
})
