/**
 * Processes as fixtures: each has its own group, reports when it is ready, restarts on its port, and is ended with all
 * processes that it started.
 */

import { type ChildProcess, spawn } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { type Kept, keep } from '../keeper/client.js'
import { listenerOf } from '../keeper/tcp-table.js'
import { invalidArgument, WarmswapError } from '../native/errors.js'
import * as validate from '../native/validate.js'
import { withCleanUpErrors } from './clean-up.js'
import { now, sleep } from './clock.js'
import { isEmpty, MARK, NONCE, nameProcesses, type ProcessFacts, signalGroup, waitUntilEmpty } from './groups.js'
import { LineReader, OutputTail } from './output.js'
import { staysBusy } from './ports.js'
import type { Random } from './random.js'
import { waitUntilReady } from './readiness.js'
import type { Timeline } from './timeline.js'
import type { Instance, Interval, StartOptions } from './types.js'

/** What a race provides to its instances. */
export interface Surroundings {
  /** Value of the race's mark. */
  folder: string
  timeline: Timeline
  random: Random
  signal: AbortSignal
  /** Time limit of a start, in milliseconds. */
  startLimitMs: number
  /** Called with every new nonce. */
  onNonce(nonce: string, instance: ManagedInstance): void
  /** Called with processes that outlived a graceful end of the process that started them. */
  onOutlived(instance: string, processes: readonly ProcessFacts[]): void
}

/** Time for a graceful end before the group is killed, in milliseconds. */
const STOP_DEADLINE_MS = 5000
/** After SIGKILL only a process in an uninterruptible system call is still there. */
const KILL_DEADLINE_MS = 5000
/** The pipes of a killed group close with it. A process that has left the group may hold them open. */
const OUTPUT_GRACE_MS = 500

/** One run of the command: from spawn to the end of its group. */
interface Incarnation {
  readonly number: number
  readonly nonce: string
  readonly child: ChildProcess
  readonly kept: Kept
  readonly started: number
  readonly exited: Promise<string>
  readonly closed: Promise<void>
  ready?: Interval
  /** Set as soon as its end is requested, so that an unexpected exit can be recognised. */
  ending: boolean
  ended: boolean
}

export class ManagedInstance implements Instance {
  readonly #stdout = new OutputTail()
  readonly #stderr = new OutputTail()
  readonly #lineListeners = new Set<(line: string) => void>()
  readonly #messageListeners = new Set<(message: unknown) => void>()
  /** Operations run one after the other: a restart during a restart comes after it. */
  #turn: Promise<unknown> = Promise.resolve()
  #now: Incarnation | undefined
  #count = 0
  /** The leaders of all its incarnations. */
  readonly #leaders = new Set<number>()

  constructor(
    readonly name: string,
    private readonly options: StartOptions,
    private readonly surroundings: Surroundings,
  ) {}

  get pid(): number {
    return this.#current.child.pid as number
  }

  get nonce(): string {
    return this.#current.nonce
  }

  get ready(): Interval {
    return this.#current.ready as Interval
  }

  get output(): { stdout: string; stderr: string } {
    return { stdout: this.#stdout.toString(), stderr: this.#stderr.toString() }
  }

  /** Whether processes that made a session of their own end with the race. */
  get killsDetached(): boolean {
    return this.options.killDetached ?? true
  }

  /** Whether the session of one of its incarnations has this number. */
  hasLed(session: number): boolean {
    return this.#leaders.has(session)
  }

  /** Its process group, while any member may be alive. */
  get group(): number | undefined {
    return this.#now === undefined || this.#now.ended ? undefined : this.#now.child.pid
  }

  get #current(): Incarnation {
    return this.#now as Incarnation
  }

  start(): Promise<Interval> {
    return this.#inTurn(() => this.#start())
  }

