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

/** What must stay at the top of a module: a hashbang, comments and directives. */
const PROLOGUE = /^(?:#!.*\n)?(?:\s|\/\/.*\n|\/\*[\s\S]*?\*\/|(['"])use [\w -]+\1;?)*/

/**
 * The first import of an entry module. Imports are evaluated in their order and before the module itself, so that this
 * one reports before an import that waits for a request to its own server.
 */
const FIRST_IMPORT = 'virtual:warmswap/evaluating'

/** Within the braces of a block: an entry may have any names. The client of the hot channel is that of the runner. */
const ANSWERING = `
  const hot = import.meta.hot
  const answer = (number) => hot.send('${READY}', number)
  const answering = (globalThis[Symbol.for('warmswap/answering')] ??= new WeakMap())
  const runner = hot.hmrClient ?? hot
  answering.get(runner)?.()
  hot.on('${ASK}', answer)
  answering.set(runner, () => hot.off?.('${ASK}', answer))
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
  /** Clients whose runner evaluates an entry module or its imports since the latest question: it has the new module graph. */
  readonly #evaluating = new Set<unknown>()
  /**
   * False from a question that was not answered within the limit until the next answer, in time or late. A runner that
   * was closed never answers, and must not delay each further commit.
   */
  #isAnswering = true
  #count = 0

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
   * The code of module `id` with the code that reports and answers. `import.meta.hot` is undefined where nothing
   * reloads. One listener for each runner is enough: entries with a URL of their own for each request would add one each.
   */
  static instrument(code: string, id: string): string {
    const [head] = PROLOGUE.exec(code) as RegExpExecArray
    // A module of its own for each entry: a reload evaluates the entries one after the other.
    const first = `import '${FIRST_IMPORT}?${Buffer.from(id).toString('base64url')}';`
    return `${head}${first}${code.slice(head.length)}\n;if (import.meta.hot) {${ANSWERING}}`
  }

  /** The id of the first import of an entry. Undefined for every other import. */
  static resolve(source: string): string | undefined {
    return source.startsWith(FIRST_IMPORT) ? `\0${source}` : undefined
  }

  /** The code of the first import of an entry. Undefined for every other module. */
  static load(id: string): string | undefined {
    if (!id.startsWith(`\0${FIRST_IMPORT}`)) return undefined
    return `if (import.meta.hot) import.meta.hot.send('${BEGUN}')`
  }

  /** Whether a runner evaluates an entry module of the new graph, which may wait for a request to its own server. */
  get isEvaluating(): boolean {
    return this.#evaluating.size > 0
  }

  /**
   * Resolves when the runner has worked off everything that was sent to it, or after `limitMs`. Resolves immediately if
   * no runner answers. Never rejects.
   */
  async settled(limitMs: number): Promise<void> {
    this.#evaluating.clear()
    if (this.#runners.size === 0) return
    const answer = this.#ask(limitMs)
    if (this.#isAnswering) await answer
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
          this.#isAnswering = false
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
    this.#isAnswering = true
    for (const [number, end] of this.#open) if (number <= latest) end()
  }

  #end(): void {
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
