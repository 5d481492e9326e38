// Child processes of the scripts: their output is shown, and a failure ends the script.
import { spawnSync } from 'node:child_process'
import { dirname, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'

export const root = resolve(dirname(fileURLToPath(import.meta.url)), '../..')

/** Runs a command in the repository's root and ends this script if it fails. */
export function run(command, args, options = {}) {
  const result = attempt(command, args, options)
  if (result.error) throw result.error
  if (result.status !== 0) {
    console.error(
      `warmswap: '${[command, ...args].join(' ')}' ended with ${result.signal ?? `exit code ${result.status}`}`,
    )
    process.exit(result.status ?? 1)
  }
  return result
}

/** Runs a command and returns how it ended. */
export function attempt(command, args, options = {}) {
  return spawnSync(command, args, { cwd: root, stdio: 'inherit', ...options, env: { ...process.env, ...options.env } })
}

/** The target that the napi CLI builds for. */
export function hostTarget() {
  const { stdout } = attempt('rustc', ['-vV'], { stdio: ['ignore', 'pipe', 'inherit'], encoding: 'utf8' })
  return /^host: (.+)$/m.exec(stdout)[1]
}

/**
 * Makes every Cargo command build for the target that the napi CLI names. Otherwise Cargo keeps two copies of all
 * dependencies.
 */
export function useHostTarget() {
  process.env.CARGO_BUILD_TARGET ??= hostTarget()
  if (!process.env.CI) return
  // CI compiles once: incremental data would not be used again.
  process.env.CARGO_INCREMENTAL ??= '0'
  // 112 s of one core for the addon, and 117 s with the 16 that are the default.
  process.env.CARGO_PROFILE_DEV_CODEGEN_UNITS ??= '4'
}
