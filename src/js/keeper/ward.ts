/** The processes that belong to one entry of the keeper, by proof. */

import { type Charge, KEEPER_MARK, WORKER_MARK } from './facts.js'
import { descendsFrom, environmentOf, forks, isRunning, type ProcessFacts, read, startOf } from './processes.js'

interface Leader {
  readonly pid: number
  readonly started: string | undefined
  /**
   * When the leader was last seen, counted in processes that the kernel had started until then. Initially an earlier
   * moment.
   */
  seen: number
}

/** The processes that belong to one entry. */
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

  /** Whether the host has announced a start and has not reported its result. */
  get isStarting(): boolean {
    return this.#isStarting
  }

  started(pid: number, started: string | undefined): void {
    this.#isStarting = false
    // Off Linux the host does not know the count, because reading it would start a program.
    this.#leader = { pid, started: started ?? startOf(pid), seen: this.before }
    this.confirm()
  }

  ended(): void {
    this.#isStarting = false
    this.#leader = undefined
  }

  /** Whether the leader runs. Until it ends, and for some time after, its pid cannot belong to another process. */
  get isRunning(): boolean {
    return this.#leader !== undefined && isRunning(this.#leader.pid, this.#leader.started)
  }

  /** Records that the leader is running, as long as it is. */
  confirm(): void {
    const leader = this.#leader
    if (leader?.started !== undefined && startOf(leader.pid) === leader.started) leader.seen = forks()
  }

  /** The processes that provably belong to this entry. */
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
    // A process that was being started when the host ended is killed with its whole tree: its leader is not known.
    const belongs = (each: ProcessFacts): boolean => isInside(each) || this.#isStarting
    return {
      inside: all.filter(belongs),
      detached: all.filter((each) => !belongs(each) && !this.#isKeptByAnother(each, environments)),
    }
  }

  /**
   * Whether the number of the group and session still belongs to this leader. The kernel assigns pids in sequence, so
   * that a number is reused only after about as many process starts as there are numbers.
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

/** The environments of all processes in one scan, each read once. */
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

/** Highest pid before the numbers start again: 32 768 by default on small machines, 99 999 on macOS. */
const PIDS = Number(read('/proc/sys/kernel/pid_max')) || 99_999
