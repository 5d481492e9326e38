/** Progress of a call on a cache. */

import type { Progress } from '../archives/contract.js'
import type { NativeProgress } from '../native/binding.cjs'
import { guarded } from '../native/callbacks.js'
import * as validate from '../native/validate.js'

export function progressListener(
  listener: ((progress: Progress) => void) | undefined,
): ((progress: NativeProgress) => void) | undefined {
  if (listener === undefined) return undefined
  validate.callback('options.onProgress', listener)
  const notify = guarded('options.onProgress of a cache', listener)
  return ({ stage, ...rest }) => notify({ ...rest, phase: PHASES[stage] ?? 'lookup' })
}

/** The names of the core's phases in the public API. */
const PHASES: Record<string, Progress['phase']> = {
  credentials: 'credentials',
  lookup: 'lookup',
  download: 'download',
  decode: 'unpack',
  write: 'unpack',
  quiet: 'pack',
  pack: 'pack',
  upload: 'upload',
  verify: 'upload',
  commit: 'commit',
}
