/** Runs the command line. */

import { execFileSync } from 'node:child_process'
import { join } from 'node:path'
import { repository } from './paths.js'

export const program = join(repository, 'dist/cli.js')

export interface CliResult {
  code: number
  out: string
  errors: string
}

/** Runs the command lines one after the other, in one process. */
export function runAll(calls: string[][], env: Record<string, string> = {}): CliResult[] {
  const output = execFileSync(process.execPath, [join(repository, '__test__/programs/cli-batch.mjs')], {
    input: JSON.stringify({ program, calls }),
    encoding: 'utf8',
    env: { ...process.env, ...env },
    maxBuffer: 64 << 20,
    timeout: 60_000,
  })
  return JSON.parse(output) as CliResult[]
}

/** Runs one command line. */
export function run(...args: string[]): CliResult {
  return runAll([args])[0] as CliResult
}
