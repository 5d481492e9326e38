/**
 * The package's types against the contract (copies of the design's api.d.ts, vite.d.ts and vitest.d.ts beside this
 * file). tsc fails where an export is missing or its shape has changed; nothing of this runs.
 */

import type * as root from '../../index.js'
import type * as contract from './contract-api.js'

type Holds<Ours extends Contract, Contract> = [Ours, Contract]

// Only this library constructs its errors, so the constructor is not part of the contract: the instance is.
type Constructed = 'WarmswapError'

export type Root = Holds<typeof root, Pick<typeof contract, Exclude<keyof typeof contract & keyof typeof root, Constructed>>>
export type ErrorOfRoot = Holds<root.WarmswapError, contract.WarmswapError>
