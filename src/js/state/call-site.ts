/** Location of a definition, for warnings. */

/** The place that called `boundary`, as the engine writes it; undefined if the engine does not report it. */
export function callSite(boundary: (...args: never[]) => unknown): string | undefined {
  const trace: { stack?: unknown } = {}
  ;(Error as { captureStackTrace?(target: object, boundary: unknown): void }).captureStackTrace?.(trace, boundary)
  if (typeof trace.stack !== 'string') return undefined
  const frame = trace.stack.split('\n').find((line) => /^\s+at /.test(line))
  return frame?.replace(
    /^\s+at (?:async )?(?:.*\((.*)\)|(.*))$/,
    (_, inner?: string, whole?: string) => inner ?? whole ?? '',
  )
}
