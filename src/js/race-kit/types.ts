/** The public types of the race kit. Every time is in milliseconds of the machine's monotonic clock (clock.ts). */

/** When an instance became ready: the last moment it was seen not ready, and the first moment it was seen ready. */
export interface Interval {
  readonly after: number
  readonly before: number
}

/** A TCP port that no other test gets until this test ends, even while no process listens on it. */
export interface Port {
  readonly number: number
}

/**
 * How a process reports that it is ready:
 * - `line`: a line of its standard output or standard error matches.
 * - `http`: the URL answers 2xx. With `nonce` (or `nonceFrom`) the answer must also echo the WARMSWAP_RACE_NONCE of
 *   this instance. Otherwise a predecessor that still drains, or another program, could be mistaken for it.
 * - `ipc`: it sends this string, or `{ type: <string>, at?: <ms of process.hrtime> }`, with process.send.
 */
export type Ready = { line: RegExp } | { http: string; nonce?: boolean } | { ipc: string }

export interface StartOptions {
  /** A program and its arguments, or a shell command. */
  command: string | string[]
  cwd?: string
  env?: Record<string, string>
  /** Passed as the variable PORT. If another process listens there, the error names it. */
  port?: Port
  ready: Ready
  /**
   * Where an answer carries the nonce: the header `x-race-nonce`, or the field `nonce` of a JSON body.
   * @default 'header'
   */
  nonceFrom?: 'header' | 'json'
  /**
   * End processes that it started and that made a session of their own (`detached`, setsid, daemons) with the race: they
   * also fail the test. `false` leaves them running, and names them on standard error. @default true
   */
  killDetached?: boolean
}

export interface Instance {
  readonly pid: number
  /** The WARMSWAP_RACE_NONCE of this incarnation. A new one after each restart. */
  readonly nonce: string
  readonly ready: Interval
  /**
   * Sends SIGTERM to the group, and SIGKILL after the deadline (5000 ms). Resolves when the group has ended and its
   * output was read.
   */
  stop(options?: { deadlineMs?: number }): Promise<void>
  /** Sends SIGKILL to the group. */
  kill(): Promise<void>
  /** Sends SIGSTOP to the group. */
  pause(): void
  /** Sends SIGCONT to the group. */
  resume(): void
  /**
   * Ends the instance and starts the same command on the same port with a new nonce. Concurrent calls run one after the
   * other. @default 'graceful'
   */
  restart(how?: 'graceful' | 'kill'): Promise<Interval>
  /** The last 64 KiB of each output, over all incarnations. */
  readonly output: { stdout: string; stderr: string }
}

/** A process or request that waits at a point until it is released. */
export interface Held {
  release(): void
  /** Sends SIGKILL to the process that waits. */
  kill(): void
}

/** What to do with the process that reaches a race point. */
export interface PointActions {
  hold(): Promise<Held>
  kill(): void
  /** Makes `racePoint` throw an error with this code, such as 'ENOSPC'. */
  fail(errno: string): void
  delay(ms: number): void
}

export interface Rendezvous {
  /**
   * URL of the point. A program requests it, with any method, and gets its answer (204) when it is released. `?pid=`
   * makes kill() work outside Linux.
   */
  readonly url: string
  /** Resolves with the next arrival that was not returned before. */
  reached(): Promise<Held>
}

export interface Heartbeat {
  /** Gaps without a beat that were longer than twice `every`, from the last beat before to the first after. */
  readonly gaps: { from: number; to: number }[]
  stop(): void
}

/**
 * How a probe ended. 'hang' (no answer in time), 'refused' (no listener) and 'reset' (the connection broke) are
 * different bugs. 'wrong-generation' was answered by an incarnation that had been replaced, 'stranger' by a process
 * outside this race.
 */
export type Outcome = 'ok' | 'wrong-generation' | 'refused' | 'reset' | 'hang' | 'server-error' | 'stranger'

export interface Probe<T> {
  name: string
  /** 'none' probes share a restart; any other gets restarts of its own, because it changes what it measures. */
  sideEffects: 'none' | 'activity' | 'write'
  timeoutMs: number
  /** Keeps the sockets that fetch and http.globalAgent hold from before the restart. @default false: fresh sockets */
  reuse?: boolean
  /** The expected HTTP status. @default any below 400 */
  status?: number
  /**
   * Sends the probe. Resolves with the answer: `value` may be or contain a `status`. Without the `nonce` that the
   * instance was given (WARMSWAP_RACE_NONCE), another program or a predecessor can be mistaken for the instance.
   */
  run(target: T, signal: AbortSignal): Promise<{ nonce?: string; value?: unknown }>
}

export interface SweepOptions<T> {
  /** Delays in milliseconds after ready at which probes are sent. */
  delays: number[]
  /** Number of samples of each probe at each delay. @default 5 */
  repeats?: number
  /** Order of the delays. @default 'shuffled', with the race's seed */
  order?: 'shuffled' | 'given'
  /** Bisects until the edge is known to this many milliseconds. @default 10 */
  edgeMs?: number
  /** Time limit in milliseconds. @default 60 % of the time that is left of the test's limit */
  budgetMs?: number
  /**
   * Creates and warms the target of one sample. Rejects if it does not work before the restart. If the target is
   * disposable, it is disposed of after its sample.
   */
  target(sample: number): Promise<T>
  restart(signal: AbortSignal): Promise<Interval>
  probes: Probe<T>[]
  /** A probe on targets of its own without a restart: its failures are not caused by the restart. */
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
  /** For each probe: the greatest delay at which it failed, and the smallest delay from which it never failed. */
  readonly edge: Record<string, { lastFailMs: number | null; firstOkMs: number | null }>
  /** Command line that repeats this run, seed included. */
  readonly command: string
  /** Writes a self-contained page. */
  html(file: string): Promise<void>
  toString(): string
}

export interface HistoryFindings {
  /** Requests without an answer. */
  lost: number[]
  /** Requests with more than one answer. */
  twice: number[]
  /** Requests answered by an incarnation older than one that had answered before they were sent. */
  stale: number[]
  /** Requests answered from a generation older than one that had been seen before they were sent. */
  backwards: number[]
}

/** Numbered requests and the instances that answered them. */
export interface History<Q, A> {
  ask(request: Q): number
  answer(id: number, answer: A, from: { incarnation?: number; generation?: number }): void
  lost(id: number, error: unknown): void
  check(): HistoryFindings
}

export interface Race {
  /** Seed from WARMSWAP_RACE_SEED, or a random one. Every report names it. */
  readonly seed: number
  /**
   * Starts a real process in a group of its own. Resolves when it is ready. It is killed with its descendants at the
   * end of the test.
   */
  start(options: StartOptions): Promise<Instance>
  /** Reserves a port for this test, even while the instance that uses it is down. */
  port(): Promise<Port>
  /** Creates a point that other programs reach over HTTP: their request is held until it is released. */
  rendezvous(name: string): Promise<Rendezvous>
  /**
   * Selects the `hit`-th time (from 1, over all processes of this race) that code calls `racePoint(name)`. @default hit
   * 1
   */
  at(name: string, hit?: number): PointActions
  /** Starts independent traffic: calls `beat` every `every` ms and records the gaps. */
  heartbeat(options: { every: number; beat(signal: AbortSignal): Promise<void> }): Heartbeat
  /**
   * Measures at which delays after a restart probes fail. Uses one warmed target per sample, bisects to the edge, and
   * repeats until the edge is as narrow as requested or time runs out.
   */
  sweep<T>(options: SweepOptions<T>): Promise<SweepReport>
  history<Q, A>(): History<Q, A>
}
