/** Process warnings, without depending on Node. */

/** What a warning carries in addition to its text. */
export interface WarningFacts {
  /** Name of the warning in Node's output. @default 'WarmswapWarning' */
  type?: string
  /** Code that programs can test, such as WARMSWAP_CALLBACK_FAILED. */
  code?: string
  /** Printed under the message. */
  detail?: string
}

/** Emits a process warning in Node, a console warning elsewhere. */
export function warn(message: string, { type = 'WarmswapWarning', code, detail }: WarningFacts = {}): void {
  const { process, console } = globalThis as {
    process?: { emitWarning?(text: string, facts: object): void }
    console?: Console
  }
  const facts = { type, ...(code !== undefined && { code }), ...(detail !== undefined && { detail }) }
  if (typeof process?.emitWarning === 'function') process.emitWarning(message, facts)
  // A bare vm context has neither.
  else console?.warn(`warmswap: ${message}${detail === undefined ? '' : `\n${detail}`}`)
}
