/** Telling a dependency that was optimized anew from every other failure. */

/** What became of the dependency: `outdated` and `processing` on all versions, `missing-chunk` where Vite 6 finds an old chunk deleted. */
export type StaleKind = 'outdated' | 'processing' | 'missing-chunk'

/** A stale dependency as Vite reported it: the id it was asked for and the hash in it. */
export interface StaleDep {
  kind: StaleKind
  id?: string
  hash?: string
}

interface Known {
  kind: StaleKind
  code: string
  /** Vite's whole text, which some hops begin with the class. */
  whole: RegExp
  /** The same anywhere in a text. */
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

/** Wrappers of wrappers end somewhere; a cause that names itself must not hold us up. */
const DEEPEST_CAUSE = 8

/**
 * The stale dependency behind an error, or undefined for every other error.
 *
 * The code is asked first, on the error and on its `cause`s; then the whole message, because some hops (miniflare's
 * error pages, wrappers of frameworks) lose the code. An error that merely quotes Vite's text is not one: the
 * message has to begin with it, and only a plain `Error` is asked for its message.
 */
export function staleDepError(error: unknown): StaleDep | undefined {
  const chain = [...causes(error)]
  for (const { code } of chain as { code?: unknown }[]) {
    const found = KINDS.find((each) => each.code === code)
    // A wrapper can have taken over the code without the text.
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
    // Errors of other realms and of a worker are not `instanceof Error`; what has a message is one.
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
