/** Cells on the addon: one value for all threads of the process. */

import { deserialize, serialize } from 'node:v8'
import type * as Binding from '../native/binding.cjs'
import { isFailure, toError, unwrap } from '../native/failure.js'
import type { CellStore } from './cells.js'

/** Opens cells of this addon; the memory of each is mapped once per thread. */
export function nativeCells(binding: typeof Binding): (key: string) => CellStore {
  const known = new Map<string, CellStore>()
  return (key) => {
    const store = known.get(key) ?? new NativeStore(binding, key)
    known.set(key, store)
    return store
  }
}

class NativeStore implements CellStore {
  readonly how = 'bytes'
  readonly #binding: typeof Binding
  readonly #cell: Binding.NativeCell
  /** The core publishes the version here. Absent if the engine does not support external memory. */
  readonly #word: BigUint64Array | undefined
  #seen: { packed: unknown; version: bigint } = { packed: undefined, version: 0n }

  constructor(binding: typeof Binding, key: string) {
    this.#binding = binding
    // Two bytes per character: a lone surrogate is preserved.
    this.#cell = new binding.NativeCell(Buffer.from(key, 'utf16le'))
    const word = this.#cell.word()
    this.#word = word == null ? undefined : new BigUint64Array(word)
  }

  changedSince(version: bigint): boolean {
    return this.#version() !== version
  }

  read(): { packed: unknown; version: bigint } {
    if (!this.changedSince(this.#seen.version)) return this.#seen
    const { bytes, version } = this.#cell.read()
    this.#seen = { packed: bytes, version }
    return this.#seen
  }

  write(packed: unknown): bigint {
    return this.#cell.write(packed as Buffer)
  }

  compareAndSet(expected: bigint, packed: unknown): { ok: boolean; version: bigint } {
    const version = this.#version()
    if (version !== expected) return { ok: false, version }
    return unwrap(this.#cell.compareAndSet(expected, packed as Buffer))
  }

  wait(since: bigint, timeoutMs: number): { settled: Promise<bigint>; cancel(): void } {
    const token = new this.#binding.CancelToken()
    const settled = new Promise<bigint>((resolve, reject) => {
      const reply = this.#cell.wait(since, timeoutMs, token, (reply) =>
        isFailure(reply) ? reject(toError(reply)) : resolve(reply),
      )
      if (isFailure(reply)) reject(toError(reply))
    })
    return { settled, cancel: () => token.cancel() }
  }

  pack(value: unknown): Uint8Array {
    return serialize(value)
  }

  unpack(packed: unknown): unknown {
    // Decoded from a copy: typed arrays and Buffers become views of the input, and these bytes are reused.
    return deserialize(new Uint8Array(packed as Uint8Array))
  }

  #version(): bigint {
    // Uses Atomics, so that the engine cannot keep the value of an earlier load in a register.
    return this.#word === undefined ? this.#cell.version() : Atomics.load(this.#word, 0)
  }
}