  stop(options: { deadlineMs?: number } = {}): Promise<void> {
    return this.#inTurn(() =>
      this.#end('graceful', validate.milliseconds('options.deadlineMs', options.deadlineMs ?? STOP_DEADLINE_MS)),
    )
  }

  kill(): Promise<void> {
    return this.#inTurn(() => this.#end('kill'))
  }

  async restart(how: 'graceful' | 'kill' = 'graceful'): Promise<Interval> {
    validate.oneOf('how', how, ['graceful', 'kill'])
    return await this.#inTurn(async () => {
      await this.#end(how)
      return await this.#start()
    })
  }

  pause(): void {
    this.#note('paused')
    if (this.group !== undefined) signalGroup(this.group, 'SIGSTOP')
  }

  resume(): void {
    this.#note('resumed')
    if (this.group !== undefined) signalGroup(this.group, 'SIGCONT')
  }

  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const result = this.#turn.then(work)
    this.#turn = result.catch(() => {})
    return result
  }

  async #start(): Promise<Interval> {
    await this.#requirePort()
    const incarnation = this.#spawn()
    this.#now = incarnation
    const limit = AbortSignal.timeout(this.surroundings.startLimitMs)
    const stop = new AbortController()
    let seen = 'no sign of it'
    try {
      const ready = waitUntilReady({
        ready: this.options.ready,
        nonce: incarnation.nonce,
        nonceFrom: this.options.nonceFrom,
        started: incarnation.started,
        signs: {
          onLine: (listener) => subscribe(this.#lineListeners, listener),
          onMessage: (listener) => subscribe(this.#messageListeners, listener),
        },
        random: this.surroundings.random,
        signal: AbortSignal.any([stop.signal, limit, this.surroundings.signal]),
        seen: (what) => (seen = what),
      })
      const exit = incarnation.exited.then((how) => {
        throw this.#failure('ERR_WORKER_EXITED', `ended (${how}) before it was ready`)
      })
      incarnation.ready = await Promise.race([ready, exit])
      this.#note('ready', { at: incarnation.ready.after, until: incarnation.ready.before })
      return incarnation.ready
    } catch (error) {
      const problem = limit.aborted
        ? this.#failure(
            'ERR_NOT_READY',
            `was not ready within ${this.surroundings.startLimitMs} ms; last seen: ${seen}`,
          )
        : error
      throw withCleanUpErrors(
        problem,
        await this.#end('kill').then(
          () => [],
          (failure: unknown) => [failure],
        ),
      )
    } finally {
      stop.abort()
    }
  }

  #spawn(): Incarnation {
    const { options, surroundings } = this
    this.#count += 1
    const nonce = randomUUID()
    const [program, ...args] = typeof options.command === 'string' ? [options.command] : options.command
    const started = now()
    const kept = keep({
      mark: `${NONCE}=${nonce}`,
      killDetached: this.killsDetached,
      graceMs: 0,
      race: surroundings.folder,
    })
    const child = spawn(program as string, args, {
      cwd: options.cwd,
      env: this.#environment(nonce),
      detached: true,
      shell: typeof options.command === 'string',
      // Keep standard input open: vite and esbuild end when theirs closes.
      stdio: ['pipe', 'pipe', 'pipe', ...('ipc' in options.ready ? ['ipc' as const] : [])],
    })
    child.stdin?.on('error', () => {})
    if (child.pid === undefined) kept.ended()
    else {
      this.#leaders.add(child.pid)
      kept.started(child.pid)
    }
    surroundings.onNonce(nonce, this)
    const incarnation: Incarnation = {
      number: this.#count,
      nonce,
      child,
      kept,
      started,
      ending: false,
      ended: false,
      ...this.#watch(child),
    }
    void incarnation.exited.then((how) => {
      this.#note(incarnation.ending ? 'ended' : 'ended by itself', { detail: how })
      // The kernel may now assign its pid to another process.
      if (child.pid !== undefined && !isEmpty(child.pid)) return
      incarnation.ended = true
      kept.ended()
    })
    this.#note('started', { at: started, detail: `pid ${child.pid}` })
    return incarnation
  }

  #environment(nonce: string): NodeJS.ProcessEnv {
    const inherited = Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith('VITEST')))
    const port = this.options.port === undefined ? {} : { PORT: String(this.options.port.number) }
    return {
      ...inherited,
      ...port,
      ...this.options.env,
      [MARK]: this.surroundings.folder,
      [NONCE]: nonce,
      WARMSWAP_RACE_INCARNATION: String(this.#count),
    }
  }

  #watch(child: ChildProcess): Pick<Incarnation, 'exited' | 'closed'> {
    const streams = [
      { stream: child.stdout, tail: this.#stdout },
      { stream: child.stderr, tail: this.#stderr },
    ]
    for (const { stream, tail } of streams) {
      const reader = new LineReader()
      stream?.on('data', (chunk: Buffer) => {
        tail.add(chunk)
        if (process.env.WARMSWAP_RACE_MIRROR) process.stderr.write(chunk)
        for (const line of reader.push(chunk)) for (const listener of [...this.#lineListeners]) listener(line)
      })
    }
    child.on('message', (message) => [...this.#messageListeners].forEach((listener) => listener(message)))
    const exited = new Promise<string>((resolve) => {
      child.once('error', (error) => resolve(error.message))
      child.once('exit', (code, signal) => resolve(signal ?? `exit code ${code}`))
    })
    const closed = new Promise<void>((resolve) => {
      child.once('error', () => resolve())
      child.once('close', () => resolve())
    })
    return { exited, closed }
  }

  /** A port that another process took while the instance was down is an error of the environment, not a finding. */
  async #requirePort(): Promise<void> {
    const number = this.options.port?.number
    if (number === undefined || !(await staysBusy(number))) return
    const pid = listenerOf(number)
    throw this.#failure(
      'ERR_IO',
      `cannot start: port ${number} is taken${pid === undefined ? '' : ` by process ${pid}`}`,
    )
  }

  async #end(how: 'graceful' | 'kill', deadlineMs = STOP_DEADLINE_MS): Promise<void> {
    const incarnation = this.#now
    const group = this.group
    if (incarnation === undefined || group === undefined) return
    incarnation.ending = true
    const left = how === 'kill' ? undefined : await this.#stopGroup(group, deadlineMs)
    if (left !== undefined && left.length > 0) this.#outlived(incarnation, left)
    if (left === undefined || left.length > 0) await killGroup(group)
    await incarnation.exited
    await Promise.race([incarnation.closed, sleep(OUTPUT_GRACE_MS)])
    incarnation.child.stdout?.destroy()
    incarnation.child.stderr?.destroy()
    incarnation.ended = true
    incarnation.kept.ended()
  }

  #outlived({ child }: Incarnation, left: readonly ProcessFacts[]): void {
    this.#note('did not stop, is killed', { detail: nameProcesses(left) })
    const leaderEnded = child.exitCode !== null || child.signalCode !== null
    if (leaderEnded) this.surroundings.onOutlived(this.name, left)
  }

  /** A stopped process takes SIGTERM only once it runs again. */
  async #stopGroup(group: number, deadlineMs: number): Promise<ProcessFacts[]> {
    signalGroup(group, 'SIGTERM')
    signalGroup(group, 'SIGCONT')
    return await waitUntilEmpty(group, deadlineMs)
  }

  #note(what: string, facts: { at?: number; until?: number; detail?: string } = {}): void {
    this.surroundings.timeline.record(`${this.name} (${this.#count})`, what, facts)
  }

  #failure(code: 'ERR_WORKER_EXITED' | 'ERR_NOT_READY' | 'ERR_IO', what: string): WarmswapError {
    const { stdout, stderr } = this.output
    const output = [stdout && `standard output:\n${tail(stdout)}`, stderr && `standard error:\n${tail(stderr)}`]
      .filter(Boolean)
      .join('\n')
    return new WarmswapError(code, `'${this.name}' ${what}${output && `\n${output}`}`)
  }
}

