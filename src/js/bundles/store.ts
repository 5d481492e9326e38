/** An open store. */

import { isAbsolute, relative as relativePath, resolve as resolvePath, sep } from 'node:path'
import { abortable } from '../native/abort.js'
import type { NativeBuildLock, NativeBundles } from '../native/binding.cjs'
import { invalidArgument, isWarmswapError, WarmswapError } from '../native/errors.js'
import { native, unwrap } from '../native/native.js'
import * as check from '../native/validate.js'
import type {
  BundleStore,
  BundleStoreOptions,
  Generation,
  NamedPin,
  NamedPinOptions,
  Pin,
  PinRecord,
  Stage,
  WriteOptions,
} from './contract.js'
import { StoredGeneration } from './generation.js'
import { isNamed, listNamed, pinNamed, releaseNamed } from './named-pin.js'
import { PinHandle } from './pin.js'
import { reportSetAside } from './replaced.js'
import { OpenStage } from './stage.js'
import { DEFAULT_TIMEOUT_MS, type WaitOptions, waiting } from './wait.js'
import { PointerWatch } from './watch.js'

/**
 * Opens the bundle store at `root`. Creates it if it does not exist, and repairs what killed processes left behind.
 *
 * @param root Directory of the store.
 * @param options Durability, generations to keep, `link`, time limit and signal.
 * @returns The open store.
 * @throws {WarmswapError} ERR_INVALID_ARGUMENT for wrong arguments, ERR_UNSUPPORTED for a filesystem whose flock cannot
 * be trusted, ERR_TIMEOUT if another process holds the writer lock.
 *
 * @example
 * const store = await openBundles('.cache/bundles')
 * const stage = await store.stage()
 * await stage.write('index.js', code)
 * await stage.publish()
 */
export async function openBundles(root: string, options?: BundleStoreOptions): Promise<BundleStore> {
  const path = check.absolutePath('root', root)
  const {
    durability = 'process',
    keep,
    graceMs,
    maxBytes,
    maxAgeMs,
    link,
    adopt = false,
    ...wait
  } = check.options('options', options, [
    'durability',
    'keep',
    'graceMs',
    'maxBytes',
    'maxAgeMs',
    'link',
    'adopt',
    'signal',
    'timeoutMs',
  ])
  const given = {
    durability: check.oneOf('options.durability', durability, ['process', 'power']),
    ...(keep === undefined ? {} : { keep: check.wholeNumber('options.keep', keep) }),
    ...(graceMs === undefined ? {} : { graceMs: check.milliseconds('options.graceMs', graceMs) }),
    ...(maxBytes === undefined ? {} : { maxBytes: check.bound('options.maxBytes', maxBytes) }),
    ...(maxAgeMs === undefined ? {} : { maxAgeMs: check.bound('options.maxAgeMs', maxAgeMs) }),
    ...(link === undefined ? {} : { link: outside(path, check.absolutePath('options.link', link)) }),
    adopt: check.boolean('options.adopt', adopt),
  }
  const { timeoutMs, signal } = waiting(wait)
  const bundles = await abortable(signal, (token) => native().openBundles(path, given, timeoutMs, token))
  reportSetAside(bundles)
  return new Store(bundles)
}

/** A link inside its own store would be swept. A link that contains the store would adopt the store into itself. */
function outside(root: string, link: string): string {
  const holds = (folder: string, path: string): boolean => {
    const way = relativePath(folder, path)
    return !isAbsolute(way) && way !== '..' && !way.startsWith(`..${sep}`)
  }
  if (holds(root, link) || holds(link, root))
    throw invalidArgument('options.link', link, `a path outside root '${root}' that does not hold root either`)
  return resolvePath(link)
}

export class Store implements BundleStore {
  readonly root: string
  readonly capabilities: { filesystem: string; clone: boolean }
  readonly #native: NativeBundles
  readonly #watches = new Set<Disposable>()
  #pinned: StoredGeneration | undefined
  #closed = false

  constructor(bundles: NativeBundles) {
    this.#native = bundles
    this.root = bundles.root
    this.capabilities = { filesystem: bundles.filesystem, clone: bundles.cloneOffered }
  }

