/** Bundles: directories that are swapped atomically and kept until their last reader is gone. */

import { watch as watchDirectory } from 'node:fs'
import { relative as relativePath, resolve as resolvePath, sep } from 'node:path'
import { pathToFileURL } from 'node:url'
import { abortable } from './abort.js'
import type { NativeBuildLock, NativeBundles, NativeGeneration, NativeStage } from './binding.cjs'
import { WarmswapError, invalidArgument, isWarmswapError } from './errors.js'
import { native, unwrap } from './native.js'
import * as check from './validate.js'

export interface BundleStoreOptions {
  /** 'process' survives kill -9; 'power' also survives power loss (fsync order). @default 'process' */
  durability?: 'process' | 'power'
  /** How many generations besides the current one stay: those that were current most recently. Kept in the store; an opener that passes it changes it. @default 1 */
  keep?: number
  /** How long an unpinned generation stays after it stopped being current, for readers that cannot pin (browsers). Kept in the store. @default 0 */
  graceMs?: number
  /** A path (such as `dist`) that is made a symlink to the current generation. A real directory there is adopted as the first generation. */
  link?: string
}

/** How long to wait for the writer lock, and how to stop waiting. ERR_TIMEOUT carries the holder. */
export interface WriteOptions {
  signal?: AbortSignal
  /** @default 30_000 */
  timeoutMs?: number
}

/** One store is one bundle: a dev server with forty functions opens forty stores. Filesystems whose flock cannot be trusted are ERR_UNSUPPORTED (put `root` on a local one and use `link`). */
export interface BundleStore extends AsyncDisposable {
  /** Absolute, with every link resolved. */
  readonly root: string
  readonly capabilities: { filesystem: string; clone: boolean }
  /** One readlink gives `number` and `path`; the other fields are read on first use and throw ERR_GENERATION_GONE if the generation was collected meanwhile. */
  current(): Generation | null
  /** Synchronous and cheap (a handful of syscalls, none of which waits). The generation stays until release() or the end of this thread or process. */
  pin(options?: { generation?: number }): Pin
  stage(
    options?: WriteOptions & {
      from?: 'empty' | 'current'
      /** publish() refuses with ERR_FENCED once a later-staged fenced generation has been published. */
      fenced?: boolean
    },
  ): Promise<Stage>
  /**
   * Pin a generation made from `fingerprint`, building it first only if there is none or it does not verify.
   * Single flight over all threads and processes; a killed builder is replaced by one waiter.
   */
  ensure(build: (stage: Stage, context: { signal: AbortSignal }) => Promise<void>, options: { fingerprint: string; signal?: AbortSignal; timeoutMs?: number }): Promise<Pin>
  rollback(generation: number, options?: WriteOptions): Promise<Generation>
  /** publish() and rollback() collect by themselves in the background; this waits for it. */
  collect(options?: WriteOptions): Promise<{ removed: number[]; kept: number[]; pinned: number[]; sweptStages: number }>
  list(): Promise<Generation[]>
  verify(generation?: number): Promise<{ ok: boolean; problems: { path: string; problem: 'missing' | 'size' | 'hash' | 'mode' | 'extra' }[] }>
  /** Coalesced; never misses the last publish. Does not keep the process alive. */
  watch(listener: (generation: Generation) => void): Disposable
  close(): Promise<void>
}

export interface Generation {
  readonly number: number
  /** Absolute, explicit: never through `current`. */
  readonly path: string
  /** Over paths, types, modes, link targets and bytes. */
  readonly digest: string
  /** ISO 8601. */
  readonly publishedAt: string
  readonly files: number
  readonly bytes: number
  readonly fingerprint?: string
  /** JSON. */
  readonly meta?: unknown
}

export interface Stage extends AsyncDisposable {
  /** Write here with any tool; same depth and filesystem as generations. */
  readonly path: string
  write(relative: string, data: string | Uint8Array, options?: { mode?: number }): Promise<void>
  /** esbuild's `outputFiles` (build with `write: false`). */
  writeAll(files: Iterable<{ path: string; contents: Uint8Array }>, base: string): Promise<void>
  /** A link may point anywhere: it is stored and hashed as text, and nothing of ours follows it. */
  symlink(relative: string, target: string): Promise<void>
  /** Takes over the contents of a directory. 'clone' shares blocks where the filesystem can and copies elsewhere. @default 'clone' */
  adopt(directory: string, how?: 'clone' | 'copy' | 'move'): Promise<void>
  publish(options?: WriteOptions & { require?: string[]; ifChanged?: boolean; expect?: number; fingerprint?: string; meta?: unknown }): Promise<Generation & { readonly changed: boolean }>
  /** Dispose means discard; after publish() it does nothing. */
  discard(): Promise<void>
}

