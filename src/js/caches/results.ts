/** Converts reports of the addon to results and errors. */

import type { RestoreOutcome, RestoreResult } from '../archives/contract.js'
import { leftOut } from '../archives/unpack.js'
import type { NativeRestoreReport, NativeSnapshotReport } from '../native/binding.cjs'
import { type ErrorCode, WarmswapError } from '../native/errors.js'
import type { SnapshotOutcome, SnapshotResult } from './contract.js'

export function restoreResult(report: NativeRestoreReport): RestoreResult {
  const outcome = report.outcome as RestoreOutcome
  const { skipped, ...rest } = report
  const typed = rest as Omit<typeof rest, 'commit' | 'stage'> & Pick<RestoreResult, 'commit' | 'stage'>
  return {
    ...typed,
    ...leftOut(skipped),
    outcome,
    ok: outcome === 'restored' || outcome === 'unchanged',
    timings: Object.fromEntries(report.timings),
  }
}

export function snapshotResult(report: NativeSnapshotReport): SnapshotResult {
  const outcome = report.outcome as SnapshotOutcome
  const skipped = report.skipped.map(([path = '', why = '']) => ({ path, why }))
  return {
    ...report,
    outcome,
    ok: outcome === 'uploaded' || outcome === 'unchanged',
    skipped,
    guard: report.guard as SnapshotResult['guard'],
    timings: Object.fromEntries(report.timings),
  }
}

const OUTCOME_CODES: Partial<Record<string, ErrorCode>> = {
  timeout: 'ERR_TIMEOUT',
  aborted: 'ERR_ABORTED',
  miss: 'ERR_NO_GENERATION',
  corrupt: 'ERR_GENERATION_CORRUPT',
  empty: 'ERR_EMPTY_STAGE',
  superseded: 'ERR_FENCED',
  'too-large': 'ERR_TOO_LARGE',
  refused: 'ERR_UNSUPPORTED',
  incompatible: 'ERR_UNSUPPORTED',
  unguarded: 'ERR_UNSUPPORTED',
}

export function outcomeError(
  verb: string,
  result: { outcome: string; reason?: string },
  signal: AbortSignal | undefined,
): unknown {
  if (result.outcome === 'aborted' && signal?.aborted) return signal.reason
  const code = OUTCOME_CODES[result.outcome] ?? 'ERR_IO'
  return new WarmswapError(
    code,
    `${verb} ended with '${result.outcome}'${result.reason === undefined ? '' : `: ${result.reason}`}`,
    { outcome: result.outcome },
  )
}
