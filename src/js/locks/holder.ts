/** The holder of a lock, and its description in messages. */

import { hostname } from 'node:os'

/** The holder of a lock. */
export interface Holder {
  readonly pid?: number
  readonly hostname?: string
  readonly command?: string
  readonly since?: string
  readonly generation?: number
  readonly progress?: { phase: string; at: string }
  readonly metadata?: Record<string, unknown>
  /**
   * The process that acquired the lock, if a child that inherited it holds it now (`coverChildren`). `pid` and
   * `command` are then the child's, and are missing if the child cannot be seen from here.
   */
  readonly inheritedFrom?: number
  /** Why the directory is never taken over: it contains files that do not belong to a lock. */
  readonly note?: string
  readonly format: 'warmswap' | 'owner-json' | 'ownerless'
}

export type Liveness = 'alive' | 'dead' | 'unknown'

/** Human-readable description of the holder. */
export function describeHolder(holder: Holder | null, liveness: Liveness | null): string {
  const note = holder?.note === undefined ? '' : ` (${holder.note})`
  if (holder?.pid === undefined)
    return holder?.inheritedFrom === undefined
      ? `a holder that left no owner record${note}`
      : `a child of pid ${holder.inheritedFrom}, which has ended`
  // A pid has no meaning on another host. 'alive' is only reported for a process of this boot and pid namespace.
  const isHere = liveness === 'alive' && holder.hostname?.split('+pidns-')[0] === hostname()
  const self = isHere && holder.pid === process.pid ? ' (this very process)' : ''
  const command = holder.command ? `, '${holder.command}'` : ''
  const inherited = holder.inheritedFrom === undefined ? '' : `, which inherited it from pid ${holder.inheritedFrom}`
  const since = holder.since ? `, since ${holder.since}` : ''
  const progress = holder.progress ? `, doing: ${holder.progress.phase}` : ''
  return `pid ${holder.pid}${self} on ${holder.hostname ?? 'an unnamed host'}${command}${inherited}${since}${progress}${note}`
}