  /** The native store, while this one is open. Not part of the public API. */
  open(): NativeBundles {
    if (this.#closed) throw new WarmswapError('ERR_CLOSED', `the store '${this.root}' was closed`)
    return this.#native
  }

  current(): Generation | null {
    const number = unwrap(this.open().current())
    return number === 0 ? null : new StoredGeneration(this.#native, this.root, number)
  }

  pin(options?: { generation?: number }): Pin
  pin(options: NamedPinOptions): Promise<NamedPin>
  pin(options?: { generation?: number } | NamedPinOptions): Pin | Promise<NamedPin> {
    if (options === undefined) return this.#toPin(unwrap(this.open().pin()))
    if (isNamed(options)) return pinNamed(() => this.open(), this.root, options)
    const { generation } = check.options<Partial<NamedPinOptions>>('options', options, [
      'generation',
      'name',
      'expiresAt',
    ])
    if (generation !== undefined) check.wholeNumber('options.generation', generation, 1)
    return this.#toPin(unwrap(this.open().pin(generation)))
  }

  async pins(): Promise<PinRecord[]> {
    return await listNamed(this.open())
  }

  async release(name: string, options?: WriteOptions): Promise<boolean> {
    return await releaseNamed(() => this.open(), name, options)
  }

  async stage(options?: WriteOptions & { from?: 'empty' | 'current'; fenced?: boolean }): Promise<Stage> {
    const {
      from = 'empty',
      fenced = false,
      ...wait
    } = check.options('options', options, ['from', 'fenced', 'signal', 'timeoutMs'])
    const fromCurrent = check.oneOf('options.from', from, ['empty', 'current']) === 'current'
    check.boolean('options.fenced', fenced)
    return await this.#stage(fromCurrent, fenced, waiting(wait))
  }

  async #stage(fromCurrent: boolean, fenced: boolean, { timeoutMs, signal }: WaitOptions): Promise<OpenStage> {
    const bundles = this.open()
    return new OpenStage(
      bundles,
      this.root,
      await abortable(signal, (token) => bundles.stage(fromCurrent, fenced, timeoutMs, token)),
    )
  }

  async ensure(
    build: (stage: Stage, context: { signal: AbortSignal }) => Promise<void>,
    options: { fingerprint: string; signal?: AbortSignal; timeoutMs?: number },
  ): Promise<Pin> {
    check.callback('build', build)
    const { fingerprint, ...wait } = check.options('options', options, ['fingerprint', 'signal', 'timeoutMs'])
    const wanted = check.string('options.fingerprint', fingerprint)
    const { timeoutMs, signal } = waiting(wait)
    const ready = await this.#find(wanted)
    if (ready !== null) return ready
    const lock = await acquireBuildLock(this, { timeoutMs, signal })
    try {
      return (await this.#find(wanted)) ?? (await this.#make(build, wanted, signal))
    } finally {
      lock.release()
    }
  }

  /**
   * Finds a generation of this fingerprint whose content is complete, and pins it. Tries the current one first, then
   * the others from new to old.
   */
  async #find(fingerprint: string): Promise<Pin | null> {
    const current = unwrap(this.open().current())
    const found = (await this.list()).filter((generation) => generation.fingerprint === fingerprint)
    found.sort(
      (one, other) => Number(other.number === current) - Number(one.number === current) || other.number - one.number,
    )
    for (const { number } of found) {
      const pin = this.#tryPin(number)
      if (pin === null) continue
      if ((await this.#verifies(number)) === true) return pin
      pin.release()
    }
    return null
  }

  #tryPin(number: number): Pin | null {
    try {
      return this.pin({ generation: number })
    } catch (error) {
      if (isWarmswapError(error) && (error.code === 'ERR_GENERATION_GONE' || error.code === 'ERR_GENERATION_CORRUPT'))
        return null
      throw error
    }
  }

  async #verifies(number: number): Promise<boolean> {
    try {
      // Added files and changed modes do not make a generation incomplete.
      return (await this.verify(number)).problems.every(({ problem }) => problem === 'extra' || problem === 'mode')
    } catch (error) {
      if (isWarmswapError(error) && error.code === 'ERR_GENERATION_CORRUPT') return false
      throw error
    }
  }

  async #make(
    build: (stage: Stage, context: { signal: AbortSignal }) => Promise<void>,
    fingerprint: string,
    signal: AbortSignal | undefined,
  ): Promise<Pin> {
    const context = { signal: signal ?? new AbortController().signal }
    const stage = await this.#stage(false, false, { timeoutMs: DEFAULT_TIMEOUT_MS, signal })
    try {
      await build(stage, context)
      context.signal.throwIfAborted()
      return (await stage.publishAndPin({ fingerprint, ...(signal === undefined ? {} : { signal }) })).pin
    } finally {
      await stage.discard()
    }
  }

