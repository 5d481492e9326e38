/**
 * Numbered requests and the instances that answered them. Finds lost requests, duplicate answers, and answers that go
 * back in time.
 */

import { invalidArgument } from '../native/errors.js'
import type { History, HistoryFindings } from './types.js'

interface Entry {
  request: unknown
  answers: unknown[]
  error?: unknown
  /** The highest number that had been answered when this request was sent: an answer below it goes back in time. */
  askedAfter: From
  stale: boolean
  backwards: boolean
}

interface From {
  incarnation: number
  generation: number
}

/**
 * A register that only grows is linearizable if no read returns less than a read that had ended before it began. The
 * order of requests and answers in this process counts, not the clock. An old instance may still answer requests that
 * it received before its successor's first answer (draining), and no later ones.
 */
export class RequestHistory<Q, A> implements History<Q, A> {
  readonly #entries: Entry[] = []
  #highest: From = { incarnation: -Infinity, generation: -Infinity }

  ask(request: Q): number {
    this.#entries.push({ request, answers: [], askedAfter: { ...this.#highest }, stale: false, backwards: false })
    return this.#entries.length - 1
  }

  answer(id: number, answer: A, from: { incarnation?: number; generation?: number }): void {
    const entry = this.#entry(id)
    const { incarnation = entry.askedAfter.incarnation, generation = entry.askedAfter.generation } = from
    entry.answers.push(answer)
    entry.stale ||= incarnation < entry.askedAfter.incarnation
    entry.backwards ||= generation < entry.askedAfter.generation
    this.#highest = {
      incarnation: Math.max(this.#highest.incarnation, incarnation),
      generation: Math.max(this.#highest.generation, generation),
    }
  }

  lost(id: number, error: unknown): void {
    this.#entry(id).error = error
  }

  check(): HistoryFindings {
    const where = (found: (entry: Entry) => boolean): number[] =>
      this.#entries.flatMap((entry, id) => (found(entry) ? [id] : []))
    return {
      lost: where(({ answers }) => answers.length === 0),
      twice: where(({ answers }) => answers.length > 1),
      stale: where(({ stale }) => stale),
      backwards: where(({ backwards }) => backwards),
    }
  }

  /** Number of requests. */
  get size(): number {
    return this.#entries.length
  }

  /** One line about a request, for messages. */
  describe(id: number): string {
    const { request, answers, error } = this.#entry(id)
    const ended =
      answers.length > 0
        ? `answered ${answers.length} times: ${answers.map(brief).join(', ')}`
        : error === undefined
          ? 'never answered'
          : `lost: ${String(error)}`
    return `#${id} ${brief(request)}: ${ended}`
  }

  #entry(id: number): Entry {
    const entry = this.#entries[id]
    if (entry === undefined) throw invalidArgument('id', id, 'a number that ask() returned')
    return entry
  }
}

function brief(value: unknown): string {
  const text = JSON.stringify(value) ?? String(value)
  return text.length > 80 ? `${text.slice(0, 80)}…` : text
}
