/** Processes as the kernel shows them: /proc on Linux, ps elsewhere. */

import { spawnSync } from 'node:child_process'
import { readdirSync, readFileSync } from 'node:fs'

export interface ProcessFacts {
  pid: number
  parent: number
  group: number
  /** 0 where the platform does not show it. */
  session: number
  /** Distinguishes the process from a later one with its pid: the kernel's start time, in the platform's own form. */
  started: string
  command: string
}

type Stat = Omit<ProcessFacts, 'command'> & { isZombie: boolean }

/** All processes that are alive; a zombie is not. */
export function runningProcesses(): ProcessFacts[] {
  return process.platform === 'linux' ? fromProc() : fromPs()
}

function fromProc(): ProcessFacts[] {
  return numbers('/proc').flatMap((pid) => {
    const stat = statOf(pid)
    return stat === undefined || stat.isZombie ? [] : [{ ...stat, command: commandOf(pid) }]
  })
}

/** Also of a zombie: its pid is not free yet. */
function statOf(pid: number): Stat | undefined {
  const text = read(`/proc/${pid}/stat`)
  if (text === '') return undefined
  // The name in parentheses may contain spaces and parentheses itself: the fields begin after the last one.
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ')
  const [state, parent, group, session] = fields
  return {
    pid,
    parent: Number(parent),
    group: Number(group),
    session: Number(session),
    started: fields[19] as string,
    isZombie: state === 'Z' || state === 'X',
  }
}

const PS_LINE = /^\s*(\d+)\s+(\d+)\s+(\d+)\s+(\S+)\s+(\S+\s+\S+\s+\S+\s+\S+\s+\S+)\s+(.*)$/

function fromPs(...which: string[]): ProcessFacts[] {
  const { stdout } = spawnSync(
    'ps',
    ['-ww', ...(which.length > 0 ? which : ['-ax']), '-o', 'pid=,ppid=,pgid=,stat=,lstart=,command='],
    { encoding: 'utf8', env: { ...process.env, LC_ALL: 'C' } },
  )
  return (stdout ?? '').split('\n').flatMap((line) => {
    const [, pid, parent, group, state, started, command] = PS_LINE.exec(line) ?? []
    if (pid === undefined || state?.startsWith('Z')) return []
    return [
      {
        pid: Number(pid),
        parent: Number(parent),
        group: Number(group),
        session: 0,
        started: started as string,
        command: command ?? '',
      },
    ]
  })
}

/** The processes in the group or the session that this process leads. Linux only. */
export function groupOf(leader: number): number[] {
  return numbers('/proc').filter((pid) => {
    const stat = statOf(pid)
    return stat !== undefined && (stat.group === leader || stat.session === leader)
  })
}

/** When the process with this pid started; `undefined` where there is none. Cheap on Linux only. */
export function startOf(pid: number): string | undefined {
  return process.platform === 'linux' ? statOf(pid)?.started : fromPs('-p', String(pid))[0]?.started
}

/** Whether the process is still running: neither ended nor replaced by another one with its pid. */
export function isRunning(pid: number, started: string | undefined): boolean {
  if (process.platform !== 'linux') return started !== undefined && startOf(pid) === started
  const stat = statOf(pid)
  return stat !== undefined && !stat.isZombie && stat.started === started
}

/** The parent of a process; `undefined` where the process has ended or its parent cannot be read cheaply. */
export function parentOf(pid: number): number | undefined {
  return process.platform === 'linux' ? statOf(pid)?.parent : undefined
}

function commandOf(pid: number): string {
  return read(`/proc/${pid}/cmdline`).replaceAll('\0', ' ').trim() || read(`/proc/${pid}/comm`).trim()
}

/** The environment that a process was started with, as NAME=value. Empty where it cannot be read; only Linux shows it. */
export function environmentOf(pid: number): string[] {
  return process.platform === 'linux' ? read(`/proc/${pid}/environ`).split('\0') : []
}

/** Off Linux: more than any machine starts in a second. */
const FORKS_A_SECOND = 1000

/** How many processes and threads the kernel has started; off Linux, a number that grows at least as fast. */
export function forks(): number {
  if (process.platform !== 'linux') return (Date.now() / 1000) * FORKS_A_SECOND
  return Number(/^processes (\d+)/m.exec(read('/proc/stat'))?.[1] ?? 0)
}

/** Whether one of its ancestors is in the set. */
export function descendsFrom(
  one: ProcessFacts,
  ancestors: ReadonlySet<number>,
  running: readonly ProcessFacts[],
): boolean {
  const parents = new Map(running.map(({ pid, parent }) => [pid, parent]))
  for (let pid: number | undefined = one.parent; pid !== undefined && pid > 1; pid = parents.get(pid)) {
    if (ancestors.has(pid)) return true
  }
  return false
}

/**
 * Sends a signal to a process, or with a negative number to a group. One that has ended needs none; nor does a group of
 * zombies, for which macOS answers EPERM.
 */
export function signalProcess(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal)
  } catch (error) {
    if (!['ESRCH', 'EPERM'].includes((error as NodeJS.ErrnoException).code ?? '')) throw error
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

/** Empty where the file no longer exists or may not be read. */
export function read(file: string): string {
  try {
    return readFileSync(file, 'latin1')
  } catch {
    return ''
  }
}
