/** pack and unpack: directories as streams, for programs that bring their own transport. */

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
