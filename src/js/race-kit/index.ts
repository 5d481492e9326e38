/**
 * warmswap/vitest: reproduces and times restart races in any dev server, engine or runner. It does not need the rest of
 * warmswap.
 */

import type {} from './matchers.js'

export { test } from './fixtures.js'
export type { RaceMatchers } from './matchers.js'
export { racePoint } from './race-point.js'
export { setup } from './setup.js'
export type * from './types.js'
