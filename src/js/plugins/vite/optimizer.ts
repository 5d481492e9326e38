/**
 * What the plugins know about an environment's dependency optimizer, and how they notice a commit.
 *
 * Vite has no hook for a commit of the optimizer: it assigns a new object to `depsOptimizer.metadata` (exported and
 * typed, the same in 6, 7 and 8). An accessor observes that assignment. The alternatives miss commits: the
 * `full-reload` message can be observed only on in-process channels and is not sent for a commit without a reload, and
 * a `transform` hook misses a commit after which no module is transformed.
 */

import { posix } from 'node:path'
import type { DevEnvironment } from 'vite'
import { attempt } from '../../native/callbacks.js'

/** Vite does not export this type under its own name. */
export type DepsOptimizer = NonNullable<DevEnvironment['depsOptimizer']>
export type OptimizerMetadata = DepsOptimizer['metadata']
type OptimizedDep = OptimizerMetadata['optimized'][string]

/**
 * Called for a commit that replaces an earlier optimization. A cold start, with or without a cache on disk, replaces
 * none. `reload` is true if Vite reloads the environment because of it.
 */
export interface OptimizerCommit {
  environment: DevEnvironment
  previous: OptimizerMetadata
  current: OptimizerMetadata
  reload: boolean
  /**
   * Vite does not reload, although a chunk was deleted that modules may import dynamically: Vite 8 only checks the
   * static imports of a dependency (measured on 8.3.8). Modules evaluated before keep requesting the deleted file.
   */
  reloadMissed: boolean
}

type Listener = (commit: OptimizerCommit) => void
/**
 * Called with metadata that replaces none: empty at the begin of a cold start, and then its first commit, or the cache.
 */
type StartListener = (current: OptimizerMetadata) => void

interface Listeners {
  commits: Set<Listener>
  starts: Set<StartListener>
}

const listeners = new WeakMap<DepsOptimizer, Listeners>()
const deleted = new WeakMap<DepsOptimizer, Set<string>>()

/** Calls the listener at each commit, before Vite sends the reload. The returned function ends that and, after the last listener, restores Vite's property. */
export function watchOptimizer(environment: DevEnvironment, listener: Listener, onStart?: StartListener): () => void {
  const optimizer = environment.depsOptimizer
  // Experimental bundled development (Vite 8) has no optimizer.
  if (optimizer === undefined) return () => {}
  const known = listeners.get(optimizer) ?? observe(environment, optimizer)
  known.commits.add(listener)
  if (onStart !== undefined) known.starts.add(onStart)
  return () => {
    known.commits.delete(listener)
    if (onStart !== undefined) known.starts.delete(onStart)
    if (known.commits.size === 0) restore(optimizer)
  }
}

function observe(environment: DevEnvironment, optimizer: DepsOptimizer): Listeners {
  const own: Listeners = { commits: new Set(), starts: new Set() }
  listeners.set(optimizer, own)
  let metadata = optimizer.metadata
  Object.defineProperty(optimizer, 'metadata', {
    configurable: true,
    enumerable: true,
    get: () => metadata,
    set(next: OptimizerMetadata) {
      const previous = metadata
      metadata = next
      if (Object.keys(previous.optimized).length === 0) {
        for (const listener of [...own.starts])
          attempt(
            `the listener that is called when the optimizer of '${environment.name}' has started`,
            () => listener(next),
            listener,
          )
        return
      }
      const hasDeleted = noteDeleted(optimizer, previous, next)
      const reload = previous.browserHash !== next.browserHash
      const commit = { environment, previous, current: next, reload, reloadMissed: hasDeleted && !reload }
      // This runs in the middle of Vite's commit. A listener must not break it.
      for (const listener of [...own.commits])
        attempt(`a listener to the re-optimization of '${environment.name}'`, () => listener(commit), listener)
    },
  })
  return own
}

function filesOf({ optimized, discovered, chunks }: OptimizerMetadata): Set<string> {
  return new Set([optimized, discovered, chunks].flatMap((table) => Object.values(table).map(({ file }) => file)))
}

/** Records the chunks that this commit deleted. Returns whether there are any. */
function noteDeleted(optimizer: DepsOptimizer, previous: OptimizerMetadata, current: OptimizerMetadata): boolean {
  const files = filesOf(current)
  const gone = Object.values(previous.chunks).filter(({ file }) => !files.has(file))
  const known = deleted.get(optimizer) ?? new Set()
  deleted.set(optimizer, known)
  for (const { file } of gone) known.add(file)
  for (const file of files) known.delete(file)
  return gone.length > 0
}

/** Whether a commit has deleted this file, which existed before. */
export function wasDeleted(environment: DevEnvironment, id: string): boolean {
  const { depsOptimizer } = environment
  return depsOptimizer !== undefined && (deleted.get(depsOptimizer)?.has(fileOf(id)) ?? false)
}

/** Promises of dependencies that have settled. A closed optimizer leaves them in its metadata. */
const settled = new WeakSet<Promise<unknown>>()

/**
 * Settles when the dependencies that wait for the optimizer are committed. Undefined if none waits, and before the first
 * commit: that one reloads nothing, and can itself wait for requests. Never rejects.
 */
export function pendingDiscovery({ depsOptimizer }: DevEnvironment): Promise<unknown> | undefined {
  const { optimized = {}, discovered = {} } = depsOptimizer?.metadata ?? {}
  if (Object.keys(optimized).length === 0) return undefined
  const all = Object.values(discovered).flatMap(({ processing }) => processing ?? [])
  const waiting = all.filter((processing) => !settled.has(processing))
  if (waiting.length === 0) return undefined
  return Promise.allSettled(waiting).then(() => {
    for (const processing of waiting) settled.add(processing)
  })
}

/** What Vite does after a commit that changed a dependency which was in use. */
export function reloadEnvironment(environment: DevEnvironment): void {
  environment.moduleGraph.invalidateAll()
  environment.hot.send({ type: 'full-reload', path: '*' })
}

function restore(optimizer: DepsOptimizer): void {
  listeners.delete(optimizer)
  Object.defineProperty(optimizer, 'metadata', {
    configurable: true,
    enumerable: true,
    writable: true,
    value: optimizer.metadata,
  })
}

/** The optimized dependency or chunk in this file, regardless of the hash in the id. */
export function optimizedDepOf(optimizer: DepsOptimizer, id: string): OptimizedDep | undefined {
  const file = fileOf(id)
  const { optimized, discovered, chunks } = optimizer.metadata
  for (const table of [optimized, discovered, chunks]) {
    for (const dep of Object.values(table)) if (dep.file === file) return dep
  }
  return undefined
}

/**
 * Whether the id is a file of this environment's optimizer. Not `isOptimizedDepFile`: in Vite 6 and 7 the folder
 * `deps_ssr` also begins like the client's `deps`.
 */
export function isOptimizedFile(environment: DevEnvironment, id: string): boolean {
  const metadata = environment.depsOptimizer?.metadata
  if (metadata === undefined) return false
  // All of its files are in one folder. Without that folder, no id can be stale.
  for (const table of [metadata.optimized, metadata.discovered]) {
    for (const dep of Object.values(table)) return posix.dirname(dep.file) === posix.dirname(fileOf(id))
  }
  return false
}

export function fileOf(id: string): string {
  return id.replace(/[?#].*$/, '')
}