export interface Pin extends Disposable {
  readonly generation: Generation
  readonly path: string
  /** file: URL inside the generation. */
  url(relative: string): string
  /** Refuses to leave the generation. */
  resolve(relative: string): string
  isCurrent(): boolean
  /** Idempotent. */
  release(): void
}

const DEFAULT_TIMEOUT_MS = 30_000

/** Opens the store at `root`, making it where there is none, and repairs what killed processes left. */
export async function openBundles(root: string, options?: BundleStoreOptions): Promise<BundleStore> {
  const path = check.absolutePath('root', root)
  const { durability = 'process', keep, graceMs, link } = check.options('options', options, ['durability', 'keep', 'graceMs', 'link'])
  const given = {
    durability: check.oneOf('options.durability', durability, ['process', 'power']),
    ...(keep === undefined ? {} : { keep: check.wholeNumber('options.keep', keep) }),
    ...(graceMs === undefined ? {} : { graceMs: check.milliseconds('options.graceMs', graceMs) }),
    ...(link === undefined ? {} : { link: outside(path, check.absolutePath('options.link', link)) }),
  }
  return new Store(unwrap(await native.openBundles(path, given, DEFAULT_TIMEOUT_MS)))
}

/** The link inside its own store would be swept, or loop. */
function outside(root: string, link: string): string {
  const inside = relativePath(root, link)
  if (inside === '' || !(inside === '..' || inside.startsWith(`..${sep}`))) throw invalidArgument('options.link', link, 'a path outside of root')
  return resolvePath(link)
}

/** The name of a generation's directory (src/core/bundles/layout.rs). */
const nameOf = (number: number): string => String(number).padStart(6, '0')

interface WaitOptions {
  timeoutMs: number
  signal: AbortSignal | undefined
}

function waiting(options: WriteOptions, unbounded: { infinity: boolean } = { infinity: true }): WaitOptions {
  return {
    timeoutMs: check.milliseconds('options.timeoutMs', options.timeoutMs ?? DEFAULT_TIMEOUT_MS, unbounded),
    signal: check.signal('options.signal', options.signal),
  }
}

class Store implements BundleStore {
  readonly root: string
  readonly capabilities: { filesystem: string; clone: boolean }
  readonly #native: NativeBundles
  readonly #watches = new Set<Disposable>()
  #closed = false

  constructor(bundles: NativeBundles) {
    this.#native = bundles
    this.root = bundles.root
    this.capabilities = { filesystem: bundles.filesystem, clone: bundles.cloneOffered }
  }

  /** The native store, while this one is open. Used by the functions of this file only. */
  open(): NativeBundles {
    if (this.#closed) throw new WarmswapError('ERR_CLOSED', `the store '${this.root}' was closed`)
    return this.#native
  }

  current(): Generation | null {
    const number = unwrap(this.open().current())
    return number === 0 ? null : this.generation(number)
  }

  pin(options?: { generation?: number }): Pin {
    if (options === undefined) return this.held(unwrap(this.open().pin()))
    const { generation } = check.options('options', options, ['generation'])
    if (generation !== undefined) check.wholeNumber('options.generation', generation, 1)
    return this.held(unwrap(this.open().pin(generation)))
  }

  async stage(options?: WriteOptions & { from?: 'empty' | 'current'; fenced?: boolean }): Promise<Stage> {
    const { from = 'empty', fenced = false, ...wait } = check.options('options', options, ['from', 'fenced', 'signal', 'timeoutMs'])
    const fromCurrent = check.oneOf('options.from', from, ['empty', 'current']) === 'current'
    check.boolean('options.fenced', fenced)
    const { timeoutMs, signal } = waiting(wait)
    const bundles = this.open()
    return new OpenStage(this, await abortable(signal, (token) => bundles.stage(fromCurrent, fenced, timeoutMs, token)))
  }

  async ensure(
    build: (stage: Stage, context: { signal: AbortSignal }) => Promise<void>,
    options: { fingerprint: string; signal?: AbortSignal; timeoutMs?: number },
  ): Promise<Pin> {
    check.callback('build', build)
    const { fingerprint, ...wait } = check.options('options', options, ['fingerprint', 'signal', 'timeoutMs'])
    const wanted = check.string('options.fingerprint', fingerprint)
    const { timeoutMs, signal } = waiting(wait)
    const ready = await this.#made(wanted)
    if (ready !== null) return ready
    const lock = await acquireBuildLock(this, { timeoutMs, signal })
    try {
      return (await this.#made(wanted)) ?? (await this.#make(build, wanted, signal))
    } finally {
      lock.release()
    }
  }

  /** A pin on a generation of this fingerprint that verifies: the current one first, then the newest. */
  async #made(fingerprint: string): Promise<Pin | null> {
    const current = unwrap(this.open().current())
    const made = (await this.list()).filter((generation) => generation.fingerprint === fingerprint)
    made.sort((one, other) => Number(other.number === current) - Number(one.number === current) || other.number - one.number)
    for (const { number } of made) {
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
      if (isWarmswapError(error) && error.code === 'ERR_GENERATION_GONE') return null
      throw error
    }
  }

  async #verifies(number: number): Promise<boolean> {
    try {
      return (await this.verify(number)).ok
    } catch (error) {
      if (isWarmswapError(error) && error.code === 'ERR_GENERATION_CORRUPT') return false
      throw error
    }
  }

