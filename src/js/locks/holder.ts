/** Who holds a lock, and how it is described. */

import { hostname } from 'node:os'

/** Who holds a lock. */
export interface Holder {
  readonly pid?: number
  readonly hostname?: string
  readonly command?: string
  readonly since?: string
  readonly generation?: number
  readonly progress?: { phase: string; at: string }
  readonly metadata?: Record<string, unknown>
  /**
   * With `coverChildren`: the process that acquired the lock, once a child that inherited it has it. `pid` and `command`
   * are the child's, and are missing where it cannot be seen from here.
   */
  readonly inheritedFrom?: number
  /** Why its directory is never taken over: it holds files that are not a lock's. */
  readonly note?: string
  readonly format: 'warmswap' | 'owner-json' | 'ownerless'
}

export type Liveness = 'alive' | 'dead' | 'unknown'

/** The holder in words. */
export function describeHolder(holder: Holder | null, liveness: Liveness | null): string {
  const note = holder?.note === undefined ? '' : ` (${holder.note})`
  if (holder?.pid === undefined)
    return holder?.inheritedFrom === undefined
      ? `a holder that left no owner record${note}`
      : `a child of pid ${holder.inheritedFrom}, which has ended`
  // The pid means nothing on another host; alive is only said of a process of this boot and pid namespace.
  const isHere = liveness === 'alive' && holder.hostname?.split('+pidns-')[0] === hostname()
  const self = isHere && holder.pid === process.pid ? ' (this very process)' : ''
  const command = holder.command ? `, '${holder.command}'` : ''
  const inherited = holder.inheritedFrom === undefined ? '' : `, which inherited it from pid ${holder.inheritedFrom}`
  const since = holder.since ? `, since ${holder.since}` : ''
  const progress = holder.progress ? `, doing: ${holder.progress.phase}` : ''
  return `pid ${holder.pid}${self} on ${holder.hostname ?? 'an unnamed host'}${command}${inherited}${since}${progress}${note}`
}
