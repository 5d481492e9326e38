/** The program under test: one JSON object per line, a request on its standard input and an answer on its standard output. */

import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { messageOf } from '../native/callbacks.js'

/** The version of the messages. */
export const VERSION = 1

/** What the program answers: the facts of a request that succeeded, or the kind of its error. */
export type Answer = { ok: Record<string, unknown> } | { error: string; message: string }

interface Waiter {
  resolve(answer: Answer): void
  reject(error: Error): void
}

export class Program {
  readonly #child: ChildProcessWithoutNullStreams
  readonly #timeoutMs: number
  readonly #waiting = new Map<number, Waiter>()
  readonly #ended: Promise<unknown>
  #errors = ''
  #failure: Error | undefined
  #next = 0

  private constructor(command: readonly [string, ...string[]], timeoutMs: number) {
    const [file, ...args] = command
    this.#timeoutMs = timeoutMs
    this.#child = spawn(file, args, { stdio: 'pipe' })
    this.#ended = once(this.#child, 'close').catch(() => undefined)
    this.#child.stderr.setEncoding('utf8').on('data', (text: string) => {
      this.#errors = (this.#errors + text).slice(-4000)
    })
    // A write to a program that has ended; its end is reported by 'close'.
    this.#child.stdin.on('error', () => {})
    this.#child.on('error', (error) => this.#fail(`the program cannot be started: ${error.message}`))
    this.#child.on('close', (code, signal) => this.#fail(`the program ended with ${signal ?? `exit code ${code}`}`))
    createInterface({ input: this.#child.stdout }).on('line', (line) => this.#receive(line))
  }

  /** Starts the program and asks for the operations that it implements. */
  static async start(
    command: readonly [string, ...string[]],
    timeoutMs: number,
  ): Promise<{ program: Program; operations: Set<string> }> {
    const program = new Program(command, timeoutMs)
    try {
      const answer = await program.ask('hello', { version: VERSION })
      const operations = 'ok' in answer ? answer.ok.operations : undefined
      if (!Array.isArray(operations) || operations.some((name) => typeof name !== 'string'))
        throw new Error(
          `the program answered 'hello' with ${JSON.stringify(answer)}. Expected {"ok":{"operations":["bundles/read", …]}}`,
        )
      return { program, operations: new Set(operations as string[]) }
    } catch (error) {
      await program.kill()
      throw error
    }
  }

  /** Sends one request and waits for its answer. Rejects if the program ends, is silent, or answers with something else. */
  ask(operation: string, facts: Record<string, unknown> = {}): Promise<Answer> {
    if (this.#failure !== undefined) return Promise.reject(this.#failure)
    const id = ++this.#next
    return new Promise<Answer>((resolve, reject) => {
      const timer = setTimeout(
        () => reject(new Error(`no answer to '${operation}' within ${this.#timeoutMs} ms`)),
        this.#timeoutMs,
      )
      const settled = (): void => {
        clearTimeout(timer)
        this.#waiting.delete(id)
      }
      this.#waiting.set(id, {
        resolve(answer) {
          settled()
          resolve(answer)
        },
        reject(error) {
          settled()
          reject(error)
        },
      })
      this.#child.stdin.write(`${JSON.stringify({ id, do: operation, ...facts })}\n`)
    })
  }

  /** The facts of an answer that has to be a success. */
  async expect(operation: string, facts: Record<string, unknown> = {}): Promise<Record<string, unknown>> {
    const answer = await this.ask(operation, facts)
    if ('ok' in answer) return answer.ok
    throw new Error(`'${operation}' failed with '${answer.error}': ${answer.message}`)
  }

  /** Requires an error of this kind. */
  async refuses(kind: string, operation: string, facts: Record<string, unknown>): Promise<void> {
    const answer = await this.ask(operation, facts)
    if ('ok' in answer)
      throw new Error(`'${operation}' succeeded with ${JSON.stringify(answer.ok)}. Expected '${kind}'`)
    if (answer.error !== kind)
      throw new Error(`'${operation}' failed with '${answer.error}' (${answer.message}). Expected '${kind}'`)
  }

  /** Ends the program with SIGKILL, at whatever it does. */
  async kill(): Promise<void> {
    this.#child.kill('SIGKILL')
    await this.#ended
  }

  #fail(why: string): void {
    const errors = this.#errors.trim()
    this.#failure ??= new Error(errors === '' ? why : `${why}. Its standard error ends with: ${errors}`)
    for (const { reject } of this.#waiting.values()) reject(this.#failure)
  }

  #receive(line: string): void {
    const { id, answer } = parse(line)
    const waiter = this.#waiting.get(id)
    if (waiter === undefined) return
    if (answer instanceof Error) waiter.reject(answer)
    else waiter.resolve(answer)
  }
}

/** A line without a valid answer is an error of the request that it names, or of none. */
function parse(line: string): { id: number; answer: Answer | Error } {
  let value: { id?: unknown; ok?: unknown; error?: unknown; message?: unknown }
  try {
    value = JSON.parse(line) ?? {}
  } catch (error) {
    return { id: 0, answer: new Error(messageOf(error)) }
  }
  const id = Number(value.id)
  if (typeof value.ok === 'object' && value.ok !== null) return { id, answer: { ok: { ...value.ok } } }
  if (typeof value.error === 'string')
    return { id, answer: { error: value.error, message: String(value.message ?? '') } }
  return { id, answer: new Error(`the program answered ${line.slice(0, 200)}. Expected "ok" or "error"`) }
}
