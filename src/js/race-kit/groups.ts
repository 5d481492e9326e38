/** Process groups: their members, the race they belong to, and how they are ended. */

import { descendsFrom, environmentOf, type ProcessFacts, runningProcesses, signalProcess } from '../keeper/processes.js'
import { now, sleep } from './clock.js'

export {
  descendsFrom,
  nameProcesses,
  numbers,
  type ProcessFacts,
  runningProcesses,
  signalProcess,
} from '../keeper/processes.js'

/** Variable that every process of a race carries, even one that has left its group. Its value is the race's folder. */
export const MARK = 'WARMSWAP_RACE'

/** Variable with the nonce of the process's incarnation. */
export const NONCE = 'WARMSWAP_RACE_NONCE'

/** Whether a process carries the mark of this race. Only Linux shows the environment of other processes. */
export function isMarked(pid: number, mark: string): boolean {
  return environmentOf(pid).includes(`${MARK}=${mark}`)
}

/** The nonce of the incarnation that started a process. */
export function nonceOf(pid: number): string | undefined {
  return environmentOf(pid)
    .find((each) => each.startsWith(`${NONCE}=`))
    ?.slice(NONCE.length + 1)
}

/** The running processes of these groups, those that descend from them, and those that carry the mark. */
export function ownedProcesses(groups: ReadonlySet<number>, mark: string): ProcessFacts[] {
  const running = runningProcesses()
  const owned = new Set(
    running.filter(({ pid, group }) => groups.has(group) || isMarked(pid, mark)).map(({ pid }) => pid),
  )
  return running.filter((each) => owned.has(each.pid) || descendsFrom(each, owned, running))
}

export function signalGroup(group: number, signal: NodeJS.Signals): void {
  signalProcess(-group, signal)
}

/** Polling interval in milliseconds: no event reports that a group has become empty. */
const POLL_MS = 5

/** Resolves with the processes that still run when the time is up. Empty if there are none. */
export async function waitUntilEmpty(group: number, deadlineMs: number): Promise<ProcessFacts[]> {
  const until = now() + deadlineMs
  for (;;) {
    const left = isEmpty(group) ? [] : runningProcesses().filter((each) => each.group === group)
    if (left.length === 0 || now() >= until) return left
    await sleep(POLL_MS)
  }
}

/** A fast check that suffices for most groups once their leader was reaped: only zombies require reading /proc. */
export function isEmpty(group: number): boolean {
  try {
    process.kill(-group, 0)
    return false
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'ESRCH'
  }
}
