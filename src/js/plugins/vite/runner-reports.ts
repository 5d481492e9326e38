/**
 * Reports of a module runner that it has worked off a reload.
 *
 * A module runner works off its messages one by one, and a full reload ends when every entry module is evaluated again
 * (Vite 6, 7 and 8; the same on workerd). A message that is sent after the reload is therefore answered by a runner that
 * has the new module graph. The code that answers is appended to entry modules: they are the first that a runner
 * evaluates. The order in which a request and a reload reach the runner does not matter: on workerd the first travels
 * by HTTP and the second by WebSocket.
 */

import type { DevEnvironment } from 'vite'
import { isSeeded } from '../../native/seeded-bugs.js'

const RUNNING = 'warmswap:runner'
const ASK = 'warmswap:reloaded'
const READY = 'warmswap:ready'

/** The longest timer that Node has. */
const FOREVER_MS = 2 ** 31 - 1

const known = new WeakMap<DevEnvironment, RunnerReports>()

export class RunnerReports {
  readonly #environment: DevEnvironment
  /** Resolvers of the questions that were not answered, by their number. */
  readonly #open = new Map<number, () => void>()
  /** A runner has evaluated the code that answers. */
  #isAnswering = false
  #count = 0

  static of(environment: DevEnvironment): RunnerReports {
    const reports = known.get(environment) ?? new RunnerReports(environment)
    known.set(environment, reports)
    return reports
  }

  private constructor(environment: DevEnvironment) {
    this.#environment = environment
    environment.hot.on(RUNNING, () => {
      this.#isAnswering = true
    })
    environment.hot.on(READY, (number: number) => this.#answered(number))
  }

  /** The module's code with the code that answers. `import.meta.hot` is undefined where nothing reloads. */
  static instrument(code: string): string {
    return `${code}\n;if (import.meta.hot) { import.meta.hot.on('${ASK}', (number) => import.meta.hot.send('${READY}', number)); import.meta.hot.send('${RUNNING}') }`
  }

  /** Resolves when the runner has worked off everything that was sent to it, or after `limitMs`. Resolves immediately if no runner answers. */
  async settled(limitMs: number): Promise<void> {
    if (!this.#isAnswering) return
    this.#count += 1
    const number = this.#count
    await new Promise<void>((resolve) => {
      const timer = setTimeout(
        () => {
          // The next commit must not wait for a runner that is gone. A later answer, or a new runner, revokes this.
          this.#isAnswering = false
          this.#open.delete(number)
          resolve()
        },
        __WARMSWAP_TESTING__ && isSeeded('rescue-without-bounds') ? FOREVER_MS : limitMs,
      )
      this.#open.set(number, () => {
        clearTimeout(timer)
        resolve()
      })
      this.#environment.hot.send({ type: 'custom', event: ASK, data: number })
    })
  }

  #answered(latest: number): void {
    this.#isAnswering = true
    for (const [number, resolve] of this.#open) {
      if (number > latest) continue
      this.#open.delete(number)
      resolve()
    }
  }

  /** Ends all waiting: the environment is closed. */
  static close(environment: DevEnvironment): void {
    const reports = known.get(environment)
    if (reports === undefined) return
    reports.#isAnswering = false
    reports.#answered(reports.#count)
    reports.#isAnswering = false
  }
}
