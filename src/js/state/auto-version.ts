/**
 * The version 'auto': an edit of the module that defines a state makes a new version, nothing else does.
 *
 * The Vite plugin passes the content of the file to each definition, with a number that grows with each edit. Without
 * the plugin, the version is the source text of the initialiser.
 *
 * Each value remembers what each file has defined. Only a file that has defined the value before can have been edited.
 * A second module with different text (two copies of a package, the same file loaded by Node and by Vite) keeps the
 * value. Code of an earlier edit, such as a handler that a request still runs, has a smaller number and gets the new
 * value.
 */

import { isSeeded } from '../native/seeded-bugs.js'

/** Facts from the Vite plugin about the module of a definition. The plugin writes them into the code. */
export interface ModuleVersion {
  file: string
  /** Hash of the file's content. */
  hash: string
  /** Grows with each edit. */
  edition: number
}

/** The latest definition of each file. */
export type Definers = Map<string, { version: string | number; edition: number | undefined }>

/** The version that a definition needs. */
export interface WantedVersion {
  readonly version: string | number
  /** The file and its edition. Set for version 'auto'. */
  readonly auto?: { readonly file: string; readonly edition: number | undefined }
}

const DEFAULT_VERSION = 1

/** Without the plugin, all modules count as one. */
const UNKNOWN_FILE = ''

export function wantedVersion(
  given: string | number | undefined,
  init: () => unknown,
  module: ModuleVersion | undefined,
): WantedVersion {
  if (given !== 'auto' || (__WARMSWAP_TESTING__ && isSeeded('state-edit-unseen')))
    return { version: given ?? DEFAULT_VERSION }
  // An optional parameter that is not public: `map(defineState)` and its like pass something else.
  if (typeof module?.hash === 'string') {
    const { file, hash, edition } = module
    return { version: `auto:${hash}`, auto: { file, edition } }
  }
  return { version: `auto:${hashOf(textOf(init))}`, auto: { file: UNKNOWN_FILE, edition: undefined } }
}

/**
 * Whether a value of version `have` satisfies a definition: the version is the same, or the definition is not an edit
 * of it.
 */
export function serves(
  have: { readonly version: string | number; readonly definers?: Definers | undefined },
  { version, auto }: WantedVersion,
): boolean {
  if (have.version === version) return true
  if (auto === undefined || have.definers === undefined) return false
  const known = have.definers.get(auto.file)
  if (known === undefined || known.version === version) return true
  if (__WARMSWAP_TESTING__ && isSeeded('state-old-code-wins')) return false
  return known.edition !== undefined && auto.edition !== undefined && known.edition >= auto.edition
}

/** The definitions of a value including this one. Undefined for a version other than 'auto'. */
export function definersAfter(before: Definers | undefined, { version, auto }: WantedVersion): Definers | undefined {
  if (auto === undefined) return undefined
  return noteDefiner(before ?? new Map(), version, auto)
}

/** Records the definition of a file, unless it is the code of an earlier edit. */
export function noteDefiner(
  definers: Definers,
  version: string | number,
  { file, edition }: NonNullable<WantedVersion['auto']>,
): Definers {
  const known = definers.get(file)
  if (known?.edition === undefined || edition === undefined || edition >= known.edition)
    definers.set(file, { version, edition })
  return definers
}

/** The text without the query strings that a dev server adds to imports: they differ after a re-optimization. */
function textOf(init: () => unknown): string {
  return Function.prototype.toString.call(init).replace(/([?&])[tv]=[\w.-]+/g, '$1')
}

/** A 53-bit hash of the text (cyrb53): the portable build has no synchronous platform hash. */
function hashOf(text: string): string {
  let high = 0xdeadbeef
  let low = 0x41c6ce57
  for (let index = 0; index < text.length; index += 1) {
    const unit = text.charCodeAt(index)
    high = Math.imul(high ^ unit, 2_654_435_761)
    low = Math.imul(low ^ unit, 1_597_334_677)
  }
  high = Math.imul(high ^ (high >>> 16), 2_246_822_507) ^ Math.imul(low ^ (low >>> 13), 3_266_489_909)
  low = Math.imul(low ^ (low >>> 16), 2_246_822_507) ^ Math.imul(high ^ (high >>> 13), 3_266_489_909)
  return (4_294_967_296 * (2_097_151 & low) + (high >>> 0)).toString(36)
}
