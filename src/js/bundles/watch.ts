/** Reports changes of the current generation. */

import { watch as watchDirectory } from 'node:fs'
import { guarded } from '../native/callbacks.js'
import type { Generation } from './contract.js'

/**
 * Filesystem events can be lost (a full queue, a removed root). The pointer is therefore also read at this interval, in
 * milliseconds.
 */
const SAFETY_TICK_MS = 1000

/** Calls the listener when the current generation changed. */
export class PointerWatch implements Disposable {
  readonly #current: () => Generation | null
  readonly #listener: (generation: Generation) => void
  readonly #stopped: () => void
  readonly #timer: NodeJS.Timeout
  readonly #watcher: ReturnType<typeof watchDirectory> | undefined
  #seen: number

  constructor(
    root: string,
    current: () => Generation | null,
    listener: (generation: Generation) => void,
    stopped: () => void,
  ) {
    this.#current = current
    this.#listener = guarded('a listener of watch()', listener)
    this.#stopped = stopped
    this.#seen = current()?.number ?? 0
    this.#timer = setInterval(() => this.#poll(), SAFETY_TICK_MS).unref()
    this.#watcher = this.#subscribe(root)
  }

  #subscribe(root: string): ReturnType<typeof watchDirectory> | undefined {
    try {
      const watcher = watchDirectory(root, { persistent: false }, (_event, name) => {
        if (name === null || name === 'current.json') this.#poll()
      })
      return watcher.on('error', () => {})
    } catch {
      // No inotify watches are left (ENOSPC): polling alone finds changes.
      return undefined
    }
  }

  #poll(): void {
    let generation: Generation | null
    try {
      generation = this.#current()
    } catch {
      // The store was damaged or removed: polling continues, and `pin()` reports the error.
      return
    }
    if (generation === null || generation.number === this.#seen) return
    this.#seen = generation.number
    this.#listener(generation)
  }

  [Symbol.dispose](): void {
    clearInterval(this.#timer)
    this.#watcher?.close()
    this.#stopped()
  }
}
