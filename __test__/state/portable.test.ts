/** state/works-without-the-addon: the same promises without the addon: the portable build, and the native one where nothing can be loaded. */

import { describe, expect, test } from 'vitest'
import { cellSuite } from './suites/cells.js'
import { registrySuite, warningsOf } from './suites/registry.js'

// Before the first import, as in a runtime that has no native addons.
process.dlopen = undefined as never

const builds: Record<string, typeof import('warmswap/state')> = {
  'the portable build': await import('../../dist/state-portable.js' as 'warmswap/state'),
  'the native build without the addon': await import('warmswap/state'),
}

describe.each(Object.entries(builds))('state/works-without-the-addon: %s', (build, state) => {
  test('says what it is', () => {
    expect(state.stateBackend).toBe('js')
  })

  test('cells that do not reach other threads cause one warning where they should', async () => {
    const warnings = await warningsOf(() => [state.sharedCell('one'), state.sharedCell('two')])
    expect(warnings).toEqual(
      build.startsWith('the native') ? [expect.stringMatching(/within each thread only.*could not be loaded/)] : [],
    )
  })

  registrySuite(state)
  cellSuite(state)
})
