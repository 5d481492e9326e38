/** Shared cells: one interface for the addon's cells and the portable ones. */

import { invalidArgument, WarmswapError } from '../native/errors.js'
import { type CopyMethod, refuseLoss } from '../native/loss.js'
import * as validate from '../native/validate.js'

/** A versioned value that all threads of the process share. Stored as structured-clone bytes, never as a reference. */
export interface SharedCell<T> extends Disposable {
  /**
   * Returns value and version of one moment, as a new copy at each call. `undefined` and `0n` before the first write.
   */
  read(): { value: T | undefined; version: bigint }
  /** Writes unconditionally. Returns the new version. */
  write(value: T): bigint
  /** Writes only if the version is still `expected`. `version` is the version after the call. */
  compareAndSet(expected: bigint, value: T): { ok: boolean; version: bigint }
  /**
   * Reads, changes and writes, and repeats until no other writer came in between. `change` may be called several times.
   */
  update(change: (value: T | undefined) => T): { value: T; version: bigint }
  /** Whether the version differs from this one. Costs a memory load and no native call. */
  changedSince(version: bigint): boolean
  /**
   * Resolves with the latest version as soon as it differs from `since`. Does not keep the thread alive: a thread that
   * has nothing else to do ends.
   *
   * @throws {WarmswapError} ERR_TIMEOUT after `timeoutMs`, ERR_CLOSED if the handle is closed. Aborting rejects with the
   * signal's reason.
   */
  waitForChange(
    since: bigint,
    options?: {
      /** Longest wait in milliseconds. @default Infinity */
      timeoutMs?: number
      /** Stops waiting. */
      signal?: AbortSignal
    },
  ): Promise<bigint>
}

/** Storage of a cell's value: as bytes outside all threads, or as a clone in this one. */
export interface CellStore {
  changedSince(version: bigint): boolean
  read(): { packed: unknown; version: bigint }
  write(packed: unknown): bigint
  compareAndSet(expected: bigint, packed: unknown): { ok: boolean; version: bigint }
  wait(since: bigint, timeoutMs: number): { settled: Promise<bigint>; cancel(): void }
  /** How a value is copied. */
  readonly how: CopyMethod
  /** The value in its stored form. Throws if it cannot be cloned. */
  pack(value: unknown): unknown
  unpack(packed: unknown): unknown
}

/** Maximum size of a value in bytes. A value is copied at each read and write: keep larger data in a file. */
const DEFAULT_MAX_BYTES = 16 * 2 ** 20

let open: (key: string) => CellStore

/** Sets where cells are stored. The entry module calls it once. */
export function attachCells(openStore: (key: string) => CellStore): void {
  open = openStore
}

/**
 * Opens the cell of `key`, which is the same for every thread of the process. It lives as long as the process. Dispose
 * closes this handle and ends its waits with ERR_CLOSED.
 *
 * @param key Name of the cell.
 * @param options Size limit.
 * @returns A handle of the cell.
 * @throws {WarmswapError} ERR_INVALID_ARGUMENT for wrong arguments.
 */
export function sharedCell<T>(
  key: string,
  options?: {
    /** Largest value in bytes. A larger one is refused with ERR_TOO_LARGE. @default 16 MiB */
    maxBytes?: number
  },
): SharedCell<T> {
  validate.string('key', key)
  const { maxBytes = DEFAULT_MAX_BYTES } = validate.options('options', options, ['maxBytes'])
  return new Cell<T>(key, open(key), validate.wholeNumber('options.maxBytes', maxBytes, 1))
}

class Cell<T> implements SharedCell<T> {
  readonly #key: string
  readonly #store: CellStore
  readonly #maxBytes: number
  readonly #waits = new Set<(reason: unknown) => void>()
  #closed = false

  constructor(key: string, store: CellStore, maxBytes: number) {
    this.#key = key
    this.#store = store
    this.#maxBytes = maxBytes
  }

  read(): { value: T | undefined; version: bigint } {
    this.#refuseIfClosed()
    const { packed, version } = this.#store.read()
    return { value: version === 0n ? undefined : (this.#store.unpack(packed) as T), version }
  }

  write(value: T): bigint {
    this.#refuseIfClosed()
    return this.#store.write(this.#pack(value))
  }

  compareAndSet(expected: bigint, value: T): { ok: boolean; version: bigint } {
    this.#refuseIfClosed()
    checkVersion('expected', expected)
    const packed = this.#pack(value)
    return this.#store.compareAndSet(expected, packed)
  }

  update(change: (value: T | undefined) => T): { value: T; version: bigint } {
    validate.callback('change', change)
    for (;;) {
      const { value, version } = this.read()
      const next = change(value)
      const swap = this.compareAndSet(version, next)
      if (swap.ok) return { value: next, version: swap.version }
    }
  }

  changedSince(version: bigint): boolean {
    this.#refuseIfClosed()
    checkVersion('version', version)
    return this.#store.changedSince(version)
  }

  async waitForChange(since: bigint, options?: { timeoutMs?: number; signal?: AbortSignal }): Promise<bigint> {
    this.#refuseIfClosed()
    checkVersion('since', since)
    const { timeoutMs = Infinity, signal } = validate.options('options', options, ['timeoutMs', 'signal'])
    validate.milliseconds('options.timeoutMs', timeoutMs, { infinity: true })
    validate.signal('options.signal', signal)
    signal?.throwIfAborted()
    const wait = this.#store.wait(since, timeoutMs)
    const abort = (): void => stop(signal?.reason)
    let stop!: (reason: unknown) => void
    const stopped = new Promise<never>((_, reject) => (stop = reject))
    this.#waits.add(stop)
    signal?.addEventListener('abort', abort, { once: true })
    try {
      return await Promise.race([wait.settled, stopped])
    } finally {
      this.#waits.delete(stop)
      signal?.removeEventListener('abort', abort)
      wait.cancel()
    }
  }

  [Symbol.dispose](): void {
    this.#closed = true
    for (const stop of this.#waits) stop(this.#closedError())
  }

  #pack(value: T): unknown {
    refuseLoss(`the value for cell '${this.#key}'`, value, this.#store.how)
    let packed: unknown
    try {
      packed = this.#store.pack(value)
    } catch (error) {
      throw new WarmswapError(
        'ERR_INVALID_ARGUMENT',
        `the value for cell '${this.#key}' cannot be cloned (${(error as Error).message}); expected data that structured clone copies: no functions, symbols or promises`,
        { cause: error },
      )
    }
    if (packed instanceof Uint8Array && packed.byteLength > this.#maxBytes) {
      throw new WarmswapError(
        'ERR_TOO_LARGE',
        `the value for cell '${this.#key}' takes ${packed.byteLength} bytes, its limit is ${this.#maxBytes}: raise options.maxBytes, or keep it in a file and only its name in the cell`,
      )
    }
    return packed
  }

  #refuseIfClosed(): void {
    if (this.#closed) throw this.#closedError()
  }

  #closedError(): WarmswapError {
    return new WarmswapError(
      'ERR_CLOSED',
      `this handle of cell '${this.#key}' was disposed of: open it again with sharedCell()`,
    )
  }
}

function checkVersion(name: string, version: unknown): void {
  if (typeof version !== 'bigint')
    throw invalidArgument(name, version, 'a version (bigint) that a read or a write has returned')
}
