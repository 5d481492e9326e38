/** Process groups: who is in one, whose they are, and how they end. */

import { spawnSync } from 'node:child_process'
import { readFileSync, readdirSync } from 'node:fs'
import { now, sleep } from './clock.js'

export interface ProcessFacts {
  pid: number
  parent: number
  group: number
  command: string
}

/** The variable that every process of a race carries, also one that has left its group: its value is the race's folder. */
export const MARK = 'WARMSWAP_RACE'

/** All processes that are alive; a zombie is not. */
export function livingProcesses(): ProcessFacts[] {
  return process.platform === 'linux' ? fromProc() : fromPs()
}

function fromProc(): ProcessFacts[] {
  return numbers('/proc').flatMap((pid) => {
    const stat = read(`/proc/${pid}/stat`)
    // The name in parentheses may contain spaces and parentheses itself: the fields begin after the last one.
    const [state, parent, group] = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
    if (stat === '' || state === 'Z' || state === 'X') return []
    return [{ pid, parent: Number(parent), group: Number(group), command: commandOf(pid) || stat }]
  })
}

function fromPs(): ProcessFacts[] {
  const { stdout } = spawnSync('ps', ['-axo', 'pid=,ppid=,pgid=,stat=,command='], { encoding: 'utf8' })
  return stdout.split('\n').flatMap((line) => {
    const [, pid, parent, group, state, command] = /^\s*(\d+)\s+(\d+)\s+(\d+)\s+(\S+)\s+(.*)$/.exec(line) ?? []
    if (pid === undefined || state?.startsWith('Z')) return []
    return [{ pid: Number(pid), parent: Number(parent), group: Number(group), command: command ?? '' }]
  })
}

function commandOf(pid: number): string {
  return read(`/proc/${pid}/cmdline`).replaceAll('\0', ' ').trim()
}

/** Whether a process carries the mark of this race. Only Linux shows the environment of others. */
export function isMarked(pid: number, mark: string): boolean {
  return read(`/proc/${pid}/environ`).split('\0').includes(`${MARK}=${mark}`)
}

/** The living processes of these groups, those that descend from them, and those that carry the mark. */
export function ownedProcesses(groups: ReadonlySet<number>, mark: string): ProcessFacts[] {
  const living = livingProcesses()
  const owned = new Set(living.filter(({ pid, group }) => groups.has(group) || isMarked(pid, mark)).map(({ pid }) => pid))
  return living.filter((each) => owned.has(each.pid) || descendsFrom(each, owned, living))
}

/** Whether one of its ancestors is in the set. */
export function descendsFrom(one: ProcessFacts, ancestors: ReadonlySet<number>, living: readonly ProcessFacts[]): boolean {
  const parents = new Map(living.map(({ pid, parent }) => [pid, parent]))
  for (let pid: number | undefined = one.parent; pid !== undefined && pid > 1; pid = parents.get(pid)) {
    if (ancestors.has(pid)) return true
  }
  return false
}

/** Who is gone needs no signal; nor does a group of zombies, which is EPERM on macOS. Who must end is waited for. */
export function signalProcess(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal)
  } catch (error) {
    if (!['ESRCH', 'EPERM'].includes((error as NodeJS.ErrnoException).code ?? '')) throw error
  }
}

export function signalGroup(group: number, signal: NodeJS.Signals): void {
  signalProcess(-group, signal)
}

/** No event tells that a group has become empty, so it is asked for this often. */
const POLL_MS = 5

/** Resolves with who is still there when the time is up; empty if nobody. */
export async function waitUntilEmpty(group: number, deadlineMs: number): Promise<ProcessFacts[]> {
  const until = now() + deadlineMs
  for (;;) {
    const left = isEmpty(group) ? [] : livingProcesses().filter((each) => each.group === group)
    if (left.length === 0 || now() >= until) return left
    await sleep(POLL_MS)
  }
}

/** Cheap, and true of most groups as soon as their leader has been reaped: only zombies make the walk through /proc necessary. */
export function isEmpty(group: number): boolean {
  try {
    process.kill(-group, 0)
    return false
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'ESRCH'
  }
}

export function nameProcesses(processes: readonly ProcessFacts[]): string {
  return processes.map(({ pid, command }) => `${pid} (${command.slice(0, 100)})`).join(', ')
}

export function numbers(folder: string): number[] {
  return readdirSync(folder)
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
}

/** Empty when it is gone or not ours to read. */
function read(file: string): string {
  try {
    return readFileSync(file, 'latin1')
  } catch {
    return ''
  }
}
