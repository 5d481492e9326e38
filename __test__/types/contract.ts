/**
 * The package's types against the contract (copies of the design's api.d.ts, vite.d.ts and vitest.d.ts beside this
 * file). tsc fails where an export is missing or its shape has changed; nothing of this runs.
 */

import type { Matchers } from 'vitest'
import type { RaceMatchers } from '../../dist/vitest.js'
import type * as raceKit from '../../dist/vitest.js'
import type * as root from '../../index.js'
import type * as vite from '../../dist/vite.js'
import type * as contract from './contract-api.js'
import type * as raceKitContract from './contract-vitest.js'
import type * as contractVite from './contract-vite.js'

type Holds<Ours extends Contract, Contract> = [Ours, Contract]

// Only this library constructs its errors, so the constructor is not part of the contract: the instance is.
type Constructed = 'WarmswapError'

export type Root = Holds<typeof root, Omit<typeof contract, Constructed>>
export type ErrorOfRoot = Holds<root.WarmswapError, contract.WarmswapError>

export type RaceKit = Holds<Pick<typeof raceKit, keyof typeof raceKitContract>, typeof raceKitContract>
export type Matched = Holds<
  RaceMatchers<void>,
  Pick<Matchers<void>, 'toSettleWithin' | 'toAnswerEachOnce' | 'toNeverGoBackwards' | 'toLeakNothing'>
>
export type Vite = Holds<typeof vite, typeof contractVite>
