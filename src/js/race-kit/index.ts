/** warmswap/vitest: reproduces and times restart races in anybody's dev server, engine or runner. Nothing here needs the rest of warmswap. */

import type {} from './matchers.js'

export { test } from './fixtures.js'
export type { RaceMatchers } from './matchers.js'
export { racePoint } from './race-point.js'
export { setup } from './setup.js'
export type * from './types.js'
