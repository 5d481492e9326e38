/**
 * `warmswap lock run`: holds a lock for a command of any language, as flock(1) does.
 *
 * The lock outlives this process as long as the command runs. In kernel mode the command inherits the descriptor that is
 * locked. In lease mode a holder (lock-hold.ts) in a session of its own renews the lease, and the command inherits the
 * other end of a pipe that the holder reads: it releases the lock when the pipe is closed.
 */

import { type ChildProcess, type IOType, spawn } from 'node:child_process'
import { once } from 'node:events'
import { constants } from 'node:os'
import { dirname, resolve } from 'node:path'
import type { Stream } from 'node:stream'
import { isatty } from 'node:tty'
import { fileURLToPath } from 'node:url'
import { startOf } from '../keeper/processes.js'
import { acquireLock, type LockOptions } from '../locks/index.js'
import { isWarmswapError, WarmswapError } from '../native/errors.js'
import { durationOf, parse, wrongArguments } from './arguments.js'
import type { FromHolder, HoldOptions, ToHolder } from './lock-hold.js'
import { reportNothing, reportWait } from './lock-wait.js'

const USAGE = "one path, then '--' and the command"

/** Exit codes that shells use. */
const CANNOT_START: Record<string, number> = { ENOENT: 127, EACCES: 126 }

/** Descriptor by which the command keeps the lock: higher than those that scripts open by number. */
const INHERITED_FD = 62

/** What is held for a command. */
export interface CommandLock {
  readonly env: Record<string, string>
  /** The descriptor that the command inherits. None with --close. */
  readonly inherited?: number | Stream
  /** Aborts when the lock is lost. */
  readonly lost: AbortSignal
  started(command: ChildProcess): void
  release(): Promise<void>
}

/** EX_TEMPFAIL of sysexits.h: the lock was not free in time. */
const NOT_FREE = 75

export async function run(args: string[], help: string): Promise<number> {
  const { path, command, rest, close, options } = parseRun(args, help)
  // From here on, a signal does not end this process before the command was notified.
  const signals = new Signals()
  let held: CommandLock
  try {
    held = await hold(path, options, close, signals.early)
  } catch (error) {
    if (signals.exitCode !== undefined) return signals.exitCode
    if (!isWarmswapError(error) || error.code !== 'ERR_LOCK_TIMEOUT') throw error
    const reason = error.message.replace('options.timeoutMs', '--timeout')
    if (options.json) console.log(JSON.stringify({ outcome: 'error', code: error.code, reason }))
    console.error(`warmswap: ${reason} [${error.code}]`)
    return NOT_FREE
  }
  if (signals.exitCode !== undefined) {
    await held.release()
    return signals.exitCode
  }
  try {
    return await execute(command, rest, held, signals)
  } finally {
    await held.release()
  }
}

interface RunArguments {
  path: string
  command: string
  rest: string[]
  close: boolean
  options: HoldOptions & { json: boolean }
}

export const RUN_OPTIONS = { timeout: 'text', 'no-wait': 'flag', close: 'flag', metadata: 'text' } as const

