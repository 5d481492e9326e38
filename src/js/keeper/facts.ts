/** What a host reports to its keeper: one JSON object a line. */

/** The variable of a worker of startProcess() and of all that it starts: `<pid of the host>:<random>`. */
export const WORKER_MARK = 'WARMSWAP_WORKER'
/** Variable of a keeper. Other keepers do not count a process that has it among those that their host left. */
export const KEEPER_MARK = 'WARMSWAP_KEEPER'

/** A process that is about to be started, with everything that it will start. */
export interface Charge {
  /** `NAME=value`, unique: the variable that these processes carry. */
  readonly mark: string
  /** Also end the processes that made a session of their own. */
  readonly killDetached: boolean
  /** How long it may take to end by itself once its host has ended. */
  readonly graceMs: number
  /** Race that the process belongs to: the process is forgotten with the race, and not when it ends. */
  readonly race?: string
}

export type Fact =
  | { charge: Charge }
  /** It was started: a process that leads a group and a session. */
  | { leader: number; started: string | undefined; of: string }
  /** Its group has ended, or it was never started. */
  | { ended: string }
  /** A folder to remove, until its race is done. */
  | { folder: string }
  | { done: string }
  /** The host has no purpose without the process that started it: it ends with that process. */
  | { host: number; hostStarted: string | undefined; parent: number }
