/** Use it in setupFiles: records which test file runs, and adds the matchers for tests that do not use the race fixture. */

import { expect } from 'vitest'
import { options as checkOptions, oneOf } from '../native/validate.js'
import { now } from './clock.js'
import { addMatchers } from './matchers.js'

/**
 * State handles of scope 'test-file' (src/js/state) read it. A registered symbol, so that neither module imports the
 * other.
 */
const TEST_FILE = Symbol.for('warmswap/test-file@1')

/**
 * Use it in setupFiles: scopes state to the test file, and adds the matchers.
 *
 * @param options Scope of state.
 */
export function setup(options?: {
  /** How far state of scope 'test-file' is shared: one value per run of a test file, or per thread. @default 'test-file' */
  stateScope?: 'test-file' | 'isolate'
}): void {
  const { stateScope = 'test-file' } = checkOptions('options', options, ['stateScope'])
  addMatchers()
  const scoped = oneOf('options.stateScope', stateScope, ['test-file', 'isolate']) === 'test-file'
  // Setup files run before each test file. The time distinguishes two runs of one file in watch mode.
  Object.assign(globalThis, { [TEST_FILE]: scoped ? `${expect.getState().testPath} ${now()}` : undefined })
}
