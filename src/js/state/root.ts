/**
 * The root: every copy of this module, in every realm of a thread, finds the same state here.
 *
 * It is stored on the main realm's `globalThis` under a registered symbol, because no object of a module survives
 * Vite's full reload (`evaluatedModules.clear()` also removes virtual modules). The symbol contains the version of the
 * layout below. Copies with the same layout share a root; others have a root of their own and warn about it.
 */

import { warn } from '../native/warn.js'
import type { Definers } from './auto-version.js'

/** Version of {@link Root}'s layout. Fields may be added; a change of meaning needs a new version. */
const PROTOCOL = 1
const ROOT = Symbol.for(`warmswap/root@${PROTOCOL}`)

/** One stored value. */
export interface Entry {
  value: unknown
  version: string | number
  /** 1 for the first value of its key, and one more for each replacement. */
  generation: number
  definedAt: string
  definedBy: string | undefined
  kind: 'data' | 'code'
  /** From the latest definition: an earlier one would keep its whole module graph alive. */
  dispose: ((old: unknown) => void | Promise<void>) | undefined
  /**
   * The old value of a version change whose initialiser failed. Kept for the next migrate, and never returned to
   * callers.
   */
  disposed: boolean
  /** The latest definition of each file. Set for version 'auto'. */
  definers?: Definers | undefined
}

/** A value that is being created. */
export interface Initialisation {
  readonly version: string | number
  /** Version that the entry will have. */
  readonly definers?: Definers | undefined
  /** Set as soon as the initialiser has returned a promise. */
  promise: Promise<unknown> | undefined
  /** The starts that its initialiser waits for. */
  readonly waitsFor: Set<Initialisation>
}

/** The values of one scope. */
export interface Table {
  readonly entries: Map<string, Entry>
  readonly starting: Map<string, Initialisation>
  /** Running disposals. */
  closing?: Map<string, Promise<void>>
}

/** A change of a key. */
export interface StateChange {
  /** Name of the value. */
  key: string
  /** What happened: a value was created, replaced, removed, or created from one of another version. */
  type: 'define' | 'replace' | 'drop' | 'migrate'
}

/** The data that all copies of a thread share. */
export interface Root {
  readonly isolate: Table
  /** Values of scope 'test-file', for the current file. */
  testFile: { name: string; table: Table } | undefined
  readonly listeners: Set<(event: StateChange) => unknown>
  /** Warnings that were already emitted. */
  readonly warned: Set<string>
  /** Folder of each copy of this package that found this root. */
  readonly copies: Set<string>
  /** Shared cells of the portable build. */
  cells?: Map<string, PortableCell>
}

/** A cell that is shared within the isolate only. */
export interface PortableCell {
  version: bigint
  value: unknown
  readonly waiting: Set<(version: bigint) => void>
}

/**
 * Constructors of a realm's collections. They come from the main realm, so that a vm context that came first is not
 * kept alive.
 */
export interface Realm {
  Map: MapConstructor
  Set: SetConstructor
  [ROOT]?: Root
}

export function makeTable(realm: Realm): Table {
  return { entries: new realm.Map(), starting: new realm.Map() }
}

/** Returns the root of this thread. The first copy creates it. */
export function connectRoot(realm: Realm): Root {
  const root: Root = realm[ROOT] ?? {
    isolate: makeTable(realm),
    testFile: undefined,
    listeners: new realm.Set(),
    warned: new realm.Set(),
    copies: new realm.Set(),
  }
  realm[ROOT] = root
  announceCopy(root)
  announceOtherProtocols(root, realm)
  return root
}

/** Emits a warning, unless this thread has emitted it before. */
export function warnOnce(root: Root, what: string, message: string): void {
  if (root.warned.has(what)) return
  root.warned.add(what)
  warn(message)
}

function announceCopy(root: Root): void {
  // A bundler may leave no `import.meta.url`, and the same file is evaluated again under another query.
  const folder = (import.meta.url ?? '').replace(/[?#].*$/, '').replace(/[^/]*$/, '')
  root.copies.add(folder)
  if (root.copies.size < 2) return
  warnOnce(
    root,
    'copies',
    `two copies of warmswap are loaded in this thread (${[...root.copies].join(' and ')}). They share their state, but not their cells, ` +
      `where each has an addon of its own. One of them is superfluous: keep 'warmswap' external and out of pre-bundling (stableState() of ` +
      `warmswap/vite does both), or run 'npm dedupe'.`,
  )
}

function announceOtherProtocols(root: Root, realm: Realm): void {
  const other = Object.getOwnPropertySymbols(realm).find(
    (symbol) => symbol !== ROOT && /^warmswap\/root@\d+$/.test(symbol.description ?? ''),
  )
  if (other === undefined) return
  warnOnce(
    root,
    'protocols',
    `two incompatible versions of warmswap are loaded in this thread (${ROOT.description} and ${other.description}). ` +
      `They do not see each other's state: update the older one.`,
  )
}
