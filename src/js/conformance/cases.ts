/** What a case is, and what it gets. */

import type { Program } from './program.js'

export interface CaseContext {
  /** An empty folder of this case, removed after it. */
  folder: string
  /** The program under test, started for this case. */
  program: Program
  /** Starts it again, after the case has killed it. */
  restart(): Promise<Program>
}

export interface Case {
  /** The format and a number, such as 'bundles-03'. Never changes. */
  id: string
  /** What has to hold. */
  title: string
  /** The operations that the program needs to implement. */
  needs: readonly string[]
  run(context: CaseContext): Promise<void>
}

/** Numbers the cases of one format. New cases are added at the end. */
export function numbered(format: string, cases: readonly Omit<Case, 'id'>[]): Case[] {
  return cases.map((each, index) => ({ id: `${format}-${String(index + 1).padStart(2, '0')}`, ...each }))
}

/** Fails the case with this message unless the condition holds. */
export function check(condition: boolean, message: string): asserts condition {
  if (!condition) throw new Error(message)
}

/** Fails the case unless both values are the same JSON. */
export function same(what: string, found: unknown, expected: unknown): void {
  const [left, right] = [found, expected].map((value) => JSON.stringify(value))
  check(left === right, `${what} is ${left}. Expected ${right}`)
}
