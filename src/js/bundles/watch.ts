/** Events for the pointer. */

import { watch as watchDirectory } from 'node:fs'
import { guarded } from '../native/callbacks.js'
import type { Generation } from './contract.js'

/** Events are hints and can be lost (a full queue, a removed root): a look at the pointer stands behind them. */
const SAFETY_TICK_MS = 1000

/** Tells of the current generation whenever it is another one. */
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
      // No inotify watches left (ENOSPC): the tick alone.
      return undefined
    }
  }

  #poll(): void {
    let generation: Generation | null
    try {
      generation = this.#current()
    } catch {
      // Somebody damaged or removed the store: the next look tells more, and whoever pins gets the error.
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
