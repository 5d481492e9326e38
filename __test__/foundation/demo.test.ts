// @module-tag storm
import { spawnSync } from 'node:child_process'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { repository } from '../support/paths.js'

test('the demo keeps its promises on real input, and its table has both ways', { timeout: 240_000 }, () => {
  const demo = join(repository, 'examples/dev-server/demo/demo.js')
  const { stdout, stderr, status } = spawnSync(process.execPath, [demo, '--seconds', '6', '--patience', '4'], {
    cwd: repository,
    encoding: 'utf8',
  })
  expect(stderr).toBe('')
  expect(status).toBe(0)
  const figure = (label: string): [number, number] => {
    const [, today, ours] = new RegExp(`^${label} +([\\d.]+) +([\\d.]+)$`, 'm').exec(stdout) ?? []
    return [Number(today), Number(ours)]
  }
  expect(figure('requests answered')[1]).toBeGreaterThan(100)
  expect(figure('edits')[1]).toBeGreaterThan(10)
  expect(figure('builders SIGKILLed')[1]).toBeGreaterThan(0)
  // The load is only a proof if it hurts the way it is done today.
  expect(figure('requests failed')[0]).toBeGreaterThan(0)
  expect(figure('seconds behind the orphaned lock')[0]).toBeGreaterThan(1)
})
