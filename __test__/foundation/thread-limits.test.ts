// @module-tag storm
// guarantee: library/thread-limits-are-errors

import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { chmodSync, chownSync, existsSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { expect } from 'vitest'
import { repository } from '../support/paths.js'
import { test } from '../support/temp.js'

/** A user without processes: RLIMIT_NPROC counts the threads of a user. */
const USER = '54321'
const READ_FILE = `require('fs').readFile('/etc/hostname', (error) => process.exit(error ? 3 : 0))`

const limited = (limit: number, ...command: string[]): string[] => [
  `--nproc=${limit}:`,
  'setpriv',
  `--reuid=${USER}`,
  '--clear-groups',
  ...command,
]

/** The smallest limit under which a script that reads one file ends well. */
function smallestLimit(): number {
  for (let limit = 6; limit < 60; limit += 1) {
    const { status } = spawnSync('prlimit', limited(limit, process.execPath, '-e', READ_FILE), {
      timeout: 5000,
      killSignal: 'SIGKILL',
    })
    if (status === 0) return limit
  }
  throw new Error('no limit below 60 lets a script read a file')
}

type Ends = Record<string, string>

/** How each call ends under a limit, and after it was lifted. */
async function callAll(limit: number, folder: string): Promise<{ under: Ends; after: Ends; status: number | null }> {
  const child = spawn(
    'prlimit',
    limited(limit, process.execPath, join(repository, '__test__/programs/thread-limits.mjs'), folder),
    { cwd: repository, stdio: ['pipe', 'pipe', 'inherit'] },
  )
  const exited = once(child, 'exit')
  const lines = createInterface(child.stdout)[Symbol.asyncIterator]()
  const under = await lines.next()
  // setpriv and prlimit become the process that they start. Only a process of the same user may lift its limit.
  const lift = spawnSync('setpriv', [
    `--reuid=${USER}`,
    '--clear-groups',
    'prlimit',
    '--pid',
    String(child.pid),
    '--nproc=4096:',
  ])
  expect(String(lift.stderr)).toBe('')
  child.stdin.end('\n')
  const after = await lines.next()
  const [status] = (await exited) as [number | null]
  return { under: JSON.parse(under.value ?? '{}'), after: JSON.parse(after.value ?? '{}'), status }
}

test('under each thread limit every call works or names the limit, and works again once the limit is raised', {
  timeout: 120_000,
}, async ({ memory }) => {
  if (process.getuid?.() !== 0 || !existsSync('/usr/bin/prlimit'))
    throw new Error('this test needs root, prlimit and setpriv (util-linux)')
  chmodSync(memory, 0o755)
  const smallest = smallestLimit()
  for (const extra of [0, 1, 2, 4, 8]) {
    const folder = join(memory, String(extra))
    spawnSync('mkdir', [folder])
    chownSync(folder, Number(USER), -1)
    const { under, after, status } = await callAll(smallest + extra, folder)
    const wrong = Object.entries(under).filter(([, how]) => how !== 'done' && how !== 'refused')
    expect(wrong, `${extra} above the smallest limit ${smallest}`).toEqual([])
    expect(Object.keys(under).length).toBeGreaterThan(20)
    expect(Object.entries(after).filter(([, how]) => how !== 'done')).toEqual([])
    expect(status).toBe(0)
    // The smallest limit leaves nothing for this library: without a refusal the limit was none.
    if (extra === 0) expect(Object.values(under)).toContain('refused')
  }
})
