/** R16: the same promises without the addon: the portable build, and the native one where nothing can be loaded. */

import { describe, expect, test } from 'vitest'
import { cellSuite } from './suites/cells.js'
import { registrySuite } from './suites/registry.js'

// Before the first import, as in a runtime that has no native addons.
process.dlopen = undefined as never

const builds: Record<string, typeof import('warmswap/state')> = {
  'the portable build': await import('../../dist/state-portable.js' as 'warmswap/state'),
  'the native build without the addon': await import('warmswap/state'),
}

describe.each(Object.entries(builds))('R16: %s', (_, state) => {
  test('says what it is', () => {
    expect(state.stateBackend).toBe('js')
  })

  registrySuite(state)
  cellSuite(state)
})
