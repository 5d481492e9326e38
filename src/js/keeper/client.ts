/** The host's side of its keeper (keeper.ts). Each thread that starts processes has one keeper. */

import { type ChildProcess, spawn } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import type { Socket } from 'node:net'
import { fileURLToPath } from 'node:url'
import { isMainThread } from 'node:worker_threads'
import { type Charge, type Fact, KEEPER_MARK, WORKER_MARK } from './facts.js'
import { forks, startOf } from './processes.js'

/** A process that the keeper ends when this process ends. */
export interface Kept {
  /** The process was started, as the leader of a group and session. */
  started(pid: number): void
  /** Its group has ended, or it could not be started. */
  ended(): void
}

/**
 * Announces a process before it is started, so that the keeper also ends it if this process is killed during the start.
 */
export function keep(charge: Charge): Kept {
  const { mark } = charge
  report(`charge ${mark}`, { charge })
  return {
    // Read before the next turn of the event loop: a process that was not reaped yet keeps its pid.
    started: (pid) =>
      report(`leader ${mark}`, {
        leader: pid,
        started: process.platform === 'linux' ? startOf(pid) : undefined,
        of: mark,
      }),
    ended() {
      facts.delete(`leader ${mark}`)
      if (charge.race === undefined) facts.delete(`charge ${mark}`)
      write({ ended: mark })
    },
  }
}

/** A value of {@link WORKER_MARK} that no other worker has. */
export function workerMark(): string {
  return `${process.pid}:${randomUUID()}`
}

/** Removes a folder when this process ends, unless it was reported as done. */
export function keepFolder(folder: string): void {
  watchOwnParent()
  report(`folder ${folder}`, { folder })
}

/** Removes a folder when this process ends, also by SIGKILL. */
export function removeAtEnd(folder: string): void {
  report(`folder ${folder}`, { folder })
}

/** The race of this folder has cleaned up itself. */
export function doneWith(folder: string): void {
  facts.delete(`folder ${folder}`)
  for (const [key, fact] of facts) if ('charge' in fact && fact.charge.race === folder) facts.delete(key)
  write({ done: folder })
}

/**
 * Ends this process with its parent: vitest's main process is the parent of workers of pool `forks`, which otherwise
 * keep running.
 */
function watchOwnParent(): void {
  if (!isMainThread || !process.connected || process.env.VITEST_POOL_ID === undefined || facts.has('parent')) return
  report('parent', {
    host: process.pid,
    hostStarted: process.platform === 'linux' ? startOf(process.pid) : undefined,
    parent: process.ppid,
  })
}

/** Facts for the keeper, by subject. If the keeper ends, the next one gets all of them. */
const facts = new Map<string, Fact>()
let keeper: ChildProcess | undefined
let hasWarned = false
/**
 * Number of processes that the kernel had started before the first one of this host. A replacement keeper also counts
 * from there.
 */
let before: number | undefined

function report(key: string, fact: Fact): void {
  facts.set(key, fact)
  // A keeper that starts gets all facts.
  if (keeper === undefined) keeper = startKeeper()
  else write(fact)
}

/** Written synchronously: the kernel's pipe buffer holds the facts, even while the keeper is still starting. */
function write(...some: Fact[]): void {
  keeper?.stdin?.write(some.map((fact) => `${JSON.stringify(fact)}\n`).join(''))
}

/** Restarts are limited: if one does not help, another would not either. */
const SHORT_LIFE_MS = 1000

function startKeeper(): ChildProcess | undefined {
  // Without process groups there is nothing to end.
  if (process.platform === 'win32') return undefined
  before ??= forks()
  const begun = performance.now()
  let started: ChildProcess
  try {
    started = spawn(
      process.execPath,
      ['--v8-pool-size=0', fileURLToPath(new URL('./keeper.js', import.meta.url)), String(before)],
      { cwd: '/', detached: true, stdio: ['pipe', 'ignore', 'inherit'], env: environment() },
    )
  } catch (error) {
    warn((error as Error).message)
    return undefined
  }
  keeper = started
  write(...facts.values())
  started.on('error', () => {})
  started.stdin?.on('error', () => {})
  const lost = (how: string): void => {
    if (keeper !== started) return
    keeper = undefined
    if (facts.size === 0) return
    if (performance.now() - begun > SHORT_LIFE_MS) keeper = startKeeper()
    else warn(how)
  }
  started.once('error', (error) => lost(error.message))
  started.once('exit', (code, signal) => lost(signal ?? `exit code ${code}`))
  started.unref()
  // Neither the keeper nor its pipe may keep the host alive.
  ;(started.stdin as Socket | null)?.unref()
  return started
}

/** The environment without the marks of this process, without preloaded code, and without coverage reports. */
function environment(): NodeJS.ProcessEnv {
  const {
    WARMSWAP_RACE: _race,
    WARMSWAP_RACE_NONCE: _nonce,
    [WORKER_MARK]: _worker,
    NODE_OPTIONS: _options,
    NODE_V8_COVERAGE: _coverage,
    ...rest
  } = process.env
  return { ...rest, [KEEPER_MARK]: String(process.pid) }
}

function warn(how: string): void {
  if (hasWarned) return
  hasWarned = true
  process.emitWarning(
    `the keeper of this process could not be kept running (${how}): workers are left behind if this process is killed`,
    { code: 'WARMSWAP_KEEPER' },
  )
}
