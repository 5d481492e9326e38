/** The registry: values that outlive the modules that define them. Node, browsers and workerd use the same code. */

import { attempt } from '../native/callbacks.js'
import { invalidArgument, WarmswapError } from '../native/errors.js'
import * as validate from '../native/validate.js'
import {
  type Definers,
  definersAfter,
  type ModuleVersion,
  noteDefiner,
  serves,
  type WantedVersion,
  wantedVersion,
} from './auto-version.js'
import { callSite } from './call-site.js'
import { closingOf, dispose } from './dispose.js'
import { kindOf } from './kind.js'
import {
  connectRoot,
  type Entry,
  type Initialisation,
  type Realm,
  type Root,
  type StateChange,
  type Table,
  warnOnce,
} from './root.js'
import { type StateScope, tableOf, visibleTables } from './scope.js'
import { awaitedBy, runInitialiser } from './starting.js'

/** Options of a definition. */
export interface StateOptions<T> {
  /**
   * Version of the value. If a definition has another version than the stored one, the old value is disposed of and a
   * new one is created. `'auto'` is a version that changes with each edit of the module that calls defineState, and
   * with nothing else: an edit of another module, a reload, a re-optimization and a restart of the server keep the
   * value. With the Vite plugin `'auto'` is the content of the module's file, otherwise the source text of `init`.
   * @default 1
   */
  version?: 'auto' | (string & {}) | number
  /**
   * How far the value is shared. 'isolate': one value per thread, over all its vm contexts; 'realm': one per vm
   * context; 'test-file': one per run of a test file. @default 'isolate'
   */
  scope?: StateScope
  /**
   * Closes a value. Called once, before the next value is created: for a new version, and by replaceState, dropState
   * and resetState. defineStateAsync waits up to 10 seconds for the promise that it returns; defineState cannot wait.
   * An error becomes a process warning, and the next value is created.
   */
  dispose?(old: T): void | Promise<void>
  /** Creates the value of a new version from the old value, instead of the initialiser. */
  migrate?(old: T, from: string | number): T
}

const DEFAULT_VERSION = 1

let root: Root
let isolate: Table

/** Finds the root of this thread in the main realm. The entry module calls it once, before anything else. */
export function attach(mainRealm: Realm): Root {
  root = connectRoot(mainRealm)
  isolate = root.isolate
  return root
}

/**
 * Returns the value of `key`, and creates it with `init` if there is none. Every module, copy of this package, vm
 * context and module runner of the thread gets the same object. If a value is stored, `init` is not called, and the
 * call costs one `Map.get`.
 *
 * @param key Name of the value.
 * @param init Creates the value.
 * @param options Version, scope, `dispose` and `migrate`.
 * @returns The stored value, or the new one.
 * @throws {WarmswapError} ERR_REENTRANT if `init` asks for its own key, ERR_NOT_READY if defineStateAsync() is still
 * creating the value, ERR_INVALID_ARGUMENT for wrong arguments. An error of `init` is thrown, and nothing is stored.
 */
export function defineState<T>(key: string, init: () => T, options?: StateOptions<T>): T
export function defineState<T>(key: string, init: () => T, options?: StateOptions<T>, module?: ModuleVersion): T {
  const table = options?.scope === undefined ? isolate : tableOf(root, options.scope)
  const entry = table.entries.get(key)
  if (entry !== undefined && entry.version === (options?.version ?? DEFAULT_VERSION) && !entry.disposed)
    return hit<T>(entry, options)
  checkDefinition(key, init, options)
  const wanted = wantedVersion(options?.version, init, module)
  if (entry !== undefined && !entry.disposed && serves(entry, wanted)) return hit<T>(entry, options, wanted)
  refuseIfStarting(table, key)
  const start = startOf(entry, wanted)
  table.starting.set(key, start)
  try {
    void (entry && dispose(table, key, entry, options?.dispose as Entry['dispose']))
    const migrate = migrationOf(entry, start.version, options)
    const value = migrate ? migrate() : init()
    return store(table, key, value, start, options, migrate ? 'migrate' : 'define', callSite(defineState))
  } finally {
    table.starting.delete(key)
  }
}

/**
 * Like {@link defineState}, with an asynchronous initialiser. Concurrent calls share it. A failure rejects them all and
 * is not stored, so that the next call tries again.
 *
 * @param key Name of the value.
 * @param init Creates the value.
 * @param options Version, scope, `dispose` and `migrate`.
 * @returns The stored value, or the new one.
 * @throws {WarmswapError} ERR_REENTRANT if `init` waits for its own key, ERR_INVALID_ARGUMENT for wrong arguments.
 * Otherwise what `init` threw.
 */