  async rollback(generation: number, options?: WriteOptions): Promise<Generation> {
    check.wholeNumber('generation', generation, 1)
    const { timeoutMs, signal } = waiting(check.options('options', options, ['signal', 'timeoutMs']))
    const bundles = this.open()
    const facts = await abortable(signal, (token) => bundles.rollback(generation, timeoutMs, token))
    reportSetAside(bundles)
    return new StoredGeneration(bundles, this.root, generation, facts)
  }

  async collect(
    options?: WriteOptions,
  ): Promise<{ removed: number[]; kept: number[]; pinned: number[]; sweptStages: number }> {
    const { timeoutMs, signal } = waiting(check.options('options', options, ['signal', 'timeoutMs']))
    const bundles = this.open()
    const collected = await abortable(signal, (token) => bundles.collect(timeoutMs, token))
    reportSetAside(bundles)
    return collected
  }

  async list(): Promise<Generation[]> {
    return unwrap(await this.open().list()).map(
      (facts) => new StoredGeneration(this.#native, this.root, facts.number, facts),
    )
  }

  async verify(
    generation?: number,
  ): Promise<{ ok: boolean; problems: { path: string; problem: 'missing' | 'size' | 'hash' | 'mode' | 'extra' }[] }> {
    if (generation !== undefined) check.wholeNumber('generation', generation, 1)
    const problems = unwrap(await this.open().verify(generation))
    return { ok: problems.length === 0, problems }
  }

  watch(listener: (generation: Generation) => void): Disposable {
    check.callback('listener', listener)
    this.open()
    const watch = new PointerWatch(
      this.root,
      () => this.current(),
      listener,
      () => this.#watches.delete(watch),
    )
    this.#watches.add(watch)
    return watch
  }

  async close(): Promise<void> {
    for (const watch of this.#watches) watch[Symbol.dispose]()
    this.#closed = true
    // A caller that removes the folder after close() must not collide with a running collection.
    unwrap(await this.#native.settled())
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }

  #toPin(number: number): Pin {
    // Most calls pin the same generation as the call before.
    if (this.#pinned?.number !== number) this.#pinned = new StoredGeneration(this.#native, this.root, number)
    return new PinHandle(this.#native, this.root, this.#pinned)
  }
}

/**
 * Acquires the lock that only one builder in all threads and processes holds. The kernel releases it when the builder's
 * process ends.
 */
export async function acquireBuildLock(
  store: BundleStore,
  wait: { timeoutMs: number; signal?: AbortSignal | undefined },
): Promise<NativeBuildLock> {
  const bundles = storeOf(store).open()
  return await abortable(wait.signal, (token) => bundles.buildLock(wait.timeoutMs, token))
}

function storeOf(store: BundleStore): Store {
  if (store instanceof Store) return store
  throw invalidArgument('store', store, 'a store that openBundles() of this copy of warmswap opened')
}

/**
 * Checks that the store is open. Throws ERR_CLOSED if it was closed, and ERR_INVALID_ARGUMENT if it is not a store of
 * this copy of warmswap.
 */
export function assertOpen(store: BundleStore): void {
  storeOf(store).open()
}

/** Id of the store, if it has one. */
export function idOf(store: BundleStore): string | null {
  return storeOf(store).open().id
}
