/** One charge of the keeper: which processes belong to it, on proof. */

import { type Charge, KEEPER_MARK, WORKER_MARK } from './facts.js'
import { descendsFrom, environmentOf, forks, isRunning, type ProcessFacts, read, startOf } from './processes.js'

interface Leader {
  readonly pid: number
  readonly started: string | undefined
  /** When it was last seen, in processes that the kernel had started by then; at first, an earlier moment. */
  seen: number
}

/** What belongs to a charge. */
export interface Members {
  /** In the leader's group or session. */
  readonly inside: ProcessFacts[]
  /** Started by it, and in a session of their own. */
  readonly detached: ProcessFacts[]
}

export class Ward {
  #leader: Leader | undefined
  #isStarting = true

  /** `before`: processes that the kernel had started some time before any leader. */
  constructor(
    readonly charge: Charge,
    private readonly before: number,
  ) {}

  /** Whether the host has announced a start, and has not reported what became of it. */
  get isStarting(): boolean {
    return this.#isStarting
  }

  started(pid: number, started: string | undefined): void {
    this.#isStarting = false
    // Off Linux the host does not know: there it costs a program.
    this.#leader = { pid, started: started ?? startOf(pid), seen: this.before }
    this.confirm()
  }

  ended(): void {
    this.#isStarting = false
    this.#leader = undefined
  }

  /** Whether the leader runs. Its number cannot belong to another process until then, nor for some time after. */
  get isRunning(): boolean {
    return this.#leader !== undefined && isRunning(this.#leader.pid, this.#leader.started)
  }

  /** Notes that the leader is there, as long as it is. */
  confirm(): void {
    const leader = this.#leader
    if (leader?.started !== undefined && startOf(leader.pid) === leader.started) leader.seen = forks()
  }

  /** The processes that are proven to belong to this charge. */
  members(running: readonly ProcessFacts[], environments: Environments): Members {
    this.confirm()
    const leader = this.#isProven() ? this.#leader?.pid : undefined
    const isInside = ({ group, session }: ProcessFacts): boolean =>
      leader !== undefined && (group === leader || session === leader)
    const own = new Set(
      running
        .filter((each) => isInside(each) || environments.of(each).includes(this.charge.mark))
        .map(({ pid }) => pid),
    )
    const all = running.filter((each) => own.has(each.pid) || descendsFrom(each, own, running))
    // One that was being started when the host ended is killed as a whole: its leader is not known.
    const belongs = (each: ProcessFacts): boolean => isInside(each) || this.#isStarting
    return {
      inside: all.filter(belongs),
      detached: all.filter((each) => !belongs(each) && !this.#isKeptByAnother(each, environments)),
    }
  }

  /**
   * Whether the number of the group and session still means this leader's. The kernel gives pids out in turn, so a
   * number is not used again before it has started about as many processes as there are numbers.
   */
  #isProven(): boolean {
    return this.#leader !== undefined && forks() - this.#leader.seen < PIDS / 2
  }

  /** Keepers, and what the keeper of a worker that is a host itself ends. */
  #isKeptByAnother(one: ProcessFacts, environments: Environments): boolean {
    return environments
      .of(one)
      .some(
        (each) =>
          each.startsWith(`${KEEPER_MARK}=`) ||
          (each.startsWith(`${WORKER_MARK}=`) && each !== this.charge.mark && this.charge.race === undefined),
      )
  }
}

/** The environments of one look at all processes, each read once. */
export class Environments {
  readonly #read = new Map<number, string[]>()

  of({ pid }: ProcessFacts): readonly string[] {
    let environment = this.#read.get(pid)
    if (environment === undefined) {
      environment = environmentOf(pid)
      this.#read.set(pid, environment)
    }
    return environment
  }
}

/** Where the numbers start again: 32 768 by default on small machines, 99 999 on macOS. */
const PIDS = Number(read('/proc/sys/kernel/pid_max')) || 99_999
