/** A reader's pin on a generation. */

import { resolve as resolvePath, sep } from 'node:path'
import { pathToFileURL } from 'node:url'
import type { NativeBundles } from '../native/binding.cjs'
import { invalidArgument, WarmswapError } from '../native/errors.js'
import { unwrap } from '../native/native.js'
import * as check from '../native/validate.js'
import type { Generation, Pin } from './contract.js'

/**
 * Warns about a pin that was garbage-collected without `release()`. It still holds its generation until the thread
 * ends: a finalizer must not release it, because paths of the generation may still be in use.
 */
const dropped = new FinalizationRegistry<string>((path) => {
  process.emitWarning(
    `a pin on '${path}' was dropped without release(): the generation is kept until this thread ends`,
    {
      type: 'WarmswapWarning',
      code: 'WARMSWAP_PIN_DROPPED',
    },
  )
})

/** Creates a pin for a share that the native side has already counted. */
export class PinHandle implements Pin {
  readonly generation: Generation
  readonly path: string
  /** Root of the store. Not part of the public API. */
  readonly root: string
  readonly #native: NativeBundles
  #released = false

  constructor(bundles: NativeBundles, root: string, generation: Generation) {
    this.generation = generation
    this.path = generation.path
    this.root = root
    this.#native = bundles
    dropped.register(this, this.path, this)
  }

  /** Id of the store, if it has one. Not part of the public API. */
  get store(): string | null {
    return this.#native.id
  }

  /** Whether `release()` was called. Not part of the public API. */
  get released(): boolean {
    return this.#released
  }

  /** The descriptor of the lock. A child that inherits it holds the generation too. Not part of the contract. */
  get descriptor(): number | undefined {
    return this.#native.pinDescriptor(this.generation.number) ?? undefined
  }

  url(relative: string): string {
    const preserving = preservesSymlinks()
    if (preserving !== undefined) {
      throw new WarmswapError(
        'ERR_UNSUPPORTED',
        `pin.url() under ${preserving}: Node would mix modules of several generations, because links are not resolved. Start without ${preserving}, or read files through pin.resolve()`,
      )
    }
    const url = pathToFileURL(this.resolve(relative))
    // Node caches modules by URL: another store at the same path needs other URLs.
    const id = this.#native.distinguishingId
    if (id !== null) url.searchParams.set('store', id)
    return url.href
  }

  resolve(relative: string): string {
    check.string('relative', relative)
    if (this.#released)
      throw new WarmswapError(
        'ERR_CLOSED',
        `the pin on generation ${this.generation.number} was released: its files can be removed at any time. Pin it again with store.pin()`,
        { path: this.path },
      )
    const path = resolvePath(this.path, relative)
    if (relative.includes('\0') || (path !== this.path && !path.startsWith(this.path + sep)))
      throw invalidArgument('relative', relative, 'a relative path that stays inside the generation')
    return path
  }

  isCurrent(): boolean {
    return unwrap(this.#native.isCurrent(this.generation.number))
  }

  release(): void {
    if (this.#released) return
    this.#released = true
    dropped.unregister(this)
    this.#native.release(this.generation.number)
  }

  [Symbol.dispose](): void {
    this.release()
  }
}

/** The Node flag that leaves symbolic links unresolved, if it is set. */
function preservesSymlinks(): string | undefined {
  const flags = [...process.execArgv, ...(process.env.NODE_OPTIONS ?? '').split(/\s+/)]
  const flag = flags.find((each) => /^--preserve-symlinks(-main)?$/.test(each))
  if (flag !== undefined) return flag
  return process.env.NODE_PRESERVE_SYMLINKS === '1' ? 'NODE_PRESERVE_SYMLINKS=1' : undefined
}
