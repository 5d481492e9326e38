/**
 * Values that are being created, and which of them wait for one another, so that a circle is an error instead of a
 * hang.
 */

import { WarmswapError } from '../native/errors.js'
import type { Initialisation } from './root.js'

interface Context {
  run<R>(start: Initialisation, task: () => R): R
  getStore(): Initialisation | undefined
  disable(): void
}

let context: Context | undefined
let running = 0

/** Runs an initialiser, so that a definition inside it can be distinguished from a concurrent one. */
export async function runInitialiser<T>(start: Initialisation, task: () => Promise<T>): Promise<T> {
  context ??= makeContext()
  running += 1
  try {
    return await (context === undefined ? task() : context.run(start, task))
  } finally {
    running -= 1
    // On Node 20 and 22 an enabled context slows down every promise of the process.
    if (running === 0) context?.disable()
  }
}

/** The value that is being created. Throws ERR_REENTRANT if waiting for it could never end. */
export function awaitedBy(key: string, start: Initialisation): Promise<unknown> {
  const waiter = context?.getStore()
  if (start.promise === undefined || (waiter !== undefined && reaches(start, waiter))) {
    return Promise.reject(
      new WarmswapError(
        'ERR_REENTRANT',
        `state '${key}' is being defined, and its own initialiser waits for it, directly or through another definition. Create what it needs before, or under another key.`,
      ),
    )
  }
  if (waiter === undefined) return start.promise
  waiter.waitsFor.add(start)
  return start.promise.finally(() => waiter.waitsFor.delete(start))
}

function reaches(from: Initialisation, to: Initialisation): boolean {
  return from === to || [...from.waitsFor].some((next) => reaches(next, to))
}

/** Node and workerd have one. In a browser only the synchronous part of an initialiser can be tracked. */
function makeContext(): Context | undefined {
  interface Hooks {
    AsyncLocalStorage: new () => Context
  }
  const { process } = globalThis as { process?: { getBuiltinModule?(id: string): Hooks | undefined } }
  const hooks = process?.getBuiltinModule?.('async_hooks')
  return hooks && new hooks.AsyncLocalStorage()
}
