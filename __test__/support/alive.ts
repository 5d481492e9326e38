/**
 * Whether a process is alive, according to the kernel alone: also for tests that check the race kit, which has its own
 * method.
 */

import { readFileSync } from 'node:fs'

/** A zombie is not. */
export function isAlive(pid: number): boolean {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
    // The name in parentheses may hold anything: the state comes after the last one.
    return !['Z', 'X'].includes(stat[stat.lastIndexOf(')') + 2] as string)
  } catch {
    return false
  }
}