function parseRun(args: string[], help: string): RunArguments {
  const separator = args.indexOf('--')
  const own = separator < 0 ? args : args.slice(0, separator)
  const [command, ...rest] = separator < 0 ? [] : args.slice(separator + 1)
  const { values, positionals } = parse('lock run', help, RUN_OPTIONS, own, { min: 1, what: USAGE })
  if (command === undefined) throw wrongArguments(`the command to run is missing. Expected ${USAGE}`)
  if (values['no-wait'] && values.timeout !== undefined)
    throw wrongArguments("options '--no-wait' and '--timeout' exclude each other")
  const [place] = positionals as [string]
  if (/^[a-z][a-z0-9+.-]+:\/\//i.test(place))
    throw wrongArguments(
      `'warmswap lock run' takes a path of this machine, and got a URL. For one run among many machines use 'warmswap cache ensure'`,
    )
  const path = resolve(place)
  return {
    path,
    command,
    rest,
    close: values.close ?? false,
    options: {
      metadata: { command: withoutOptions(command, rest), directory: dirname(path), ...metadataOf(values.metadata) },
      timeoutMs: values['no-wait'] ? 0 : durationOf('--timeout', values.timeout),
      quiet: values.quiet ?? false,
      json: values.json ?? false,
    },
  }
}

function metadataOf(text: string | undefined): object {
  if (text === undefined) return {}
  try {
    const value: unknown = JSON.parse(text)
    if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value
  } catch {
    // The error below names what is expected. The value is not shown: it can be a secret.
  }
  throw wrongArguments(`--metadata is not a JSON object. Expected one such as '{"url":"http://localhost:3000"}'`)
}

/** All users can read the record, and command-line options can contain tokens. */
function withoutOptions(command: string, args: string[]): string {
  const first = args.findIndex((arg) => arg.startsWith('-'))
  return [command, ...(first < 0 ? args : args.slice(0, first))].join(' ')
}

/** Forwards signals to the command. A signal that comes before the command has started ends the wait for the lock. */
export class Signals {
  readonly #early = new AbortController()
  #received: NodeJS.Signals | undefined
  #command: ChildProcess | undefined
  #isNew = false

  constructor() {
    for (const signal of ['SIGTERM', 'SIGHUP', 'SIGINT'] as const) process.on(signal, () => this.#receive(signal))
  }

  /** Aborts on a signal that comes before the command has started. */
  get early(): AbortSignal {
    return this.#early.signal
  }

  /** The exit code after such a signal, as in a shell. */
  get exitCode(): number | undefined {
    return this.#received === undefined ? undefined : 128 + constants.signals[this.#received]
  }

  forwardTo(command: ChildProcess): void {
    this.#command = command
    this.#isNew = true
    // A signal that came while the command was being started is handled in the next turn of the event loop.
    setImmediate(() => setImmediate(() => (this.#isNew = false)))
  }

  #receive(signal: NodeJS.Signals): void {
    if (this.#command === undefined) {
      this.#received ??= signal
      this.#early.abort()
      return
    }
    // A terminal sends its Ctrl-C to the command too; to many programs a second one means 'immediately'. A new command
    // may have been started after it.
    if (signal !== 'SIGINT' || this.#isNew || !isatty(0)) this.#command.kill(signal)
  }
}

async function hold(path: string, given: HoldOptions, close: boolean, signal: AbortSignal): Promise<CommandLock> {
  const { metadata, timeoutMs, quiet } = given
  const options: LockOptions = {
    metadata,
    signal,
    onWait: quiet || timeoutMs === 0 ? reportNothing : reportWait,
    ...(timeoutMs !== undefined && { timeoutMs }),
  }
  try {
    const lock = await acquireLock(path, { ...options, coverChildren: !close })
    return {
      env: lock.childEnv(),
      ...(close ? {} : { inherited: lock.childFd() }),
      lost: lock.signal,
      started: () => {},
      release: async () => void lock.release(),
    }
  } catch (error) {
    // The path is locked by lease. Where something else is not supported the holder reports it.
    if (close || !isWarmswapError(error) || error.code !== 'ERR_UNSUPPORTED') throw error
    return await holdApart(path, given, signal)
  }
}

/** Starts a process that holds the lock and does not receive the signals of this process, its group or its terminal. */
async function holdApart(path: string, given: HoldOptions, signal: AbortSignal): Promise<CommandLock> {
  const program = fileURLToPath(new URL('./cli.js', import.meta.url))
  const holder = spawn(process.execPath, [program, 'lock', 'hold', path, JSON.stringify(given)], {
    detached: true,
    stdio: ['ignore', 'ignore', 'inherit', 'ipc', 'pipe'],
  })
  const ended = once(holder, 'exit')
  const lifeline = holder.stdio[4] as Stream & { destroy(): void }
  const end = async (): Promise<void> => {
    lifeline.destroy()
    await ended
  }
  signal.addEventListener('abort', () => lifeline.destroy(), { once: true })
  const answer = await Promise.race([
    once(holder, 'message').then(([message]) => message as FromHolder),
    ended.then(() => undefined),
  ])
  if (answer === undefined || !('held' in answer)) {
    await end()
    signal.throwIfAborted()
    throw new WarmswapError(
      answer?.failed.code ?? 'ERR_CLOSED',
      answer?.failed.message ?? `the process that was to hold '${path}' has ended`,
    )
  }
  const lost = new AbortController()
  void ended.then(() => lost.abort())
  holder.on('message', () => lost.abort())
  return {
    env: answer.held,
    inherited: lifeline,
    lost: lost.signal,
    started: ({ pid }) => pid !== undefined && send(holder, { command: pid, started: startOf(pid) }),
    async release() {
      send(holder, { release: true })
      await end()
    },
  }
}

/** If the process has ended, the exit handler reports it. */
function send(holder: ChildProcess, message: ToHolder): void {
  if (holder.connected) holder.send(message, () => {})
}

/** Runs a command that inherits what keeps the lock. Resolves with its exit code, as of a shell. */
export async function execute(
  command: string,
  args: string[],
  held: CommandLock,
  signals: Signals,
  cwd?: string,
): Promise<number> {
  const between: IOType[] = Array.from({ length: INHERITED_FD - 3 }, () => 'ignore')
  const stdio = [
    'inherit' as const,
    'inherit' as const,
    'inherit' as const,
    ...(held.inherited === undefined ? [] : [...between, held.inherited]),
  ]
  const child = spawn(command, args, { stdio, env: { ...process.env, ...held.env }, ...(cwd && { cwd }) })
  signals.forwardTo(child)
  held.started(child)
  held.lost.addEventListener('abort', () => child.kill('SIGTERM'), { once: true })
  return await new Promise<number>((done, fail) => {
    child.once('exit', (code, signal) => done(code ?? 128 + (signal === null ? 0 : constants.signals[signal])))
    child.once('error', (error: NodeJS.ErrnoException) => {
      const exitCode = CANNOT_START[error.code ?? '']
      if (exitCode === undefined) return fail(error)
      console.error(`warmswap: '${command}' cannot be started: ${error.code}`)
      done(exitCode)
    })
  })
}