async function killGroup(group: number): Promise<void> {
  signalGroup(group, 'SIGKILL')
  const left = await waitUntilEmpty(group, KILL_DEADLINE_MS)
  if (left.length > 0)
    throw new WarmswapError('ERR_TIMEOUT', `still alive ${KILL_DEADLINE_MS} ms after SIGKILL: ${nameProcesses(left)}`)
}

/** Enough of the output for a message. */
function tail(text: string): string {
  return text.trimEnd().split('\n').slice(-20).join('\n')
}

function subscribe<T>(listeners: Set<T>, listener: T): () => void {
  listeners.add(listener)
  return () => listeners.delete(listener)
}

/** Refuses invalid options before any process is started. */
export function checkStartOptions(given: StartOptions): StartOptions {
  const { command, cwd, env, port, ready, nonceFrom, killDetached } = validate.options('options', given, [
    'command',
    'cwd',
    'env',
    'port',
    'ready',
    'nonceFrom',
    'killDetached',
  ])
  const isCommand =
    typeof command === 'string'
      ? command !== ''
      : Array.isArray(command) && command.length > 0 && command.every((each) => typeof each === 'string')
  if (!isCommand)
    throw invalidArgument('options.command', command, 'a shell command, or an array of a program and its arguments')
  if (cwd !== undefined) validate.string('options.cwd', cwd)
  if (env !== undefined && (typeof env !== 'object' || env === null))
    throw invalidArgument('options.env', env, 'an object of strings')
  if (port !== undefined) validate.wholeNumber('options.port.number', port?.number, 1)
  if (nonceFrom !== undefined) validate.oneOf('options.nonceFrom', nonceFrom, ['header', 'json'])
  if (killDetached !== undefined) validate.boolean('options.killDetached', killDetached)
  checkReady(ready)
  return given
}

function checkReady(ready: unknown): void {
  const { line, http, ipc } = (ready ?? {}) as { line?: unknown; http?: unknown; ipc?: unknown }
  const fits = line instanceof RegExp || (typeof http === 'string' && URL.canParse(http)) || typeof ipc === 'string'
  if (!fits) throw invalidArgument('options.ready', ready, '{ line: RegExp }, { http: URL } or { ipc: string }')
}
