// @module-tag storm
// What the README and the examples show is run as it stands there.
import { spawnSync } from 'node:child_process'
import { copyFileSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { repository } from '../support/paths.js'

function vitest(cwd: string, args: string[]): { status: number | null; output: string } {
  const { status, stdout, stderr } = spawnSync(
    process.execPath,
    [join(repository, 'node_modules/vitest/vitest.mjs'), 'run', ...args],
    { cwd, encoding: 'utf8', env: { ...process.env, NO_COLOR: '1' } },
  )
  return { status, output: stdout + stderr }
}

test("README: a file of ten lines reproduces a race in somebody else's server", { timeout: 120_000 }, () => {
  const restarts = readFileSync(join(repository, 'README.md'), 'utf8').split('\n## Restarts\n')[1] as string
  const file = [...restarts.matchAll(/```ts\n([\s\S]*?)```/g)]
    .map(([, code]) => code as string)
    .find((code) => code.includes('their-server.mjs')) as string
  expect(file.split('\n').filter((line) => line !== '')).toHaveLength(10)
  // Inside the repository, so that 'warmswap/vitest' is this one.
  const folder = join(repository, 'build/readme-race')
  mkdirSync(folder, { recursive: true })
  writeFileSync(join(folder, 'restart.test.ts'), file)
  writeFileSync(join(folder, 'vitest.config.js'), 'export default {}')
  copyFileSync(join(repository, '__test__/race-kit/fixtures/their-server.mjs'), join(folder, 'their-server.mjs'))
  const { status, output } = vitest(folder, ['--root', '.'])
  rmSync(folder, { recursive: true })
  expect(output).toMatch(/'read' failed \d+ of \d+ times at 50 ms or later, last at \d+(\.\d+)? ms \(server-error\)/)
  expect(output).toMatch(/read: fails up to [\d.]+ ms, works from [\d.]+ ms on/)
  expect(output).toMatch(/repeat: WARMSWAP_RACE_SEED=\d+ npx vitest run restart.test.ts -t "/)
  expect(status).toBe(1)
})

test('examples/engine-restart: the routing bug is found and timed, the fix passes', { timeout: 400_000 }, () => {
  const { status, output } = vitest(repository, ['--root', 'examples/engine-restart'])
  console.log(
    output
      .split('\n')
      .filter((line) => /: fails up to|: never failed|longest gap|samples over/.test(line))
      .join('\n'),
  )
  expect(output).toMatch(/3 (passed|skipped)/)
  expect(status, output).toBe(0)
})
