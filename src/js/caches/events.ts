/** One event per call. Without it, a cache that stopped working is not noticed (decocms/studio#5824). */

import type { RestoreOutcome } from '../archives/contract.js'
import { guarded } from '../native/callbacks.js'
import type { SnapshotOutcome } from './contract.js'

/** Outcome and figures of one call. */
export interface CacheEvent {
  /** The method that was called. */
  verb: 'restore' | 'snapshot' | 'prune' | 'remove' | 'ensure'
  /** The key. For a restore, the one that was restored. */
  key: string
  /** How the call ended; for `ensure()`, its `role`. */
  outcome: RestoreOutcome | SnapshotOutcome | 'pruned' | 'removed' | 'built' | 'alone'
  /** Human-readable reason, if there is one. */
  reason?: string
  /** Duration of the call in milliseconds. */
  ms: number
  /** Bytes of the files of the tree. For `prune()` and `remove()`, bytes of the removed objects. */
  bytes: number
  /** Number of files of the tree. For `prune()` and `remove()`, number of removed objects. */
  files: number
}

/** Calls the program's listener and, with WARMSWAP_LOG=1, writes to standard error. */
export class CacheEvents {
  readonly #listener: ((event: CacheEvent) => void) | undefined

  constructor(listener: ((event: CacheEvent) => void) | undefined) {
    this.#listener = listener && guarded('options.onEvent of a cache', listener)
  }

  emit(event: Omit<CacheEvent, 'reason'> & { reason: string | undefined }): void {
    const { reason, ...rest } = event
    const complete: CacheEvent = reason === undefined ? rest : { ...rest, reason }
    if (process.env.WARMSWAP_LOG === '1')
      process.stderr.write(`${JSON.stringify({ warmswap: 'cache', at: new Date().toISOString(), ...complete })}\n`)
    this.#listener?.(complete)
  }
}
