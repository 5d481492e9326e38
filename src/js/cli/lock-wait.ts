/** What `lock run` and its holder print while they wait for a lock. */

import { describeHolder, type LockOptions } from '../locks/index.js'

let reported = ''

/** Prints what the caller waits for: at first, and when it changes. */
export function reportWait({
  path,
  holder,
  waitedMs,
  liveness,
}: Parameters<NonNullable<LockOptions['onWait']>>[0]): void {
  const text = `waiting for ${path}, held by ${describeHolder(holder, liveness)}`
  if (text !== reported && waitedMs > 0) console.error(`warmswap: ${text}`)
  reported = text
}

/** With --quiet: a listener, because without one the library warns after 10 s. */
export function reportNothing(): void {}
