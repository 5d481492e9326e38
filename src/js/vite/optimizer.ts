/**
 * What the plugins know of an environment's dependency optimizer, and how they learn of a commit.
 *
 * Vite has no hook for "the optimizer has committed": it puts a new object into `depsOptimizer.metadata` (exported and
 * typed, the same in 6, 7 and 8). That assignment is observed here through an accessor. The alternatives see less: the
 * `full-reload` message can be observed only on in-process channels and is not sent for a commit without a reload, and
 * reading `metadata` from a `transform` hook misses a commit after which nothing is transformed.
 */

import { posix } from 'node:path'
import type { DevEnvironment } from 'vite'

/** Not exported by Vite under its own name. */
export type DepsOptimizer = NonNullable<DevEnvironment['depsOptimizer']>
export type OptimizerMetadata = DepsOptimizer['metadata']
type OptimizedDep = OptimizerMetadata['optimized'][string]

/**
 * A commit of the optimizer over something that was optimized before; the cold start, with or without a cache on
 * disk, follows on nothing. `reload` where Vite reloads the environment because of it.
 */
export interface OptimizerCommit {
  environment: DevEnvironment
  previous: OptimizerMetadata
  current: OptimizerMetadata
  reload: boolean
}

type Listener = (commit: OptimizerCommit) => void
const listeners = new WeakMap<DepsOptimizer, Set<Listener>>()

/** Calls the listener at each commit, before Vite sends the reload. The returned function ends that and, after the last listener, restores Vite's property. */
export function watchOptimizer(environment: DevEnvironment, listener: Listener): () => void {
  const optimizer = environment.depsOptimizer
  // Experimental bundled development (Vite 8) has no optimizer.
  if (optimizer === undefined) return () => {}
  const known = listeners.get(optimizer) ?? observe(environment, optimizer)
  known.add(listener)
  return () => {
    known.delete(listener)
    if (known.size === 0) restore(optimizer)
  }
}

function observe(environment: DevEnvironment, optimizer: DepsOptimizer): Set<Listener> {
  const own = new Set<Listener>()
  listeners.set(optimizer, own)
  let metadata = optimizer.metadata
  Object.defineProperty(optimizer, 'metadata', {
    configurable: true,
    enumerable: true,
    get: () => metadata,
    set(next: OptimizerMetadata) {
      const previous = metadata
      metadata = next
      if (Object.keys(previous.optimized).length === 0) return
      const commit = { environment, previous, current: next, reload: previous.browserHash !== next.browserHash }
      for (const listener of [...own]) listener(commit)
    },
  })
  return own
}

function restore(optimizer: DepsOptimizer): void {
  listeners.delete(optimizer)
  Object.defineProperty(optimizer, 'metadata', { configurable: true, enumerable: true, writable: true, value: optimizer.metadata })
}

/** The optimized dependency or chunk in this file, whatever hash the id carries. */
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
  // All of its files are in one folder; where there are none, none can be stale.
  for (const table of [metadata.optimized, metadata.discovered]) {
    for (const dep of Object.values(table)) return posix.dirname(dep.file) === posix.dirname(fileOf(id))
  }
  return false
}

export function fileOf(id: string): string {
  return id.replace(/[?#].*$/, '')
}
