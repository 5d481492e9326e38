/** Cleans up in reverse order. Each step is tried, and an error of one does not replace the first error. */

export class CleanUp {
  readonly #steps: (() => void | Promise<void>)[] = []

  add(step: () => void | Promise<void>): void {
    this.#steps.push(step)
  }

  /** Runs every step, the last added first. Resolves with the errors. */
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

/** The first error. Errors of the clean-up after it become its property `cleanUpErrors`. */
export function withCleanUpErrors(first: unknown, later: readonly unknown[]): unknown {
  if (later.length === 0) return first
  if (typeof first !== 'object' || first === null) return new AggregateError([first, ...later], String(first))
  return Object.assign(first, { cleanUpErrors: [...later] })
}

/** The error to throw if only the clean-up failed. */
export function combined(errors: readonly unknown[]): unknown {
  return errors.length === 1
    ? errors[0]
    : new AggregateError(
        errors,
        errors.map((error) => (error instanceof Error ? error.message : String(error))).join('\n'),
      )
}
