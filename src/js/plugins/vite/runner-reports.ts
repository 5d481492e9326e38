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

const BEGUN = 'warmswap:evaluating'
const RUNNING = 'warmswap:runner'
const ASK = 'warmswap:reloaded'
const READY = 'warmswap:ready'
const COMMIT = 'warmswap:commit'
const DROPPED = 'warmswap:dropped'

/**
 * Time for the evaluation of the new graph, from when the runner has dropped the old one. A request that is admitted
 * later may be one that the evaluation itself waits for: a module that fetches from its own server.
 */
const EVALUATION_MS = 300

/** What must stay at the top of a module: a hashbang, comments and directives. */
const PROLOGUE = /^(?:#!.*\n)?(?:\s|\/\/.*\n|\/\*[\s\S]*?\*\/|(['"])use [\w -]+\1;?)*/

/** Within the braces of a block: an entry may have any names. The client of the hot channel is that of the runner. */
const ANSWERING = `
  const hot = import.meta.hot
  const answer = (number) => hot.send('${READY}', number)
  let commit
  const note = (number) => void (commit = number)
  const report = () => hot.send('${DROPPED}', commit)
  const answering = (globalThis[Symbol.for('warmswap/answering')] ??= new WeakMap())
  const runner = hot.hmrClient ?? hot
  answering.get(runner)?.()
  const all = [['${ASK}', answer], ['${COMMIT}', note], ['vite:beforeFullReload', report]]
  for (const [event, listener] of all) hot.on(event, listener)
  answering.set(runner, () => { for (const [event, listener] of all) hot.off?.(event, listener) })
  hot.send('${RUNNING}')
`.replaceAll('\n', ';')

/** The longest timer that Node has. */
const FOREVER_MS = 2 ** 31 - 1

const known = new WeakMap<DevEnvironment, RunnerReports>()

export class RunnerReports {
  readonly #environment: DevEnvironment
  /** Resolvers of the questions that were not answered, by their number. */
  readonly #open = new Map<number, () => void>()
  /** Clients of the hot channel with a runner that has evaluated the code that answers. */
  readonly #runners = new Set<unknown>()
  /** Clients whose runner evaluates an entry module since the latest question: it has the new module graph. */
  readonly #evaluating = new Set<unknown>()
  /**
   * The latest question was answered in time. A runner that was closed never answers. An entry module whose imports wait
   * for a request to their own server answers only after the limit. Neither may delay each further commit.
   */
  #isPunctual = true
  #count = 0
  #commits = 0
  #timer: NodeJS.Timeout | undefined
  #endEvaluation = (): void => {}
  /** Resolves `EVALUATION_MS` after the runner has dropped the graph that the latest commit replaced. */
  overdue: Promise<void> = new Promise(() => {})

  static of(environment: DevEnvironment): RunnerReports {
    const reports = known.get(environment) ?? new RunnerReports(environment)
    known.set(environment, reports)
    return reports
  }

  private constructor(environment: DevEnvironment) {
    this.#environment = environment
    environment.hot.on(BEGUN, (_data: unknown, client: unknown) => void this.#evaluating.add(client))
    environment.hot.on(RUNNING, (_data: unknown, client: unknown) => {
      this.#evaluating.delete(client)
      this.#runners.add(client)
    })
    environment.hot.on(DROPPED, (commit: number | undefined) => {
      // An edit reloads too, and belongs to no commit.
      if (commit === this.#commits) this.#timer ??= setTimeout(this.#endEvaluation, EVALUATION_MS)
    })
    environment.hot.on(READY, (number: number, client: unknown) => {
      this.#runners.add(client)
      this.#answered(number)
    })
    environment.hot.on('vite:client:disconnect', (_data: unknown, client: unknown) => {
      this.#evaluating.delete(client)
      if (this.#runners.delete(client) && this.#runners.size === 0) this.#end()
    })
  }

  /**
   * The module's code with the code that reports and answers. `import.meta.hot` is undefined where nothing reloads. One
   * listener for each runner is enough: entries with a URL of their own for each request would add one each.
   */
  static instrument(code: string): string {
    const [head] = PROLOGUE.exec(code) as RegExpExecArray
    const begun = `if (import.meta.hot) import.meta.hot.send('${BEGUN}');`
    return `${head}${begun}${code.slice(head.length)}\n;if (import.meta.hot) {${ANSWERING}}`
  }

  /** A module graph is replaced: its reload is sent in this turn, after this message. */
  announce(): void {
    this.#commits += 1
    clearTimeout(this.#timer)
    this.#timer = undefined
    this.overdue = new Promise((resolve) => {
      this.#endEvaluation = resolve
    })
    if (this.#runners.size === 0) return
    attempt(`the message to the module runner of '${this.#environment.name}'`, () =>
      this.#environment.hot.send({ type: 'custom', event: COMMIT, data: this.#commits }),
    )
  }

  /** Whether a runner evaluates an entry module of the new graph, which may wait for a request to its own server. */
  get isEvaluating(): boolean {
    return this.#evaluating.size > 0
  }

  /**
   * Resolves when the runner has worked off everything that was sent to it, or after `limitMs`. Resolves immediately if
   * no runner answers, and if the latest report was late. Never rejects.
   */
  async settled(limitMs: number): Promise<void> {
    this.#evaluating.clear()
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
    clearTimeout(this.#timer)
    this.#runners.clear()
    this.#evaluating.clear()
    for (const end of this.#open.values()) end()
  }

  /** Ends all waiting: the environment is closed. */
  static close(environment: DevEnvironment): void {
    const reports = known.get(environment)
    if (reports !== undefined) reports.#end()
  }
}
