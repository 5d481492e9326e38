/** What the command line needs to report trust levels. */

import { native, unwrap } from '../native/native.js'
import { checkTrust, type TrustOptions } from './trust-options.js'

export { levelOfCi } from './trust-env.js'
export { publicKeyText } from './trust-options.js'

/** The levels that a cache with these options reads, in order, and why it is read-only, if it is. */
export function trustPlan(trust: TrustOptions): {
  readOnly?: string
  reads: { level: string; keys: Uint8Array[] }[]
} {
  return unwrap(native().planTrust(checkTrust(trust)))
}
