// Commands that install compilers, emulators and programs of other systems.
import { attempt } from './process.js'
import { ensurePython } from './setup.js'

/**
 * Flags for the features of a released addon, and `more` of them. The stores of Google Cloud Storage make it 0.89 MB
 * larger and those of Azure 0.67 MB, and the limit is 0.4 MB for each. napi takes one list: it would pass a second one as
 * an argument.
 */
export const releasedFeatures = (more) => ['--no-default-features', '--features', more ? `addon,${more}` : 'addon']

const ZIG = ['ziglang==0.17.1', 'cargo-zigbuild==0.24.1']

/** The machine does not support the platform. Any other error is a failure. */
export class Unavailable extends Error {}

/** Whether a program is in PATH. */
export const has = (program) => attempt('sh', ['-c', `command -v ${program}`], { stdio: 'ignore' }).status === 0

export function need(program, reason) {
  if (!has(program)) throw new Unavailable(reason)
}

/** Runs a command that must succeed. */
export function must(program, args, options) {
  if (run(program, args, options) !== 0) throw new Error(`${program} ${args.join(' ')} failed`)
}

/** Runs a command that downloads something. Without the network, the machine does not support the platform. */
export function download(program, args, options) {
  if (run(program, args, options) !== 0) throw new Unavailable(`could not be downloaded: ${program} ${args.join(' ')}`)
}

function run(program, args, options) {
  const { status, error } = attempt(program, args, options)
  if (error) console.error(`${program}: ${error.message}`)
  return status
}

/** Adds a target to the Rust toolchain. */
export function addRustTarget(target) {
  need('rustup', 'rustup is missing')
  download('rustup', ['target', 'add', target])
}

/** The folder with cargo-zigbuild, python with zig, and pip. */
export function zigbuild() {
  need('python3', 'python3 is missing')
  const bin = ensurePython('zigbuild', ZIG)
  if (bin === undefined) throw new Unavailable(`pip could not install ${ZIG.join(' ')}`)
  return bin
}
