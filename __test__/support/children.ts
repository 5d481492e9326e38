/**
 * Real child processes that a test exchanges messages with. Processes that a test started are killed when it has ended,
 * and a process left behind by an ended child fails the test. For servers that are restarted, and for kills at a swept
 * moment or at a race point, use `race` of warmswap/vitest.
 */

import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { afterEach, beforeEach } from 'vitest'
import { isEmpty, nameProcesses, type ProcessFacts, signalGroup, waitUntilEmpty } from '../../src/js/race-kit/groups.js'
import { testingAddon } from './paths.js'

export interface Child {
  readonly process: ChildProcess
  readonly pid: number
  /** Resolves with the next line of its standard output that matches; rejects if it ends first. */
  line(pattern: RegExp): Promise<string>
  /** Its standard output, line by line. */
  readonly lines: readonly string[]
  /** Its standard error. */
  readonly stderr: () => string
  say(text: string): void
  signal(name: NodeJS.Signals): void
  /** Resolves with exit code and signal once it has ended and its output was read. */
  readonly ended: Promise<{ code: number | null; signal: NodeJS.Signals | null }>
}

export interface ChildOptions {
  cwd?: string
  env?: Record<string, string>
  /** Loads the addon with fault points and seeded bugs. */
  testing?: boolean
  uid?: number
}

/** The children of the current test. A child that beforeAll starts is ended by its suite. */
let ofTest: Set<Child> | undefined

beforeEach(() => {
  ofTest = new Set()
})

afterEach(async () => {
  const children = [...(ofTest ?? [])]
  ofTest = undefined
  const outlived = (await Promise.all(children.map(end))).flat()
  if (outlived.length > 0) throw new Error(`left behind, and killed now: ${nameProcesses(outlived)}`)
})

/** Time limit for processes that are just ending, and for SIGKILL. */
const END_MS = 5000

/** Kills its group. Resolves with the processes that outlived it. */
async function end({ pid, process: { exitCode, signalCode } }: Child): Promise<ProcessFacts[]> {
  const hadEnded = exitCode !== null || signalCode !== null
  const outlived = hadEnded ? await waitUntilEmpty(pid, END_MS) : []
  signalGroup(pid, 'SIGKILL')
  await waitUntilEmpty(pid, END_MS)
  return outlived
}

/** Starts a program in a process group of its own. */
export function start(command: string, args: string[] = [], options: ChildOptions = {}): Child {
  const env = {
    ...process.env,
    ...options.env,
    ...(options.testing ? { NAPI_RS_NATIVE_LIBRARY_PATH: testingAddon } : {}),
  }
  const child = spawn(command, args, {
    cwd: options.cwd,
    env,
    uid: options.uid,
    detached: true,
    stdio: ['pipe', 'pipe', 'pipe'],
  })
  const lines: string[] = []
  const waiting: { pattern: RegExp; resolve: (line: string) => void; reject: (error: Error) => void }[] = []
  let consumed = 0
  let stderr = ''
  child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text))
  child.stdin.on('error', () => {})

  const settle = (): void => {
    for (const waiter of [...waiting]) {
      const index = lines.findIndex((line, at) => at >= consumed && waiter.pattern.test(line))
      if (index < 0) continue
      consumed = index + 1
      waiting.splice(waiting.indexOf(waiter), 1)
      waiter.resolve(lines[index] as string)
    }
  }
  createInterface({ input: child.stdout }).on('line', (line) => {
    lines.push(line)
    settle()
  })
  const ended = once(child, 'close').then(([code, signal]) => {
    settle()
    for (const { pattern, reject } of waiting.splice(0))
      reject(
        new Error(`the child ended (${signal ?? code}) before it wrote ${pattern}\n${lines.join('\n')}\n${stderr}`),
      )
    return { code: code as number | null, signal: signal as NodeJS.Signals | null }
  })
  const started: Child = {
    process: child,
    pid: child.pid as number,
    lines,
    stderr: () => stderr,
    ended,
    line: (pattern) =>
      new Promise((resolve, reject) => {
        waiting.push({ pattern, resolve, reject })
        if (child.exitCode !== null || child.signalCode !== null) void ended.then(settle)
        settle()
      }),
    say: (text) => void child.stdin.write(`${text}\n`),
    signal: (name) => signalGroup(child.pid as number, name),
  }
  const tracked = ofTest?.add(started)
  // The kernel may assign the number of an empty group to another process.
  child.once('exit', () => isEmpty(started.pid) && tracked?.delete(started))
  return started
}
