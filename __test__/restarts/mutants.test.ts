// @module-tag system
/** Each seeded bug is killed by the test that is there for it: a check that cannot fail proves nothing. */

import { describe, expect, test } from 'vitest'
import { start } from '../support/children.js'
import { repository } from '../support/paths.js'

const mutants: [mutant: string, file: string, name: string][] = [
  ['join-in-flight', 'restarts/builds', 'I11'],
  ['queue-on-the-worker', 'restarts/workers', 'the next incarnation answers, once'],
  ['stop-before-build', 'restarts/workers', 'build, swap, start, then drain'],
  ['accept-late-replies', 'restarts/workers', 'of an incarnation that lost the request'],
  ['stream-without-bounds', 'restarts/streams', 'back-pressure'],
  ['drain-without-streams', 'restarts/streams', 'at the drain deadline'],
  ['trust-worker-messages', 'restarts/garbage', 'malformed messages between answers'],
  ['failed-builds-unshared', 'restarts/builds', 'a failed build is shared'],
  ['worker-without-keeper', 'restarts/keeper', 'killDetached: it is killed'],
  ['fence-at-end', 'bundles/esbuild', 'I10'],
]

describe('the suite kills its mutants', () => {
  test.each(mutants)('%s', { timeout: 120_000 }, async (mutant, file, name) => {
    const child = start(
      'npx',
      ['vitest', 'run', `__test__/${file}.test.ts`, '-t', name, '--reporter=json', '--testTimeout=15000'],
      {
        cwd: repository,
        env: { WARMSWAP_MUTANT: mutant, WARMSWAP_TESTING_ADDON: '1' },
      },
    )
    const report = child.line(/^\{"numTotalTestSuites"/)
    report.catch(() => {})
    await child.ended
    const { numFailedTests, numPassedTests } = JSON.parse(await report)
    expect(numFailedTests + numPassedTests, 'no test of this name was run').toBeGreaterThan(0)
    expect(numFailedTests).toBeGreaterThan(0)
  })
})