export async function defineStateAsync<T>(key: string, init: () => Promise<T>, options?: StateOptions<T>): Promise<T>
export async function defineStateAsync<T>(
  key: string,
  init: () => Promise<T>,
  options?: StateOptions<T>,
  module?: ModuleVersion,
): Promise<T> {
  const site = callSite(defineStateAsync)
  checkDefinition(key, init, options)
  const table = tableOf(root, options?.scope)
  const wanted = wantedVersion(options?.version, init, module)
  for (;;) {
    const entry = table.entries.get(key)
    if (entry !== undefined && !entry.disposed && serves(entry, wanted)) return hit<T>(entry, options, wanted)
    const starting = table.starting.get(key)
    if (starting === undefined) return startAsync(table, key, wanted, init, options, site)
    const joined = awaitedBy(key, starting)
    if (serves(starting, wanted)) return (await joined) as T
    await joined.catch(refuseReentrance)
  }
}

function startOf(entry: Entry | undefined, wanted: WantedVersion): Initialisation {
  const definers = definersAfter(entry?.definers && new Map(entry.definers), wanted)
  return { version: wanted.version, definers, promise: undefined, waitsFor: new Set() }
}

function startAsync<T>(
  table: Table,
  key: string,
  wanted: WantedVersion,
  init: () => Promise<T>,
  options: StateOptions<T> | undefined,
  site: string | undefined,
): Promise<T> {
  const entry = table.entries.get(key)
  const start = startOf(entry, wanted)
  table.starting.set(key, start)
  const made = runInitialiser(start, async () => {
    try {
      void (entry && dispose(table, key, entry, options?.dispose as Entry['dispose']))
      const closing = closingOf(table, key)
      // Without a pause if there is nothing to wait for: the initialiser then begins in its caller's turn.
      if (closing !== undefined) await closing
      const migrate = migrationOf(entry, start.version, options)
      const value = migrate ? migrate() : await init()
      return store(table, key, value, start, options, migrate ? 'migrate' : 'define', site)
    } finally {
      table.starting.delete(key)
    }
  })
  start.promise = made
  return made
}

/**
 * Returns the value of `key`, or undefined if none is stored. The value may itself be `undefined`: {@link hasState}
 * distinguishes the two.
 *
 * @param key Name of the value.
 */
export function peekState<T>(key: string): T | undefined {
  return find(validate.string('key', key))?.entries.get(key)?.value as T | undefined
}

/** Creates the value from that of another version. Undefined if there is none, or no `migrate`. */
function migrationOf<T>(
  entry: Entry | undefined,
  version: string | number,
  options: StateOptions<T> | undefined,
): (() => T) | undefined {
  if (entry === undefined || entry.version === version || options?.migrate === undefined) return undefined
  const { migrate } = options
  return () => migrate.call(options, entry.value as T, entry.version)
}

/**
 * Whether a value is stored under `key`, even if it is `undefined` or `null`.
 *
 * @param key Name of the value.
 */
export function hasState(key: string): boolean {
  return find(validate.string('key', key)) !== undefined
}

/**
 * Replaces a defined value. The old one is disposed of unless it is the same.
 *
 * @param key Name of the value.
 * @param value The new value.
 * @throws {WarmswapError} ERR_INVALID_ARGUMENT if no value is stored under `key`; ERR_REENTRANT or ERR_NOT_READY while it
 * is being created.
 */
export function replaceState<T>(key: string, value: T): void {
  const table = findOrStarting(validate.string('key', key))
  if (table === undefined) throw invalidArgument('key', key, 'a key that defineState or defineStateAsync has defined')
  refuseIfStarting(table, key)
  const entry = table.entries.get(key) as Entry
  if (!Object.is(entry.value, value)) void dispose(table, key, entry)
  store(table, key, value, entry, { dispose: entry.dispose } as StateOptions<T>, 'replace', callSite(replaceState))
}

/**
 * Disposes of a value and removes it. A value that is being created is awaited first.
 *
 * @param key Name of the value.
 * @returns Whether there was a value.
 * @throws {WarmswapError} ERR_REENTRANT if the initialiser of the value calls it.
 */
export async function dropState(key: string): Promise<boolean> {
  validate.string('key', key)
  const table = findOrStarting(key)
  if (table === undefined) return false
  const starting = table.starting.get(key)
  if (starting !== undefined) await awaitedBy(key, starting).catch(refuseReentrance)
  const entry = table.entries.get(key)
  if (entry === undefined) return false
  table.entries.delete(key)
  notify({ key, type: 'drop' })
  await dispose(table, key, entry)
  return true
}

/**
 * Drops values, the latest definition first.
 *
 * @param filter Which values. Default: all.
 */
export async function resetState(filter?: {
  /** Start of the keys to drop. @default '' */
  prefix?: string
}): Promise<void> {
  const { prefix = '' } = validate.options('filter', filter, ['prefix'])
  validate.string('filter.prefix', prefix)
  const keys = visibleTables(root).flatMap(({ entries, starting }) => [...entries.keys(), ...starting.keys()])
  for (const key of keys.reverse()) if (key.startsWith(prefix)) await dropState(key)
}

