// @module-tag system
/** state/test-file-scope: two test files in one worker of each vitest pool, run by vitest itself. */

import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect } from 'vitest'
import { start } from '../support/children.js'
import { repository } from '../support/paths.js'
import { test } from '../support/temp.js'

interface Seen {
  file: string
  marks: { isolate: string[]; realm: string[]; 'test-file': string[] }
  cell: string[]
  stateBackend: string
}

/** What the second file of the fixture saw. */
async function secondFile(
  pool: string,
  isolate: boolean,
  directory: string,
  env: Record<string, string> = {},
): Promise<Seen> {
  const log = join(directory, 'seen.jsonl')
  const args = [
    'run',
    '--root',
    join(repository, '__test__/state/fixtures/pools'),
    `--pool=${pool}`,
    `--isolate=${isolate}`,
  ]
  const child = start(process.execPath, [join(repository, 'node_modules/vitest/vitest.mjs'), ...args], {
    env: { WARMSWAP_POOLS_LOG: log, ...env },
  })
  const { code } = await child.ended
  if (code !== 0) throw new Error(`vitest ended with ${code}\n${child.lines.join('\n')}\n${child.stderr()}`)
  const seen = readFileSync(log, 'utf8')
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as Seen)
  expect(seen).toHaveLength(2)
  return seen[1] as Seen
}

// Whether the two files meet. The vm pools run all files of a worker in one vm context, whatever `isolate` says; what
// different contexts of one thread see of each other is in threads.test.ts.
const pools = [
  { pool: 'forks', isolate: true, meet: false, cell: false },
  { pool: 'forks', isolate: false, meet: true },
  // A thread for each file, in one process.
  { pool: 'threads', isolate: true, meet: false, cell: true },
  { pool: 'threads', isolate: false, meet: true },
  { pool: 'vmThreads', isolate: true, meet: true },
  { pool: 'vmThreads', isolate: false, meet: true },
  { pool: 'vmForks', isolate: true, meet: true },
  { pool: 'vmForks', isolate: false, meet: true },
]

describe('state/test-file-scope: scopes in vitest', () => {
  test.for(pools)('$pool, isolate: $isolate', async ({ pool, isolate, meet, cell: cellMeets = meet }, { disk }) => {
    const { file, marks, cell, stateBackend } = await secondFile(pool, isolate, disk)
    expect(stateBackend).toBe('native')
    expect(marks['test-file']).toEqual([file])
    for (const scope of ['isolate', 'realm'] as const)
      expect([...marks[scope]].sort()).toEqual(meet ? ['first', 'second'] : [file])
    expect([...cell].sort()).toEqual(cellMeets ? ['first', 'second'] : [file])
  })

  test('the check detects files that are not distinguished', async ({ disk }) => {
    const { marks } = await secondFile('forks', false, disk, { WARMSWAP_POOLS_SCOPE: 'isolate' })
    expect(marks['test-file']).toHaveLength(2)
  })
})
