/** Bounded waits: every wait of the coordinator ends, by its event, its caller's signal or its time limit. */

import type { WarmswapError } from '../native/errors.js'

/** How long to wait, and how to stop waiting. */
export interface Bounds {
  signal?: AbortSignal | undefined
  timeoutMs: number
  /** Describes what did not happen in time. */
  late(): WarmswapError
}

/** Settles like `promise`, or rejects with the signal's reason or the error of `late`. */
export function within<T>(promise: Promise<T>, { signal, timeoutMs, late }: Bounds): Promise<T> {
  return new Promise((resolve, reject) => {
    const abort = (): void => settle(() => reject(signal?.reason))
    const timer = setTimeout(() => settle(() => reject(late())), Math.min(timeoutMs, LONGEST_TIMER_MS))
    const settle = (how: () => void): void => {
      clearTimeout(timer)
      signal?.removeEventListener('abort', abort)
      how()
    }
    if (signal?.aborted) return abort()
    signal?.addEventListener('abort', abort, { once: true })
    promise.then(
      (value) => settle(() => resolve(value)),
      (error) => settle(() => reject(error)),
    )
  })
}

/** Node turns a longer timer into one of 1 ms. */
export const LONGEST_TIMER_MS = 2 ** 31 - 1

/** Resolves after `ms` milliseconds, or immediately when the signal aborts. Never rejects. */
export function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const done = (): void => {
      clearTimeout(timer)
      signal.removeEventListener('abort', done)
      resolve()
    }
    const timer = setTimeout(done, ms)
    signal.addEventListener('abort', done, { once: true })
    if (signal.aborted) done()
  })
}

/** A promise with the functions that settle it. */
export interface Deferred<T> {
  readonly promise: Promise<T>
  resolve(value: T): void
  reject(error: unknown): void
}

export function deferred<T>(): Deferred<T> {
  let resolve!: (value: T) => void
  let reject!: (error: unknown) => void
  const promise = new Promise<T>((yes, no) => {
    resolve = yes
    reject = no
  })
  // The waiters handle the rejection. There may be none yet.
  promise.catch(() => {})
  return { promise, resolve, reject }
}
