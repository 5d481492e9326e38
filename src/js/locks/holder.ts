/** The holder of a lock, and its description in messages. */

import { hostname } from 'node:os'

/** The holder of a lock. */
export interface Holder {
  /** Process id. Absent if the holder left no record. */
  readonly pid?: number
  /** Name of its machine. In a pid namespace, such as a container, `+pidns-` and a number follow. */
  readonly hostname?: string
  /** Its command line. */
  readonly command?: string
  /** When it acquired the lock, in ISO 8601. */
  readonly since?: string
  /** Its fencing token. */
  readonly generation?: number
  /** What it last passed to `lock.progress()`. */
  readonly progress?: {
    /** The phase. */
    phase: string
    /** When it was passed, in ISO 8601. */
    at: string
  }
  /** The `metadata` of its `acquireLock()`. */
  readonly metadata?: Record<string, unknown>
  /**
   * The process that acquired the lock, if a child that inherited it holds it now (`coverChildren`). `pid` and
   * `command` are then the child's, and are missing if the child cannot be seen from here.
   */
  readonly inheritedFrom?: number
  /** Why the directory is never taken over: it contains files that do not belong to a lock. */
  readonly note?: string
  /**
   * Where this comes from: a record of warmswap, the `owner.json` of another tool, or nowhere, because the directory has
   * no record.
   */
  readonly format: 'warmswap' | 'owner-json' | 'ownerless'
}

/** Whether a holder is alive. 'unknown' if it cannot be checked from here, for example on another machine. */
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
