// @module-tag system
/** Each seeded bug is detected by its test: a check that cannot fail proves nothing. */

import { execFile } from 'node:child_process'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { beforeAll, describe, expect, test } from 'vitest'
import { SEEDED_BUGS, type SeededBug } from '../../src/js/native/seeded-bugs.js'
import { repository } from '../support/paths.js'
import { seededRepository } from '../support/seeded-repository.js'

const VITEST = 'node_modules/vitest/vitest.mjs'

/** The file and the test that find each bug. */
const FOUND_BY: Record<SeededBug, [file: string, name: string]> = {
  'join-in-flight': ['restarts/builds', 'restarts/build-contains-the-change'],
  'queue-on-the-worker': ['restarts/workers', 'the next incarnation answers, once'],
  'stop-before-build': ['restarts/workers', 'build, swap, start, then drain'],
  'accept-late-replies': ['restarts/workers', 'of an incarnation that lost the request'],
  'stream-without-bounds': ['restarts/streams', 'back-pressure'],
  'drain-without-streams': ['restarts/streams', 'at the drain deadline'],
  'drain-without-sockets': ['restarts/listen', 'the drain waits for sockets'],
  'upstream-reused-for-post': ['restarts/listen', 'a connection of its own'],
  'any-listener': ['restarts/listen', 'a stranger that takes'],
  'start-before-stop': ['restarts/reloads', 'stop-first'],
  'replay-after-the-head': ['restarts/listen', 'whose head was sent'],
  'trust-worker-messages': ['restarts/garbage', 'malformed messages between answers'],
  'failed-builds-unshared': ['restarts/builds', 'a failed build is shared'],
  'worker-without-keeper': ['restarts/keeper', 'killDetached: it is killed'],
  'fence-at-end': ['bundles/esbuild', 'bundles/late-build-is-refused'],
  'rescue-replays-post': ['state/vite-inflight', 'Vite 8.*a POST that was overtaken'],
  'rescue-after-a-body-byte': ['state/vite-inflight', 'Vite 8.*a body that has begun'],
  'rescue-without-bounds': ['state/vite-inflight', 'Vite 8.*bounded'],
  'rescue-in-the-old-graph': ['state/vite-inflight', 'Vite 8.*a replay waits'],
  'rescue-before-ready': ['state/vite-inflight', 'Vite 8.*a replay waits'],
  'out-dir-seen-outside': ['bundles/vite-frameworks', 'Vite 8.*sees its work'],
  'out-dir-unseen-by-hooks': ['bundles/vite-frameworks', 'Vite 8.*sees its work'],
  'out-dir-unseen-by-workers': ['bundles/vite-frameworks', 'Vite 8.*in a worker'],
  'out-dir-published-early': ['bundles/vite-frameworks', 'a buildApp hook of the order post'],
  'old-chunks-through-a-link': ['bundles/vite-frameworks', 'not written through a link'],
  'old-chunks-forever': ['bundles/vite-frameworks', 'dropped after graceMs'],
  'old-chunks-overwrite': ['bundles/vite-frameworks', 'never replace a file'],
  'state-dispose-twice': ['state/vite-auto-version', 'Vite 8.*an edit that fails'],
  'state-open-before-close': ['state/registry', 'concurrent definitions wait for dispose'],
  'state-old-code-wins': ['state/vite-auto-version', 'Vite 8.*code of before the edit'],
  'state-edit-unseen': ['state/vite-auto-version', 'Vite 8.*an edit closes the server'],
}

describe('the suite detects its seeded bugs', () => {
  let folder: string
  beforeAll(() => {
    folder = seededRepository()
  })

  /** Runs tests of the copy with this bug. */
  async function run(
    [file, name]: [file: string, name: string],
    bug: SeededBug | 'none',
    signal: AbortSignal,
  ): Promise<{ numFailedTests: number; numPassedTests: number }> {
    // The bundler of Vite 8 would load the testing addon as its own: it reads the same variable.
    const addon = /\/vite-/.test(file) ? {} : { WARMSWAP_TESTING_ADDON: '1' }
    // One failed test is enough, and most of them fail by their time limit.
    const untilFailure = bug === 'none' ? [] : ['--bail=1']
    const args = ['run', `__test__/${file}.test.ts`, '-t', name, '--reporter=json', '--testTimeout=15000']
    const env = { ...process.env, WARMSWAP_MUTANT: bug, ...addon }
    const options = { cwd: folder, env, signal, maxBuffer: 2 ** 26 }
    const output = await new Promise<string>((resolve, reject) => {
      // The exit code is that of a run with failed tests.
      execFile(process.execPath, [VITEST, ...args, ...untilFailure], options, (_error, stdout, stderr) =>
        signal.aborted ? reject(new Error(stderr)) : resolve(stdout),
      )
    })
    const report = output.split('\n').find((line) => line.startsWith('{"numTotalTestSuites"'))
    return JSON.parse(report ?? '')
  }

  // Most of the runs wait: for the event that a bug prevents.
  test.concurrent.for(Object.keys(FOUND_BY) as SeededBug[])('%s', { timeout: 120_000 }, async (bug, { signal }) => {
    const { numFailedTests, numPassedTests } = await run(FOUND_BY[bug], bug, signal)
    expect(numFailedTests + numPassedTests, 'no test of this name was run').toBeGreaterThan(0)
    expect(numFailedTests).toBeGreaterThan(0)
  })

  test.for([
    ['state/vite-inflight', 5],
    ['state/vite-auto-version', 3],
    ['bundles/vite-frameworks', 6],
  ] as const)(
    'without a bug, the tests of %s pass there',
    { timeout: 120_000 },
    async ([file, numPassedTests], { signal }) => {
      const names = Object.values(FOUND_BY).filter(([each]) => each === file)
      const pattern = [...new Set(names.map(([, name]) => name))].join('|')
      expect(await run([file, pattern], 'none', signal)).toMatchObject({ numFailedTests: 0, numPassedTests })
    },
  )
})

test('the built package contains no seeded bug', () => {
  const built = join(repository, 'dist')
  for (const file of readdirSync(built).filter((name) => /\.c?js$/.test(name))) {
    const text = readFileSync(join(built, file), 'utf8')
    for (const trace of [...SEEDED_BUGS, '__WARMSWAP_TESTING__', 'WARMSWAP_MUTANT'])
      expect(text.includes(trace), `${file} contains ${trace}`).toBe(false)
  }
})
