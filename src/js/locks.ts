/** Orphan-aware locks. */

/** Who holds a lock. */
export interface Holder {
  readonly pid?: number
  readonly hostname?: string
  readonly command?: string
  readonly since?: string
  readonly generation?: number
  readonly progress?: { phase: string; at: string }
  readonly metadata?: Record<string, unknown>
  readonly format: 'warmswap' | 'owner-json' | 'ownerless'
}
