/** docs/reference/platforms.md and `warmswap doctor` have one table. */

import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { PLATFORM_ROWS, platformFindings } from '../../src/js/cli/platform-row.js'
import { repository } from '../support/paths.js'

test('docs/reference/platforms.md has the rows that doctor prints', () => {
  const page = readFileSync(join(repository, 'docs/reference/platforms.md'), 'utf8')
  const [, table = ''] = page.split('| --- | --- | --- | --- |\n')
  const rows = table.split('\n\n', 1)[0]?.split('\n')
  expect(rows).toEqual(
    PLATFORM_ROWS.map(({ name, built, tested, guarantees }) => `| ${name} | ${built} | ${tested} | ${guarantees} |`),
  )
})

test('each package has a row', () => {
  const { napi } = JSON.parse(readFileSync(join(repository, 'package.json'), 'utf8')) as { napi: { targets: string[] } }
  const names = PLATFORM_ROWS.flatMap(({ name }) => name.split(', ')).filter((name) => name.includes('-'))
  expect(names).toHaveLength(napi.targets.length)
})

test('doctor names the row of this machine', () => {
  expect(platformFindings()[0]).toMatchObject({ name: 'platform', facts: { built: 'yes' } })
})
