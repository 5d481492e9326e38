/** Telling, without depending on Node. */

/** A process warning in Node, a console warning elsewhere. */
export function warn(message: string): void {
  const { process, console } = globalThis as { process?: { emitWarning?(text: string, type: string): void }; console?: Console }
  if (typeof process?.emitWarning === 'function') process.emitWarning(message, 'WarmswapWarning')
  // A bare vm context has neither.
  else console?.warn(`warmswap: ${message}`)
}

/** The place that called `boundary`, as the engine writes it; undefined where the engine cannot tell. */
export function callSite(boundary: (...args: never[]) => unknown): string | undefined {
  const trace: { stack?: unknown } = {}
  ;(Error as { captureStackTrace?(target: object, boundary: unknown): void }).captureStackTrace?.(trace, boundary)
  if (typeof trace.stack !== 'string') return undefined
  const frame = trace.stack.split('\n').find((line) => /^\s+at /.test(line))
  return frame?.replace(/^\s+at (?:async )?(?:.*\((.*)\)|(.*))$/, (_, inner?: string, whole?: string) => inner ?? whole ?? '')
}
