/** Seeded bugs of the TypeScript, so that the suites can prove that they would see them. Never on in a published build. */

import { native } from './native.js'

/** Names of the seeded bugs. */
export type Mutant =
  | 'join-in-flight'
  | 'fence-at-end'
  | 'queue-on-the-worker'
  | 'stop-before-build'
  | 'accept-late-replies'
  | 'failed-builds-unshared'
  | 'stream-without-bounds'
  | 'drain-without-streams'
  | 'worker-without-keeper'
  | 'trust-worker-messages'
  | 'rescue-replays-post'
  | 'rescue-after-a-body-byte'
  | 'rescue-without-bounds'
  | 'rescue-in-the-old-graph'
  | 'rescue-before-ready'

const wanted = process.env.WARMSWAP_MUTANT

/** Whether this seeded bug is on. */
export function mutant(name: Mutant): boolean {
  return wanted === name && native().isTestingBuild()
}
