/** The shapes a test sees. Every time is in milliseconds of the machine's monotonic clock (clock.ts). */

/** The last moment something was seen not ready, and the first moment it was: the truth lies between. */
export interface Interval {
  readonly after: number
  readonly before: number
}

/** A TCP port that no other test gets until this one ends, also while nothing listens on it. */
export interface Port {
  readonly number: number
}

/**
 * How a process says that it is ready:
 * - `line`: a line of its standard output or standard error matches;
 * - `http`: the URL answers 2xx. With `nonce` (or `nonceFrom`) the answer must also echo the WARMSWAP_RACE_NONCE of
 *   this very instance, so that a predecessor that still drains, or a stranger, does not pass for it;
 * - `ipc`: it sends this string, or `{ type: <string>, at?: <ms of process.hrtime> }`, with process.send.
 */
export type Ready = { line: RegExp } | { http: string; nonce?: boolean } | { ipc: string }

export interface StartOptions {
  /** A program and its arguments, or a line for the shell. */
  command: string | string[]
  cwd?: string
  env?: Record<string, string>
  /** Handed over as the variable PORT; whoever else listens there is named in the error. */
  port?: Port
  ready: Ready
  /** Where an answer carries the nonce: the header `x-race-nonce`, or the field `nonce` of a JSON body. @default 'header' */
  nonceFrom?: 'header' | 'json'
  /**
   * End processes that it started and that made a session of their own (`detached`, setsid, daemons) with the race: they
   * also fail the test. `false` leaves them running, and names them on standard error. @default true
   */
  killDetached?: boolean
}

export interface Instance {
  readonly pid: number
  /** What this incarnation got as WARMSWAP_RACE_NONCE; a new one after each restart. */
  readonly nonce: string
  readonly ready: Interval
  /** SIGTERM to the group, SIGKILL after the deadline (5000 ms); resolves when the group has ended and its output is read. */
  stop(options?: { deadlineMs?: number }): Promise<void>
  /** SIGKILL to the group. */
  kill(): Promise<void>
  /** SIGSTOP to the group. */
  pause(): void
  /** SIGCONT to the group. */
  resume(): void
  /** Ends it and starts the same command on the same port with a new nonce. Calls queue up. @default 'graceful' */
  restart(how?: 'graceful' | 'kill'): Promise<Interval>
  /** The last 64 KiB of each, over all incarnations. */
  readonly output: { stdout: string; stderr: string }
}

/** Something that waits at a point until it is let go. */
export interface Held {
  release(): void
  /** SIGKILL to the process that waits. */
  kill(): void
}

/** What happens to the process that reaches a race point. */
export interface PointActions {
  hold(): Promise<Held>
  kill(): void
  /** `racePoint` throws an error with this code, for instance 'ENOSPC'. */
  fail(errno: string): void
  delay(ms: number): void
}

export interface Rendezvous {
  /** Foreign code asks for it, with any method, and gets its answer (204) when it is released. `?pid=` lets kill() work off Linux. */
  readonly url: string
  /** The next arrival that nobody has taken. */
  reached(): Promise<Held>
}

export interface Heartbeat {
  /** Spans without a beat that were longer than twice `every`, from the last beat before to the first after. */
  readonly gaps: { from: number; to: number }[]
  stop(): void
}

/**
 * How a probe ended. 'hang' (no answer in its time), 'refused' (nobody listens) and 'reset' (the connection broke) are
 * different bugs; 'wrong-generation' was answered by an incarnation that had been replaced, 'stranger' by none of ours.
 */
export type Outcome = 'ok' | 'wrong-generation' | 'refused' | 'reset' | 'hang' | 'server-error' | 'stranger'

export interface Probe<T> {
  name: string
  /** 'none' probes share a restart; any other gets restarts of its own, because it changes what it measures. */
  sideEffects: 'none' | 'activity' | 'write'
  timeoutMs: number
  /** Keep the sockets that fetch and http.globalAgent hold from before the restart. @default false: fresh sockets */
  reuse?: boolean
  /** The HTTP status that is right. @default any below 400 */
  status?: number
  /**
   * Resolves with the answer: `value` may be or hold a `status`. Without the `nonce` that the instance was given
   * (WARMSWAP_RACE_NONCE) a stranger or a predecessor passes for the instance.
   */
  run(target: T, signal: AbortSignal): Promise<{ nonce?: string; value?: unknown }>
}

export interface SweepOptions<T> {
  /** Milliseconds after ready at which probes are sent. */
  delays: number[]
  /** Samples of each probe at each delay. @default 5 */
  repeats?: number
  /** @default 'shuffled', with the race's seed */
  order?: 'shuffled' | 'given'
  /** Bisect until the edge is known to this many milliseconds. @default 10 */
  edgeMs?: number
  /** @default 60 % of what is left of the test's time */
  budgetMs?: number
  /** Makes and warms the target of one sample; rejects if it does not work before the restart. Disposed of after its sample if it can be. */
  target(sample: number): Promise<T>
  restart(signal: AbortSignal): Promise<Interval>
  probes: Probe<T>[]
  /** Run on targets of its own with no restart between: what fails here is not the restart's doing. */
  control?: Probe<T>
  onProgress?(done: number, total: number): void
}

export interface SweepPoint {
  probe: string
  delayMs: number
  n: number
  outcomes: Partial<Record<Outcome, number>>
  pFail: number
  /** Wilson's 95 % interval of pFail. */
  interval: [number, number]
}

export interface SweepReport {
  readonly points: SweepPoint[]
  /** Of each probe: the greatest delay at which it failed, and the smallest from which on it never did. */
  readonly edge: Record<string, { lastFailMs: number | null; firstOkMs: number | null }>
  /** Repeats this run, seed included. */
  readonly command: string
  /** Writes a self-contained page. */
  html(file: string): Promise<void>
  toString(): string
}

export interface HistoryFindings {
  /** Asked and never answered. */
  lost: number[]
  /** Answered more than once. */
  twice: number[]
  /** Answered by an incarnation older than one that had answered before it was asked. */
  stale: number[]
  /** Answered from a generation older than one that had been seen before it was asked. */
  backwards: number[]
}

/** Numbered requests and who answered them. */
export interface History<Q, A> {
  ask(request: Q): number
  answer(id: number, answer: A, from: { incarnation?: number; generation?: number }): void
  lost(id: number, error: unknown): void
  check(): HistoryFindings
}

export interface Race {
  /** From WARMSWAP_RACE_SEED, otherwise drawn; in every report. */
  readonly seed: number
  /** A real process in a group of its own; ready when it says so; killed with its descendants at the end of the test. */
  start(options: StartOptions): Promise<Instance>
  /** Held against every other test until this one ends, also while the instance that uses it is down. */
  port(): Promise<Port>
  /** A point that foreign code reaches over HTTP: held until released. */
  rendezvous(name: string): Promise<Rendezvous>
  /** The `hit`-th time (from 1, over all processes of this race) that code calls racePoint(name). @default hit 1 */
  at(name: string, hit?: number): PointActions
  /** Independent traffic: calls `beat` every `every` ms and keeps the gaps. */
  heartbeat(options: { every: number; beat(signal: AbortSignal): Promise<void> }): Heartbeat
  /** One warmed target per sample; bisects to the edge; repeats until the edge is as narrow as asked or the time is up. */
  sweep<T>(options: SweepOptions<T>): Promise<SweepReport>
  history<Q, A>(): History<Q, A>
}
