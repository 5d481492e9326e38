/** Clean-up in reverse order, each step tried, and no error of it in the place of the first one. */

export class CleanUp {
  readonly #steps: (() => void | Promise<void>)[] = []

  add(step: () => void | Promise<void>): void {
    this.#steps.push(step)
  }

  /** Runs every step, the last added first. Resolves with what went wrong. */
  async run(): Promise<unknown[]> {
    const errors: unknown[] = []
    for (const step of this.#steps.splice(0).reverse()) {
      try {
        await step()
      } catch (error) {
        errors.push(error)
      }
    }
    return errors
  }
}

/** The first error, with what clean-up after it ran into as the property `cleanUpErrors`. */
export function withCleanUpErrors(first: unknown, later: readonly unknown[]): unknown {
  if (later.length === 0) return first
  if (typeof first !== 'object' || first === null) return new AggregateError([first, ...later], String(first))
  return Object.assign(first, { cleanUpErrors: [...later] })
}

/** What to throw for errors of clean-up alone. */
export function combined(errors: readonly unknown[]): unknown {
  return errors.length === 1
    ? errors[0]
    : new AggregateError(
        errors,
        errors.map((error) => (error instanceof Error ? error.message : String(error))).join('\n'),
      )
}
