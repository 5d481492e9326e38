/** What `lock run` and its holder print while they wait for a lock. */

import { type LockOptions, describeHolder } from '../locks/index.js'

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

/** For --quiet. */
export function reportNothing(): void {}
