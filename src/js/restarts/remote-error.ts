/** Errors that cross from one thread or process to another: structured clone drops own properties such as `code`. */

export interface RemoteError {
  name: string
  message: string
  stack?: string | undefined
  code?: string | undefined
}

export function toRemote(error: unknown): RemoteError {
  if (!(error instanceof Error)) return { name: 'Error', message: String(error) }
  const code = (error as { code?: unknown }).code
  return { name: error.name, message: error.message, stack: error.stack, code: typeof code === 'string' ? code : undefined }
}

/** `where` it was thrown, for its stack. */
export function fromRemote({ name, message, stack, code }: RemoteError, where: string): Error {
  return Object.assign(new Error(message), { name, stack: `${stack ?? ''}\n    ${where}` }, code === undefined ? {} : { code })
}