  async #make(build: (stage: Stage, context: { signal: AbortSignal }) => Promise<void>, fingerprint: string, signal: AbortSignal | undefined): Promise<Pin> {
    const context = { signal: signal ?? new AbortController().signal }
    const stage = await this.stage()
    try {
      await build(stage, context)
      context.signal.throwIfAborted()
      return (await publishAndPin(stage, { fingerprint, ...(signal === undefined ? {} : { signal }) })).pin
    } finally {
      await stage.discard()
    }
  }

  async rollback(generation: number, options?: WriteOptions): Promise<Generation> {
    check.wholeNumber('generation', generation, 1)
    const { timeoutMs, signal } = waiting(check.options('options', options, ['signal', 'timeoutMs']))
    const bundles = this.open()
    return this.generation(generation, await abortable(signal, (token) => bundles.rollback(generation, timeoutMs, token)))
  }

  async collect(options?: WriteOptions): Promise<{ removed: number[]; kept: number[]; pinned: number[]; sweptStages: number }> {
    const { timeoutMs, signal } = waiting(check.options('options', options, ['signal', 'timeoutMs']))
    const bundles = this.open()
    return await abortable(signal, (token) => bundles.collect(timeoutMs, token))
  }

  async list(): Promise<Generation[]> {
    return unwrap(await this.open().list()).map((facts) => this.generation(facts.number, facts))
  }

  async verify(generation?: number): Promise<{ ok: boolean; problems: { path: string; problem: 'missing' | 'size' | 'hash' | 'mode' | 'extra' }[] }> {
    if (generation !== undefined) check.wholeNumber('generation', generation, 1)
    const problems = unwrap(await this.open().verify(generation))
    return { ok: problems.length === 0, problems }
  }

  watch(listener: (generation: Generation) => void): Disposable {
    check.callback('listener', listener)
    this.open()
    const watch = new PointerWatch(this, listener, () => this.#watches.delete(watch))
    this.#watches.add(watch)
    return watch
  }

  async close(): Promise<void> {
    for (const watch of this.#watches) watch[Symbol.dispose]()
    this.#closed = true
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }

  generation(number: number, facts?: NativeGeneration): StoredGeneration {
    return new StoredGeneration(this.#native, this.root, number, facts)
  }

  /** A pin for a share that the native side has counted. */
  held(number: number, facts?: NativeGeneration): Pin {
    return new HeldPin(this.#native, this.generation(number, facts))
  }
}

/** Facts that are read when somebody asks. */
class StoredGeneration implements Generation {
  declare readonly fingerprint?: string
  readonly number: number
  readonly path: string
  readonly #native: NativeBundles
  #facts: NativeGeneration | undefined

  constructor(bundles: NativeBundles, root: string, number: number, facts: NativeGeneration | undefined) {
    this.number = number
    this.path = `${root}${sep}gens${sep}${nameOf(number)}${sep}tree`
    this.#native = bundles
    this.#facts = facts
  }

  /** Everything in the head. Used by the functions of this file only. */
  facts(): NativeGeneration {
    return (this.#facts ??= unwrap(this.#native.head(this.number)))
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

  /** All fields, for logs and messages. */
  toJSON(): Generation {
    const { number, path, digest, publishedAt, files, bytes, fingerprint, meta } = this
    return { number, path, digest, publishedAt, files, bytes, ...(fingerprint === undefined ? {} : { fingerprint }), ...(meta === undefined ? {} : { meta }) }
  }
}

// Not a getter of the class: an optional property may not be declared as `string | undefined` (exactOptionalPropertyTypes).
Object.defineProperty(StoredGeneration.prototype, 'fingerprint', {
  get(this: StoredGeneration) {
    return this.facts().fingerprint
  },
})

/** A pin that was dropped without release() holds its generation until the thread ends: say so, and never act in a finalizer. */
const dropped = new FinalizationRegistry<string>((path) => {
  process.emitWarning(`a pin on '${path}' was dropped without release(): the generation stays until this thread ends`, { type: 'WarmswapWarning', code: 'WARMSWAP_PIN_DROPPED' })
})

class HeldPin implements Pin {
  readonly generation: Generation
  readonly path: string
  readonly #native: NativeBundles
  #released = false

  constructor(bundles: NativeBundles, generation: Generation) {
    this.generation = generation
    this.path = generation.path
    this.#native = bundles
    dropped.register(this, this.path, this)
  }

  url(relative: string): string {
    const preserving = preservesSymlinks()
    if (preserving !== undefined) {
      throw new WarmswapError(
        'ERR_UNSUPPORTED',
        `pin.url() under ${preserving}: Node would load a module graph of several generations through links; start without ${preserving}, or read files by pin.resolve()`,
      )
    }
    return pathToFileURL(this.resolve(relative)).href
  }

  resolve(relative: string): string {
    check.string('relative', relative)
    const path = resolvePath(this.path, relative)
    if (relative.includes('\0') || (path !== this.path && !path.startsWith(this.path + sep))) throw invalidArgument('relative', relative, 'a relative path that stays inside the generation')
    return path
  }

  isCurrent(): boolean {
    return unwrap(this.#native.current()) === this.generation.number
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

/** The flag under which links are not resolved to the generation they lead to, if it is on. */
function preservesSymlinks(): string | undefined {
  const flags = [...process.execArgv, ...(process.env.NODE_OPTIONS ?? '').split(/\s+/)]
  const flag = flags.find((each) => /^--preserve-symlinks(-main)?$/.test(each))
  if (flag !== undefined) return flag
  return process.env.NODE_PRESERVE_SYMLINKS === '1' ? 'NODE_PRESERVE_SYMLINKS=1' : undefined
}

const PUBLISH_OPTIONS = ['require', 'ifChanged', 'expect', 'fingerprint', 'meta', 'signal', 'timeoutMs'] as const
type PublishOptions = NonNullable<Parameters<Stage['publish']>[0]>

class OpenStage implements Stage {
  readonly path: string
  readonly store: Store
  readonly #native: NativeStage

  constructor(store: Store, stage: NativeStage) {
    this.store = store
    this.path = stage.path
    this.#native = stage
  }

  async write(relative: string, data: string | Uint8Array, options?: { mode?: number }): Promise<void> {
    const { mode = 0o644 } = check.options('options', options, ['mode'])
    if (check.wholeNumber('options.mode', mode) > 0o777) throw invalidArgument('options.mode', mode, 'permission bits, 0 to 0o777')
    unwrap(await this.#native.write([{ path: check.string('relative', relative), contents: bytesOf('data', data), mode }]))
  }

  async writeAll(files: Iterable<{ path: string; contents: Uint8Array }>, base: string): Promise<void> {
    const root = check.absolutePath('base', base)
    const list = [...files].map(({ path, contents }) => ({
      path: relativePath(root, check.absolutePath('files[].path', path)).split(sep).join('/'),
      contents: bytesOf('files[].contents', contents),
      mode: 0o644,
    }))
    const outsider = list.find(({ path }) => path === '' || path === '..' || path.startsWith('../'))
    if (outsider !== undefined) throw invalidArgument('files[].path', resolvePath(root, outsider.path), `a path below base '${root}'`)
    unwrap(await this.#native.write(list))
  }

  async symlink(relative: string, target: string): Promise<void> {
    unwrap(await this.#native.symlink(check.string('relative', relative), check.string('target', target)))
  }

  async adopt(directory: string, how: 'clone' | 'copy' | 'move' = 'clone'): Promise<void> {
    unwrap(await this.#native.adopt(check.absolutePath('directory', directory), check.oneOf('how', how, ['clone', 'copy', 'move'])))
  }

  async publish(options?: PublishOptions): Promise<Generation & { readonly changed: boolean }> {
    return this.published(await this.commit(options, { pin: false }))
  }

  /** Publishes, and pins the result before anybody can collect it. Used by the functions of this file only. */
  async commit(options: PublishOptions | undefined, { pin }: { pin: boolean }): Promise<NativeGeneration> {
    const { require = [], ifChanged = false, expect, fingerprint, meta, ...wait } = check.options('options', options, PUBLISH_OPTIONS)
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
    this.#native.close()
    return facts
  }

  published(facts: NativeGeneration): Generation & { readonly changed: boolean } {
    return Object.assign(this.store.generation(facts.number, facts), { changed: facts.changed === true })
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
    // Cycles and bigints: the message below says what is accepted.
  }
  throw invalidArgument(name, value, 'a value that JSON can carry')
}

/** Events are hints and can be lost (a full queue, a removed root): a look at the pointer stands behind them. */
const SAFETY_TICK_MS = 1000

class PointerWatch implements Disposable {
  readonly #store: Store
  readonly #listener: (generation: Generation) => void
  readonly #stopped: () => void
  readonly #timer: NodeJS.Timeout
  readonly #watcher: ReturnType<typeof watchDirectory> | undefined
  #seen: number

  constructor(store: Store, listener: (generation: Generation) => void, stopped: () => void) {
    this.#store = store
    this.#listener = listener
    this.#stopped = stopped
    this.#seen = store.current()?.number ?? 0
    this.#timer = setInterval(() => this.#look(), SAFETY_TICK_MS).unref()
    this.#watcher = this.#subscribe()
  }

  #subscribe(): ReturnType<typeof watchDirectory> | undefined {
    try {
      const watcher = watchDirectory(this.#store.root, { persistent: false }, (_event, name) => {
        if (name === null || name === 'current.json') this.#look()
      })
      return watcher.on('error', () => {})
    } catch {
      // No inotify watches left (ENOSPC): the tick alone.
      return undefined
    }
  }

  #look(): void {
    const generation = this.#store.current()
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

/**
 * Patterns for chokidar (as `ignored` functions use picomatch), @parcel/watcher (`ignore`) and Vite
 * (`server.watch.ignored`), so that what is written in a store causes no rebuild loop. `current.json` is not
 * among them: it is what to watch.
 */
export function bundleIgnores(root: string): string[] {
  const path = check.absolutePath('root', root).split(sep).join('/')
  // Each folder itself too: @parcel/watcher keeps a kernel watch on what only a pattern excludes, and cannot give it back
  // once a stage was renamed.
  return ['gens', 'pins', 'owners', 'stage', 'trash'].flatMap((name) => [`${path}/${name}`, `${path}/${name}/**`]).concat(['*.lock', '*.tmp', 'fence', 'boot', 'config.json', 'FORMAT', 'current', 'current/**'].map((name) => `${path}/${name}`))
}

// ── the seam for the coordinator (restarts.ts) and the Vite plugin; not exported from the package ──
//
// A coordinator is TypeScript over this file. Beside the public contract it needs four things, and only these:
//  * `stamp()`: the clock of `change()`, comparable with every `startedAt` of this boot;
//  * `acquireBuildLock()`: build.lock, the same single-flight lock that `ensure()` uses, over all processes;
//    a stage made under it has a `startedAt` after the lock was taken, which is what makes joining right;
//  * `buildFacts()`: `startedAt` and fence of a generation. `startedAt` is undefined for a generation of
//    another boot: no stamp of this boot is older, so it serves nobody;
//  * `publishAndPin()`: publish, and a pin on that very generation, taken under the writer lock: a pin()
//    afterwards could be another build's.

/** Microseconds of this boot's monotonic clock. */
export const stamp = (): number => native.monotonicMicros()

/** The lock that one builder holds over all threads and processes; the kernel frees it when its process dies. */
export async function acquireBuildLock(store: BundleStore, wait: { timeoutMs: number; signal?: AbortSignal | undefined }): Promise<NativeBuildLock> {
  const bundles = ours(store).open()
  return await abortable(wait.signal, (token) => bundles.buildLock(wait.timeoutMs, token))
}

/** When the stage of a generation was made, and its fence. */
export function buildFacts(generation: Generation): { startedAt: number | undefined; fence: number | undefined } {
  const { startedAt, fence } = (generation as StoredGeneration).facts()
  return { startedAt, fence }
}

/** Publishes a stage and pins what it became. */
export async function publishAndPin(stage: Stage, options?: PublishOptions): Promise<{ pin: Pin; changed: boolean }> {
  const open = stage as OpenStage
  const facts = await open.commit(options, { pin: true })
  return { pin: open.store.held(facts.number, facts), changed: facts.changed === true }
}

function ours(store: BundleStore): Store {
  if (store instanceof Store) return store
  throw invalidArgument('store', store, 'a store that openBundles() of this copy of warmswap opened')
}
