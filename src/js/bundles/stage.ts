/** A tree that is being built for publication. */

import { relative as relativePath, resolve as resolvePath, sep } from 'node:path'
import { abortable } from '../native/abort.js'
import type { NativeBundles, NativeGeneration, NativeStage } from '../native/binding.cjs'
import { invalidArgument } from '../native/errors.js'
import { unwrap } from '../native/native.js'
import * as check from '../native/validate.js'
import type { Generation, Pin, Stage } from './contract.js'
import { StoredGeneration } from './generation.js'
import { PinHandle } from './pin.js'
import { reportSetAside } from './replaced.js'
import { waiting } from './wait.js'

const PUBLISH_OPTIONS = ['require', 'ifChanged', 'expect', 'fingerprint', 'meta', 'signal', 'timeoutMs'] as const
export type PublishOptions = NonNullable<Parameters<Stage['publish']>[0]>

/** A stage, usable until it is published or discarded. */
export class OpenStage implements Stage {
  readonly path: string
  readonly #bundles: NativeBundles
  readonly #native: NativeStage
  readonly #root: string

  constructor(bundles: NativeBundles, root: string, stage: NativeStage) {
    this.#bundles = bundles
    this.#root = root
    this.path = stage.path
    this.#native = stage
  }

  async write(relative: string, data: string | Uint8Array, options?: { mode?: number }): Promise<void> {
    const { mode = 0o644 } = check.options('options', options, ['mode'])
    if (check.wholeNumber('options.mode', mode) > 0o777)
      throw invalidArgument('options.mode', mode, 'permission bits, 0 to 0o777')
    unwrap(
      await this.#native.write([{ path: check.string('relative', relative), contents: bytesOf('data', data), mode }]),
    )
  }

  async writeAll(files: Iterable<{ path: string; contents: Uint8Array }>, base: string): Promise<void> {
    const root = check.absolutePath('base', base)
    const list = [...files].map(({ path, contents }) => ({
      path: relativePath(root, check.absolutePath('files[].path', path)).split(sep).join('/'),
      contents: bytesOf('files[].contents', contents),
      mode: 0o644,
    }))
    const outsider = list.find(({ path }) => path === '' || path === '..' || path.startsWith('../'))
    if (outsider !== undefined)
      throw invalidArgument('files[].path', resolvePath(root, outsider.path), `a path below base '${root}'`)
    unwrap(await this.#native.write(list))
  }

  async symlink(relative: string, target: string): Promise<void> {
    unwrap(await this.#native.symlink(check.string('relative', relative), check.string('target', target)))
  }

  async adopt(directory: string, how: 'clone' | 'copy' | 'move' = 'clone'): Promise<void> {
    unwrap(
      await this.#native.adopt(
        check.absolutePath('directory', directory),
        check.oneOf('how', how, ['clone', 'copy', 'move']),
      ),
    )
  }

  async publish(options?: PublishOptions): Promise<Generation & { readonly changed: boolean }> {
    const facts = await this.#commit(options, { pin: false })
    return Object.assign(new StoredGeneration(this.#bundles, this.#root, facts.number, facts), {
      changed: facts.changed === true,
    })
  }

  /** Publishes the stage, and pins the result before it can be collected. Not part of the public API. */
  async publishAndPin(options?: PublishOptions): Promise<{ pin: Pin; changed: boolean }> {
    const facts = await this.#commit(options, { pin: true })
    return {
      pin: new PinHandle(
        this.#bundles,
        this.#root,
        new StoredGeneration(this.#bundles, this.#root, facts.number, facts),
      ),
      changed: facts.changed === true,
    }
  }

  async #commit(options: PublishOptions | undefined, { pin }: { pin: boolean }): Promise<NativeGeneration> {
    const {
      require = [],
      ifChanged = false,
      expect,
      fingerprint,
      meta,
      ...wait
    } = check.options('options', options, PUBLISH_OPTIONS)
    if (!Array.isArray(require)) throw invalidArgument('options.require', require, 'an array of relative paths')
    const { timeoutMs, signal } = waiting(wait)
    const asked = {
      timeoutMs,
      require: require.map((path) => check.string('options.require[]', path)),
      ifChanged: check.boolean('options.ifChanged', ifChanged),
      pin,
      ...(expect === undefined ? {} : { expect: check.wholeNumber('options.expect', expect) }),
      ...(fingerprint === undefined ? {} : { fingerprint: check.string('options.fingerprint', fingerprint) }),
      ...(meta === undefined ? {} : { meta: jsonOf('options.meta', meta) }),
    }
    const facts = await abortable(signal, (token) => this.#native.publish(asked, token))
    reportSetAside(this.#bundles)
    return facts
  }

  async discard(): Promise<void> {
    unwrap(await this.#native.discard())
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.discard()
  }
}

function bytesOf(name: string, data: unknown): Uint8Array {
  if (typeof data === 'string') return Buffer.from(data)
  if (data instanceof Uint8Array) return data
  throw invalidArgument(name, data, 'a string or a Uint8Array')
}

function jsonOf(name: string, value: unknown): string {
  try {
    const text = JSON.stringify(value) as string | undefined
    if (text !== undefined) return text
  } catch {
    // JSON.stringify fails for cycles and bigints. The message below says what is expected.
  }
  throw invalidArgument(name, value, 'a value that JSON.stringify() accepts')
}