/**
 * Lists the stored values in the order of definition, for debugging and for finding leaks. `generation` counts the values
 * that the key has had, `definedBy` is the line of the definition, and `kind` is 'code' for functions and instances of
 * classes.
 */
export function listState(): {
  key: string
  version: string | number
  generation: number
  definedAt: string
  definedBy?: string
  kind: 'data' | 'code'
}[] {
  return visibleTables(root).flatMap(({ entries }) =>
    [...entries]
      .filter(([, { disposed }]) => !disposed)
      .map(([key, { version, generation, definedAt, definedBy, kind }]) => ({
        key,
        version,
        generation,
        definedAt,
        ...(definedBy === undefined ? {} : { definedBy }),
        kind,
      })),
  )
}

/**
 * Calls the listener for every change in this thread until the subscription is disposed of. Does not keep the process
 * alive.
 *
 * @param listener Called after each change.
 * @returns The subscription.
 */
export function onStateChange(listener: (event: StateChange) => void): Disposable {
  validate.callback('listener', listener)
  // Wrapped, so that the same function can subscribe twice and each subscription can be ended alone.
  const subscription = (event: StateChange): unknown => listener(event)
  root.listeners.add(subscription)
  return { [Symbol.dispose]: () => void root.listeners.delete(subscription) }
}

function hit<T>(entry: Entry, options: StateOptions<T> | undefined, { version, auto }: Partial<WantedVersion> = {}): T {
  if (auto !== undefined && entry.definers !== undefined) noteDefiner(entry.definers, version as string, auto)
  // Code of an earlier edit: its dispose belongs to a value that no longer exists.
  if (auto !== undefined && entry.version !== version) return entry.value as T
  if (options?.dispose !== undefined) entry.dispose = options.dispose as Entry['dispose']
  return entry.value as T
}

function store<T>(
  table: Table,
  key: string,
  value: T,
  { version, definers }: { version: string | number; definers?: Definers | undefined },
  options: StateOptions<T> | undefined,
  type: StateChange['type'],
  site: string | undefined,
): T {
  const kind = kindOf(value)
  table.entries.set(key, {
    value,
    version,
    generation: (table.entries.get(key)?.generation ?? 0) + 1,
    definedAt: new Date().toISOString(),
    definedBy: site,
    kind,
    dispose: options?.dispose as Entry['dispose'],
    disposed: false,
    definers,
  })
  // With 'auto' an edit replaces the value, so that at most one module graph is kept.
  if (kind === 'code' && definers === undefined) warnOfCode(key, site)
  notify({ key, type })
  return value
}

function warnOfCode(key: string, site: string | undefined): void {
  if ((globalThis as { process?: { env?: Record<string, string> } }).process?.env?.NODE_ENV === 'production') return
  warnOnce(
    root,
    `code:${key}`,
    `state '${key}'${site === undefined ? '' : ` (defined at ${site})`} holds a function or an instance of a class: it keeps the module graph ` +
      `that defined it in memory, and runs the old code after a reload. Store plain data, or let an edit replace the value: version 'auto' with a 'dispose'.`,
  )
}

function notify(event: StateChange): void {
  for (const listener of root.listeners) {
    attempt('a listener of onStateChange()', () => listener(event), listener)
  }
}

function find(key: string): Table | undefined {
  return visibleTables(root).find(({ entries }) => entries.get(key)?.disposed === false)
}

function findOrStarting(key: string): Table | undefined {
  return visibleTables(root).find(({ entries, starting }) => entries.has(key) || starting.has(key))
}

function refuseIfStarting(table: Table, key: string): void {
  const starting = table.starting.get(key)
  if (starting === undefined) return
  if (starting.promise === undefined)
    throw new WarmswapError(
      'ERR_REENTRANT',
      `state '${key}' is being defined: its own initialiser, migrate or dispose uses it. Create what it needs before, or under another key.`,
    )
  throw new WarmswapError(
    'ERR_NOT_READY',
    `state '${key}' is still being created by defineStateAsync: await that call first.`,
  )
}

/** A caller that waits for another's start only needs to know that it has ended, unless it can never end. */
function refuseReentrance(error: unknown): void {
  if (error instanceof WarmswapError && error.code === 'ERR_REENTRANT') throw error
}

function checkDefinition<T>(key: string, init: () => unknown, options: StateOptions<T> | undefined): void {
  validate.string('key', key)
  validate.callback('init', init)
  const { version, dispose, migrate } = validate.options('options', options, ['version', 'scope', 'dispose', 'migrate'])
  const isVersion =
    version === undefined || typeof version === 'string' || (typeof version === 'number' && !Number.isNaN(version))
  if (!isVersion) throw invalidArgument('options.version', version, 'a string or a number')
  if (dispose !== undefined) validate.callback('options.dispose', dispose)
  if (migrate !== undefined) validate.callback('options.migrate', migrate)
}
