/** The public types of the race kit. Every time is in milliseconds of the machine's monotonic clock (clock.ts). */

/** When an instance became ready: the last moment it was seen not ready, and the first moment it was seen ready. */
export interface Interval {
  /** Last moment at which it was seen not ready. */
  readonly after: number
  /** First moment at which it was seen ready. */
  readonly before: number
}

/** A TCP port that no other test gets until this test ends, even while no process listens on it. */
export interface Port {
  /** Number of the port. */
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

/** How to start a process, and how it reports that it is ready. */
export interface StartOptions {
  /** A program and its arguments, or a shell command. */
  command: string | string[]
  /** Working directory. @default that of the test */
  cwd?: string
  /** Variables that are added to the environment of the test, from which those of vitest are removed. */
  env?: Record<string, string>
  /** Passed as the variable PORT. If another process listens there, the error names it. */
  port?: Port
  /** How the process reports that it is ready. */
  ready: Ready
  /**
   * Where an answer carries the nonce: the header `x-race-nonce`, or the field `nonce` of a JSON body.
   * @default 'header'
   */
  nonceFrom?: 'header' | 'json'
  /**
   * Ends processes that it started and that made a session of their own (`detached`, setsid, daemons) with the race: they
   * also fail the test. `false` leaves them running, and names them on standard error. @default true
   */
  killDetached?: boolean
}

/** A running process of a race, over all its restarts. */
export interface Instance {
  /** Process id of the current incarnation. */
  readonly pid: number
  /** The WARMSWAP_RACE_NONCE of this incarnation. A new one after each restart. */
  readonly nonce: string
  /** When the current incarnation became ready. */
  readonly ready: Interval
  /**
   * Sends SIGTERM to the group, and SIGKILL after the deadline. Resolves when the group has ended and its
   * output was read.
   */
  stop(options?: {
    /** Time until SIGKILL, in milliseconds. @default 5_000 */
    deadlineMs?: number
  }): Promise<void>
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
  readonly output: {
    /** Standard output. */
    stdout: string
    /** Standard error. */
    stderr: string
  }
}

/** A process or request that waits at a point until it is released. */
export interface Held {
  /** Lets the process or request continue. */
  release(): void
  /** Sends SIGKILL to the process that waits. */
  kill(): void
}

/** What to do with the process that reaches a race point. */
export interface PointActions {
  /** Holds the process at the point. Resolves when it has arrived. */
  hold(): Promise<Held>
  /** Sends SIGKILL to the process when it arrives. */
  kill(): void
  /** Makes `racePoint` throw an error with this code, such as 'ENOSPC'. */
  fail(errno: string): void
  /** Delays the process by this many milliseconds. */
  delay(ms: number): void
}

/** A point that programs reach over HTTP. */
export interface Rendezvous {
  /**
   * URL of the point. A program requests it, with any method, and gets its answer (204) when it is released. `?pid=`
   * makes kill() work outside Linux.
   */
  readonly url: string
  /** Resolves with the next arrival that was not returned before. */
  reached(): Promise<Held>
}

/** Independent traffic during a race, and its gaps. */
export interface Heartbeat {
  /** Gaps without a beat that were longer than twice `every`, from the last beat before to the first after. */
  readonly gaps: { from: number; to: number }[]
  /** Ends the traffic. It also ends with the test. */
  stop(): void
}

/**
 * How a probe ended. 'hang' (no answer in time), 'refused' (no listener) and 'reset' (the connection broke) are
 * different bugs. 'wrong-generation' was answered by an incarnation that had been replaced, 'stranger' by a process
 * outside this race.
 */
export type Outcome = 'ok' | 'wrong-generation' | 'refused' | 'reset' | 'hang' | 'server-error' | 'stranger'

/** A request that a sweep sends at each delay. */
export interface Probe<T> {
  /** Name in reports. */
  name: string
  /** 'none' probes share a restart; any other gets restarts of its own, because it changes what it measures. */
  sideEffects: 'none' | 'activity' | 'write'
  /** Longest wait for the answer in milliseconds. After it the outcome is 'hang'. */
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

/** What a sweep restarts, which probes it sends, and when. */
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
  /** Restarts what is tested. Resolves with the moment at which it was ready again. */
  restart(signal: AbortSignal): Promise<Interval>
  /** The requests to send. */
  probes: Probe<T>[]
  /** A probe on targets of its own without a restart: its failures are not caused by the restart. */
  control?: Probe<T>
  /** Called after each restart, with the number of restarts and how many are planned. */
  onProgress?(done: number, total: number): void
}

/** The samples of one probe at one delay. */
export interface SweepPoint {
  /** Name of the probe. */
  probe: string
  /** Delay in milliseconds after ready. */
  delayMs: number
  /** Number of samples. */
  n: number
  /** Number of samples for each outcome. */
  outcomes: Partial<Record<Outcome, number>>
  /** Share of samples that failed, 0 to 1. */
  pFail: number
  /** Wilson's 95 % interval of pFail. */
  interval: [number, number]
}

/** Results of a sweep. */
export interface SweepReport {
  /** The samples, by probe and delay. */
  readonly points: SweepPoint[]
  /** For each probe: the greatest delay at which it failed, and the smallest delay from which it never failed. */
  readonly edge: Record<string, { lastFailMs: number | null; firstOkMs: number | null }>
  /** Command line that repeats this run, seed included. */
  readonly command: string
  /** Writes a self-contained page. */
  html(file: string): Promise<void>
  /** The table of points and the edges, as text. */
  toString(): string
}

/** What a history found. Each list has the numbers of requests, as `ask()` returned them. */
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
  /** Records that a request is sent. Returns its number. */
  ask(request: Q): number
  /** Records an answer to the request with this number. */
  answer(
    id: number,
    answer: A,
    from: {
      /** Number of the process that answered. Later processes have larger numbers. */
      incarnation?: number
      /** Number of the generation that it ran. */
      generation?: number
    },
  ): void
  /** Records that the request with this number failed. */
  lost(id: number, error: unknown): void
  /** Returns the requests that were lost, answered twice, or answered by something older than what was seen before. */
  check(): HistoryFindings
}

/** The fixture `race` of a test: processes, points and measurements that end with the test. */
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
   * Selects the `hit`-th time (from 1, over all processes of this race) that code calls `racePoint(name)`.
   * @default hit 1
   */
  at(name: string, hit?: number): PointActions
  /** Starts independent traffic: calls `beat` every `every` ms and records the gaps. */
  heartbeat(options: {
    /** Time between two beats in milliseconds. */
    every: number
    /** Sends one request. A rejection is a missed beat. */
    beat(signal: AbortSignal): Promise<void>
  }): Heartbeat
  /**
   * Measures at which delays after a restart probes fail. Uses one warmed target per sample, bisects to the edge, and
   * repeats until the edge is as narrow as requested or time runs out.
   */
  sweep<T>(options: SweepOptions<T>): Promise<SweepReport>
  /** Creates a history: it records requests and answers, and finds those that were lost or went backwards. */
  history<Q, A>(): History<Q, A>
}
