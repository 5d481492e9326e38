/** `pack()` and `unpack()` turn a directory into a stream and back, for programs that have a transport of their own. */

export type {
  Limits,
  PackOptions,
  Preset,
  Progress,
  RestoreOutcome,
  RestoreResult,
  UnpackOptions,
} from './contract.js'
export { pack } from './pack.js'
export { unpack } from './unpack.js'
