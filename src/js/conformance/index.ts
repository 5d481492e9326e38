/** Runs the cases of the on-disk formats against a program in any language. docs/protocol/conformance.md has the messages. */

import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { messageOf } from '../native/callbacks.js'
import { WarmswapError } from '../native/errors.js'
import { bundles } from './bundles.js'
import { caches } from './caches.js'
import type { Case } from './cases.js'
import { ensure } from './ensure.js'
import { locks } from './locks.js'
import { Program } from './program.js'

export interface CaseResult {
  id: string
  title: string
  outcome: 'passed' | 'failed' | 'skipped'
  /** Why it failed, or which operation the program does not implement. */
  reason?: string
}

const all: readonly Case[] = [...bundles, ...locks, ...caches, ...ensure]

/**
 * Runs the cases whose id or title contains one of `only`, all without it, and reports each to `onResult`. The program is
 * started once for each case. Rejects with ERR_NOT_READY if it cannot be started or does not answer the first request.
 */
export async function runConformance(
  command: readonly [string, ...string[]],
  options: { only: readonly string[]; timeoutMs: number; onResult(result: CaseResult): void },
): Promise<CaseResult[]> {
  const { program, operations } = await Program.start(command, options.timeoutMs).catch((error: unknown) => {
    throw new WarmswapError('ERR_NOT_READY', `'${command.join(' ')}' is not a conformance program: ${messageOf(error)}`)
  })
  await program.kill()
  const results: CaseResult[] = []
  for (const each of all) {
    if (options.only.length > 0 && !options.only.some((text) => `${each.id} ${each.title}`.includes(text))) continue
    const missing = each.needs.filter((name) => !operations.has(name))
    const result: CaseResult =
      missing.length > 0
        ? { id: each.id, title: each.title, outcome: 'skipped', reason: `not implemented: ${missing.join(', ')}` }
        : await runCase(each, command, options.timeoutMs)
    results.push(result)
    options.onResult(result)
  }
  return results
}

async function runCase(
  { id, title, run }: Case,
  command: readonly [string, ...string[]],
  timeoutMs: number,
): Promise<CaseResult> {
  const folder = mkdtempSync(join(tmpdir(), 'warmswap-conformance-'))
  const programs: Program[] = []
  const start = async (): Promise<Program> => {
    const { program } = await Program.start(command, timeoutMs)
    programs.push(program)
    return program
  }
  try {
    await run({ folder, program: await start(), restart: start })
    return { id, title, outcome: 'passed' }
  } catch (error) {
    return { id, title, outcome: 'failed', reason: messageOf(error) }
  } finally {
    await Promise.all(programs.map((program) => program.kill()))
    // A killed process may still be ending its system call.
    rmSync(folder, { recursive: true, force: true, maxRetries: 10 })
  }
}
