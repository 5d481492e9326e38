/** Distinguishes a dependency that was optimized again from every other failure. */

/**
 * What happened to the dependency: `outdated` and `processing` on all versions, `missing-chunk` if Vite 6 finds that an
 * old chunk was deleted.
 */
export type StaleKind = 'outdated' | 'processing' | 'missing-chunk'

/** A stale dependency as Vite reported it: the requested id and the hash in it. */
export interface StaleDep {
  /** What happened to the dependency. */
  kind: StaleKind
  /** The requested id, if the error names it. */
  id?: string
  /** The hash in that id. */
  hash?: string
}

interface Known {
  kind: StaleKind
  code: string
  /** Vite's complete text. Some layers put the class name before it. */
  whole: RegExp
  /** The same, anywhere in a text. */
  anywhere: RegExp
}

const known = (kind: StaleKind, code: string, text: string): Known => ({
  kind,
  code,
  whole: new RegExp(`^(?:Error: )?${text}$`),
  anywhere: new RegExp(text),
})

const KINDS: readonly Known[] = [
  known(
    'outdated',
    'ERR_OUTDATED_OPTIMIZED_DEP',
    'There is a new version of the pre-bundle for "([^"]+)", a page reload is going to ask for it\\.?',
  ),
  known(
    'processing',
    'ERR_OPTIMIZE_DEPS_PROCESSING_ERROR',
    'Something unexpected happened while optimizing "([^"]+)"\\. The current page should have reloaded by now\\.?',
  ),
  known(
    'missing-chunk',
    'ERR_FILE_NOT_FOUND_IN_OPTIMIZED_DEP_DIR',
    'The file does not exist at "([^"]+)" which is in the optimize deps directory\\..*',
  ),
]

/** Limits the depth of wrapped errors; a cause can refer to itself. */
const DEEPEST_CAUSE = 8

/**
 * Finds the stale dependency behind an error. Undefined for every other error.
 *
 * The code is checked first, on the error and on its `cause`s. Then the whole message is checked, because some layers
 * (miniflare's error pages, wrappers of frameworks) lose the code. An error that merely quotes Vite's text does not
 * count: the message has to begin with it, and only a plain `Error` is checked by message.
 *
 * @param error Any value.
 */
export function staleDepError(error: unknown): StaleDep | undefined {
  const chain = [...causes(error)]
  for (const { code } of chain as { code?: unknown }[]) {
    const found = KINDS.find((each) => each.code === code)
    // A wrapper can have copied the code without the text.
    if (found)
      return describe(
        found.kind,
        chain.map(({ message }) => found.anywhere.exec(message)?.[1]).find((id) => id !== undefined),
      )
  }
  for (const { name, message } of chain) {
    const found = name === 'Error' && KINDS.find(({ whole }) => whole.test(message))
    if (found) return describe(found.kind, found.whole.exec(message)?.[1])
  }
  return undefined
}

function* causes(error: unknown): Generator<Error> {
  let current = error
  for (let depth = 0; depth < DEEPEST_CAUSE; depth += 1) {
    if (typeof current !== 'object' || current === null) return
    // Errors of other realms and of a worker are not `instanceof Error`. An object with a message counts as one.
    if (typeof (current as Error).message === 'string') yield current as Error
    current = (current as Error).cause
  }
}

function describe(kind: StaleKind, id: string | undefined): StaleDep {
  if (id === undefined) return { kind }
  const hash = hashOf(id)
  return hash === undefined ? { kind, id } : { kind, id, hash }
}

/** The `v` of an id as Vite writes it, `…/dep.js?v=2f1c8a9b`. */
export function hashOf(id: string): string | undefined {
  return /[?&]v=([\w.-]+)/.exec(id)?.[1]
}
