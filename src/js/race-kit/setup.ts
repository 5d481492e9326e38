/** For setupFiles: which test file runs, and the matchers for tests that do not use the race fixture. */

import { expect } from 'vitest'
import { options as checkOptions, oneOf } from '../native/validate.js'
import { now } from './clock.js'
import { addMatchers } from './matchers.js'

/** Read by state handles of scope 'test-file' (src/js/state); a registered symbol, so that neither imports the other. */
const TEST_FILE = Symbol.for('warmswap/test-file@1')

/** For setupFiles: scopes state to the test file, adds the matchers. */
export function setup(options?: { stateScope?: 'test-file' | 'isolate' }): void {
  const { stateScope = 'test-file' } = checkOptions('options', options, ['stateScope'])
  addMatchers()
  const scoped = oneOf('options.stateScope', stateScope, ['test-file', 'isolate']) === 'test-file'
  // Setup files run before each test file; the time tells two runs of one file in watch mode apart.
  Object.assign(globalThis, { [TEST_FILE]: scoped ? `${expect.getState().testPath} ${now()}` : undefined })
}
