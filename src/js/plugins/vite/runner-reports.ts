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
import { attempt } from '../../native/callbacks.js'
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
  /** Clients of the hot channel with a runner that has evaluated the code that answers. */
  readonly #runners = new Set<unknown>()
  /**
   * The latest question was answered in time. A runner that was closed never answers. An entry module that waits for a
   * request to its own server answers only after the limit. Neither may delay each further commit.
   */
  #isPunctual = true
  #count = 0

  static of(environment: DevEnvironment): RunnerReports {
    const reports = known.get(environment) ?? new RunnerReports(environment)
    known.set(environment, reports)
    return reports
  }

  private constructor(environment: DevEnvironment) {
    this.#environment = environment
    environment.hot.on(RUNNING, (_data: unknown, client: unknown) => void this.#runners.add(client))
    environment.hot.on(READY, (number: number, client: unknown) => {
      this.#runners.add(client)
      this.#answered(number)
    })
    environment.hot.on('vite:client:disconnect', (_data: unknown, client: unknown) => {
      if (this.#runners.delete(client) && this.#runners.size === 0) this.#end()
    })
  }

  /** The module's code with the code that answers. `import.meta.hot` is undefined where nothing reloads. */
  static instrument(code: string): string {
    return `${code}\n;if (import.meta.hot) { import.meta.hot.on('${ASK}', (number) => import.meta.hot.send('${READY}', number)); import.meta.hot.send('${RUNNING}') }`
  }

  /**
   * Resolves when the runner has worked off everything that was sent to it, or after `limitMs`. Resolves immediately if
   * no runner answers, and if the latest report was late. Never rejects.
   */
  async settled(limitMs: number): Promise<void> {
    if (this.#runners.size === 0) return
    const answer = this.#ask(limitMs)
    if (this.#isPunctual) await answer
  }

  #ask(limitMs: number): Promise<void> {
    this.#count += 1
    const number = this.#count
    return new Promise((resolve) => {
      const end = (): void => {
        clearTimeout(timer)
        this.#open.delete(number)
        resolve()
      }
      const timer = setTimeout(
        () => {
          this.#isPunctual = false
          end()
        },
        __WARMSWAP_TESTING__ && isSeeded('rescue-without-bounds') ? FOREVER_MS : limitMs,
      )
      this.#open.set(number, end)
      let isSent = false
      attempt(`the question to the module runner of '${this.#environment.name}'`, () => {
        this.#environment.hot.send({ type: 'custom', event: ASK, data: number })
        isSent = true
      })
      if (!isSent) end()
    })
  }

  #answered(latest: number): void {
    for (const [number, end] of this.#open) {
      if (number > latest) continue
      this.#isPunctual = true
      end()
    }
  }

  #end(): void {
    this.#runners.clear()
    for (const end of this.#open.values()) end()
  }

  /** Ends all waiting: the environment is closed. */
  static close(environment: DevEnvironment): void {
    const reports = known.get(environment)
    if (reports !== undefined) reports.#end()
  }
}
