/** One generation. Its number and path are known; its other fields are read on first use. */

import { sep } from 'node:path'
import type { NativeBundles, NativeGeneration } from '../native/binding.cjs'
import { unwrap } from '../native/native.js'
import type { Generation } from './contract.js'

/** Name of a generation's directory (src/core/bundles/layout.rs). */
const nameOf = (number: number): string => String(number).padStart(6, '0')

/** Fields that are read on first use. */
export class StoredGeneration implements Generation {
  declare readonly fingerprint?: string
  readonly number: number
  readonly path: string
  readonly #native: NativeBundles
  #facts: NativeGeneration | undefined

  constructor(bundles: NativeBundles, root: string, number: number, facts?: NativeGeneration) {
    this.number = number
    this.path = `${root}${sep}gens${sep}${nameOf(number)}${sep}tree`
    this.#native = bundles
    this.#facts = facts
  }

  /** Reads all fields of the generation's manifest. Not part of the public API. */
  facts(): NativeGeneration {
    this.#facts ??= unwrap(this.#native.head(this.number))
    return this.#facts
  }

  get digest(): string {
    return this.facts().digest
  }

  get publishedAt(): string {
    return new Date(this.facts().publishedAt).toISOString()
  }

  get files(): number {
    return this.facts().files
  }

  get bytes(): number {
    return this.facts().bytes
  }

  get meta(): unknown {
    const { meta } = this.facts()
    return meta === undefined ? undefined : JSON.parse(meta)
  }

  /** Returns all fields, for logs and messages. */
  toJSON(): Generation {
    const { number, path, digest, publishedAt, files, bytes, fingerprint, meta } = this
    return {
      number,
      path,
      digest,
      publishedAt,
      files,
      bytes,
      ...(fingerprint === undefined ? {} : { fingerprint }),
      ...(meta === undefined ? {} : { meta }),
    }
  }
}

// Not a getter of the class: with exactOptionalPropertyTypes, an optional property cannot be declared as `string |
// undefined`.
Object.defineProperty(StoredGeneration.prototype, 'fingerprint', {
  get(this: StoredGeneration) {
    return this.facts().fingerprint
  },
})

/** When the stage of a generation was created, and its fence. */
export function buildFacts(generation: Generation): { startedAt: number | undefined; fence: number | undefined } {
  const { startedAt, fence } = (generation as StoredGeneration).facts()
  return { startedAt, fence }
}
