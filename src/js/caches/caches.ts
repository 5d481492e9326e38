/** Caches: a tree streamed to a store and back. Two verbs that are advisory: they resolve with an outcome. */

import {
  limits,
  restoreTarget,
  type Limits,
  type Preset,
  type Progress,
  type RestoreOutcome,
  type RestoreResult,
} from '../archives/archive.js'
import { CacheEvents, type CacheEvent } from './events.js'
import { parseStoreLocation, type StoreLocation } from './location.js'
import { guarded } from '../native/callbacks.js'
import type {
  NativeBudget,
  NativeCache,
  NativeProgress,
  NativePruneReport,
  NativeRestoreReport,
  NativeSnapshotReport,
} from '../native/binding.cjs'
import { WarmswapError, invalidArgument, type ErrorCode } from '../native/errors.js'
import { native, unwrap, type Failure } from '../native/native.js'
import * as validate from '../native/validate.js'

export { cacheLocationFromEnv, type StoreLocation } from './location.js'
export type { CacheEvent } from './events.js'

const MAX_FINGERPRINT_BYTES = 512

/** How much time and patience a call has. */
export interface Budget {
  /** The whole call, hard: credentials, retries, decoding, disk and commit included. @default 15_000 for restore, 120_000 for snapshot, 30_000 for the others */
  deadlineMs?: number
  /** How long a connection that is waited for may be silent. @default 3_000 */
  idleMs?: number
  /** Least throughput over a window of `idleMs` while the network is waited for; 0 is off. @default 0 */
  minBytesPerSecond?: number
  /** How often one request may be tried, inside the deadline. @default 3 */
  attempts?: number
  /** Stops the work, not only the promise. After the commit has begun it is ignored. */
  signal?: AbortSignal
}

/** How a snapshot ended. */
export type SnapshotOutcome =
  | 'uploaded'
  | 'unchanged'
  | 'empty'
  | 'shrunk'
  | 'unstable'
  | 'superseded'
  | 'busy'
  | 'too-large'
  | 'disabled'
  | 'corrupt'
  | 'incompatible'
  | 'timeout'
  | 'aborted'
  | 'denied'
  | 'unavailable'
  | 'no-space'
  | 'error'

/** What a snapshot did. */
export interface SnapshotResult {
  ok: boolean
  outcome: SnapshotOutcome
  /**
   * Human-readable: why it is not ok; or what a restore of it needs because the defaults refuse it, such as
   * `symlinks: 'relative'` or `limits.maxRatio of 26000`.
   */
  reason?: string
  generation?: string
  files: number
  bytes: number
  compressedBytes: number
  /** Bytes that were sent, repetitions included; 0 for 'unchanged'. */
  uploadedBytes: number
  /** What was left out, and why. */
  skipped: { path: string; why: string }[]
  /** 'none' where the store ignores conditions, so that two writers are not told apart. */
  guard: 'etag' | 'none'
  timings: Record<string, number>
}

/** Where a tree goes and what is accepted. */
export interface RestoreOptions extends Budget {
  key: string
  /** Tried in turn where nothing is under `key`, or nothing that can be used. */
  fallbackKeys?: string[]
  /** Absolute; made if it is absent. A symbolic link is followed to the directory that it leads to. */
  into: string
  /** 'if-empty' refuses a target with entries, 'replace' exchanges it, 'merge' adds and never overwrites. @default 'if-empty' */
  mode?: 'if-empty' | 'replace' | 'merge'
  symlinks?: 'contained' | 'relative' | 'verbatim' | 'reject'
  /** What the snapshot's machine must have been; anything else is 'incompatible'. */
  expect?: { platform?: string; arch?: string; libc?: string; fingerprint?: string }
  limits?: Limits
  /** Connections at once. @default 8 */
  concurrency?: number
  /** Throw where `ok` would be false. @default false */
  strict?: boolean
  onProgress?(progress: Progress): void
}

/** What becomes a generation, and what must not. */
export interface SnapshotOptions extends Budget {
  key: string
  /** Absolute. A symbolic link is followed to the directory that it leads to. */
  from: string
  /** Of the restore that this snapshot builds on: it may only replace what that restore saw. */
  ticket?: string
  /** Globs of what stays out. */
  exclude?: string[]
  preset?: Preset
  /** Recorded with the generation, for `expect.fingerprint` of a restore; such as a hash of the lock file. At most 512 bytes. */
  fingerprint?: string
  guard?: {
    /** @default 1 */
    minFiles?: number
    /** @default 1 */
    minBytes?: number
    /** Largest share of files or bytes that may be missing against the current generation. @default 0.5 */
    maxShrink?: number
    /** @default false */
    allowShrink?: boolean
  }
  /** Wait until the tree has been unchanged this long (the 'dependencies are ready' signal). 0 is off. @default 0 */
  quietMs?: number
  /** false for a daemon that must be able to exit while the snapshot runs detached. @default true */
  keepProcessAlive?: boolean
  /** Of the compression. @default 3 */
  level?: number
  limits?: Limits
  strict?: boolean
  onProgress?(progress: Progress): void
}

/** A store and the calls on it. All of them resolve with an outcome whatever the world does. */
export interface Cache extends AsyncDisposable {
  /** Never rejects for anything the world does: resolves with an outcome. `strict: true` throws instead. */
  restore(options: RestoreOptions): Promise<RestoreResult>
  /** A key that ends in .tar, .tgz, .tar.gz or .tar.zst is one object, read and written as such (conditionally); any other key is a pointer and immutable blobs. */
  snapshot(options: SnapshotOptions): Promise<SnapshotResult>
  /** What a key holds; null where there is nothing. Rejects where the store cannot say. */
  inspect(key: string, budget?: Budget): Promise<CacheInfo | null>
  /** Removes generations that nobody needs: keeps the current one and the `keep - 1` newest others, and everything younger than `olderThanMs` (@default 3_600_000, because a snapshot may be about to point to it). */
  prune(
    options: Budget & { key: string; keep?: number; olderThanMs?: number },
  ): Promise<{ removed: string[]; outcome: 'pruned' | RestoreOutcome; reason?: string }>
  /** Removes the key and all its objects (a site was deleted). */
  remove(key: string, budget?: Budget): Promise<{ outcome: 'removed' | RestoreOutcome; reason?: string }>
  /** Finds out what the store can do, with small objects that it removes again; nothing of a cache without a store or that is read-only. Rejects where the store cannot say. */
  probe(
    budget?: Budget,
  ): Promise<{ conditionalPut: boolean; conditionalMultipart: boolean; ranged: boolean; writable: boolean }>
  /** Waits for the calls that run; later ones reject with ERR_CLOSED. */
  close(): Promise<void>
}

/** What a key holds. */
export interface CacheInfo {
  generation: string
  files: number
  bytes: number
  compressedBytes: number
  createdAt: string
  producer: Record<string, string>
}

/** Opens a store. Does no I/O; wrong locations throw. `undefined` gives a cache whose calls all answer 'disabled'. */
export function openCache(
  store: StoreLocation | undefined,
  options?: { hmacKey?: string | Uint8Array; readOnly?: boolean; onEvent?(event: CacheEvent): void },
): Cache {
  const given = validate.options('options', options, ['hmacKey', 'readOnly', 'onEvent'])
  if (given.onEvent !== undefined) validate.callback('options.onEvent', given.onEvent)
  const readOnly = given.readOnly === undefined ? false : validate.boolean('options.readOnly', given.readOnly)
  const hmacKey = given.hmacKey === undefined ? undefined : secretBytes(given.hmacKey)
  const location = parseStoreLocation(store)
  const handle = unwrap(native().openCache(location?.scheme, location?.options ?? {}, hmacKey, readOnly))
  return new OpenCache(handle, new CacheEvents(given.onEvent))
}

function secretBytes(value: unknown): Uint8Array {
  const bytes = typeof value === 'string' ? new TextEncoder().encode(value) : value
  // The value itself is never shown: it is a secret.
  if (!(bytes instanceof Uint8Array) || bytes.length < 16)
    throw new WarmswapError(
      'ERR_INVALID_ARGUMENT',
      'options.hmacKey is not accepted; accepted is a string or Uint8Array of 16 bytes or more',
    )
  return bytes
}

const BUDGET = ['deadlineMs', 'idleMs', 'minBytesPerSecond', 'attempts', 'signal'] as const
/** Longest timer that native code keeps as one; beyond it a deadline would be none. */
const LONGEST_MS = 7 * 86_400_000

class OpenCache implements Cache {
  readonly #handle: NativeCache
  readonly #events: CacheEvents
  readonly #running = new Set<Promise<unknown>>()
  #closed = false

  constructor(handle: NativeCache, events: CacheEvents) {
    this.#handle = handle
    this.#events = events
  }

  async restore(options: RestoreOptions): Promise<RestoreResult> {
    const given = validate.options('options', options, [
      ...BUDGET,
      'key',
      'fallbackKeys',
      'into',
      'mode',
      'symlinks',
      'expect',
      'limits',
      'concurrency',
      'strict',
      'onProgress',
    ])
    const native = {
      keys: [
        validate.string('options.key', given.key),
        ...validate.strings('options.fallbackKeys', given.fallbackKeys ?? []),
      ],
      into: restoreTarget('options.into', given.into),
      mode: validate.oneOf('options.mode', given.mode ?? 'if-empty', ['if-empty', 'replace', 'merge']),
      symlinks: validate.oneOf('options.symlinks', given.symlinks ?? 'contained', [
        'contained',
        'relative',
        'verbatim',
        'reject',
      ]),
      expect: expectation(given.expect),
      limits: limits('options.limits', given.limits),
      concurrency: validate.wholeNumber('options.concurrency', given.concurrency ?? 8, 1),
      budget: budget('options', given, 15_000),
    }
    if (native.concurrency > 64) throw invalidArgument('options.concurrency', native.concurrency, 'at most 64')
    const strict = validate.boolean('options.strict', given.strict ?? false)
    const progress = progressListener(given.onProgress)
    const report = await this.#call(given.signal, (token) => this.#handle.restore(native, token, progress))
    const result = restoreResult(report)
    this.#events.emit({
      verb: 'restore',
      key: result.key ?? native.keys[0]!,
      outcome: result.outcome,
      reason: result.reason,
      ms: result.timings.total ?? 0,
      bytes: result.bytes,
      files: result.files,
    })
    if (strict && !result.ok) throw outcomeError('restore', result, given.signal)
    return result
  }

  async snapshot(options: SnapshotOptions): Promise<SnapshotResult> {
    const given = validate.options('options', options, [
      ...BUDGET,
      'key',
      'from',
      'ticket',
      'exclude',
      'preset',
      'fingerprint',
      'guard',
      'quietMs',
      'keepProcessAlive',
      'level',
      'limits',
      'strict',
      'onProgress',
    ])
    const native = {
      key: validate.string('options.key', given.key),
      from: validate.absolutePath('options.from', given.from),
      ...(given.ticket === undefined ? {} : { ticket: validate.string('options.ticket', given.ticket) }),
      exclude: validate.strings('options.exclude', given.exclude ?? []),
      preset: validate.oneOf('options.preset', given.preset ?? 'none', ['deno', 'node_modules', 'vite', 'none']),
      fingerprint: given.fingerprint === undefined ? '' : fingerprint(given.fingerprint),
      guard: guard(given.guard),
      quietMs: validate.milliseconds('options.quietMs', given.quietMs ?? 0),
      ...(given.level === undefined ? {} : { level: level(given.level) }),
      limits: limits('options.limits', given.limits),
      budget: budget('options', given, 120_000),
    }
    const keepProcessAlive = validate.boolean('options.keepProcessAlive', given.keepProcessAlive ?? true)
    const strict = validate.boolean('options.strict', given.strict ?? false)
    const progress = progressListener(given.onProgress)
    const report = await this.#call(given.signal, (token) =>
      keepProcessAlive
        ? this.#handle.snapshot(native, token, progress)
        : new Promise<NativeSnapshotReport | Failure>((settle) =>
            this.#handle.snapshotDetached(native, token, settle, progress),
          ),
    )
    const result = snapshotResult(report)
    this.#events.emit({
      verb: 'snapshot',
      key: native.key,
      outcome: result.outcome,
      reason: result.reason,
      ms: result.timings.total ?? 0,
      bytes: result.bytes,
      files: result.files,
    })
    if (strict && !result.ok) throw outcomeError('snapshot', result, given.signal)
    return result
  }

  async inspect(key: string, options?: Budget): Promise<CacheInfo | null> {
    const given = validate.options('budget', options, BUDGET)
    const name = validate.string('key', key)
    const time = budget('budget', given, 30_000)
    const report = await this.#call(given.signal, (token) => this.#handle.inspect(name, time, token))
    if (report.outcome === 'miss' || report.outcome === 'disabled') return null
    if (report.info === undefined) throw outcomeError('inspect', report, given.signal)
    const { producer, ...info } = report.info
    return { ...info, producer: Object.fromEntries(Object.entries(producer).filter(([, value]) => value !== '')) }
  }

  async prune(
    options: Budget & { key: string; keep?: number; olderThanMs?: number },
  ): Promise<{ removed: string[]; outcome: 'pruned' | RestoreOutcome; reason?: string }> {
    const given = validate.options('options', options, [...BUDGET, 'key', 'keep', 'olderThanMs'])
    const key = validate.string('options.key', given.key)
    const keep = validate.wholeNumber('options.keep', given.keep ?? 2, 1)
    const olderThanMs = validate.milliseconds('options.olderThanMs', given.olderThanMs ?? 3_600_000)
    const time = budget('options', given, 30_000)
    const report = await this.#call(given.signal, (token) => this.#handle.prune(key, keep, olderThanMs, time, token))
    return { removed: report.removed, ...this.#tell('prune', key, report) }
  }

  async remove(key: string, options?: Budget): Promise<{ outcome: 'removed' | RestoreOutcome; reason?: string }> {
    const given = validate.options('budget', options, BUDGET)
    const name = validate.string('key', key)
    const time = budget('budget', given, 30_000)
    const report = await this.#call(given.signal, (token) => this.#handle.remove(name, time, token))
    return this.#tell('remove', name, report)
  }

  /** One event of a call that removes; its result. */
  #tell<Outcome extends CacheEvent['outcome']>(
    verb: 'prune' | 'remove',
    key: string,
    report: NativePruneReport,
  ): { outcome: Outcome; reason?: string } {
    const { reason, ms, bytes, removed } = report
    const outcome = report.outcome as Outcome
    this.#events.emit({ verb, key, outcome, reason, ms, bytes, files: removed.length })
    return reason === undefined ? { outcome } : { outcome, reason }
  }

  async probe(
    options?: Budget,
  ): Promise<{ conditionalPut: boolean; conditionalMultipart: boolean; ranged: boolean; writable: boolean }> {
    const given = validate.options('budget', options, BUDGET)
    const time = budget('budget', given, 30_000)
    const { outcome, reason, ...abilities } = await this.#call(given.signal, (token) => this.#handle.probe(time, token))
    if (outcome !== 'probed' && outcome !== 'disabled')
      throw outcomeError('probe', reason === undefined ? { outcome } : { outcome, reason }, given.signal)
    return abilities
  }

  async close(): Promise<void> {
    this.#closed = true
    await Promise.allSettled(this.#running)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }

  /** Runs a native call whose token the signal raises; counted, so that close() can wait for it. */
  async #call<T>(
    signal: AbortSignal | undefined,
    start: (token: InstanceType<ReturnType<typeof native>['CancelToken']>) => Promise<T | Failure>,
  ): Promise<T> {
    validate.signal('signal', signal)
    if (this.#closed) throw new WarmswapError('ERR_CLOSED', 'this cache was closed')
    const token = new (native().CancelToken)()
    if (signal?.aborted) token.cancel()
    const stop = (): void => token.cancel()
    signal?.addEventListener('abort', stop, { once: true })
    const running = start(token)
    this.#running.add(running)
    try {
      return unwrap(await running)
    } finally {
      this.#running.delete(running)
      signal?.removeEventListener('abort', stop)
    }
  }
}

function restoreResult(report: NativeRestoreReport): RestoreResult {
  const outcome = report.outcome as RestoreOutcome
  const told = report as Omit<NativeRestoreReport, 'commit' | 'stage'> & Pick<RestoreResult, 'commit' | 'stage'>
  return {
    ...told,
    outcome,
    ok: outcome === 'restored' || outcome === 'unchanged',
    timings: Object.fromEntries(report.timings),
  }
}

function snapshotResult(report: NativeSnapshotReport): SnapshotResult {
  const outcome = report.outcome as SnapshotOutcome
  const skipped = report.skipped.map(([path, why]) => ({ path: path!, why: why! }))
  return {
    ...report,
    outcome,
    ok: outcome === 'uploaded' || outcome === 'unchanged',
    skipped,
    guard: report.guard as SnapshotResult['guard'],
    timings: Object.fromEntries(report.timings),
  }
}

const OUTCOME_CODES: Partial<Record<string, ErrorCode>> = {
  timeout: 'ERR_TIMEOUT',
  aborted: 'ERR_ABORTED',
  miss: 'ERR_NO_GENERATION',
  corrupt: 'ERR_GENERATION_CORRUPT',
  empty: 'ERR_EMPTY_STAGE',
  superseded: 'ERR_FENCED',
  'too-large': 'ERR_TOO_LARGE',
  refused: 'ERR_UNSUPPORTED',
  incompatible: 'ERR_UNSUPPORTED',
}

function outcomeError(
  verb: string,
  result: { outcome: string; reason?: string },
  signal: AbortSignal | undefined,
): unknown {
  if (result.outcome === 'aborted' && signal?.aborted) return signal.reason
  const code = OUTCOME_CODES[result.outcome] ?? 'ERR_IO'
  return new WarmswapError(
    code,
    `${verb} ended with '${result.outcome}'${result.reason === undefined ? '' : `: ${result.reason}`}`,
    { outcome: result.outcome },
  )
}

/** It is in the pointer, which is small. */
function fingerprint(value: unknown): string {
  const text = validate.string('options.fingerprint', value)
  if (Buffer.byteLength(text) > MAX_FINGERPRINT_BYTES)
    throw invalidArgument(
      'options.fingerprint',
      `${Buffer.byteLength(text)} bytes`,
      `at most ${MAX_FINGERPRINT_BYTES} bytes, such as a hash of the lock file`,
    )
  return text
}

function expectation(value: unknown): { platform?: string; arch?: string; libc?: string; fingerprint?: string } {
  const given = validate.options('options.expect', value as Record<string, unknown> | undefined, [
    'platform',
    'arch',
    'libc',
    'fingerprint',
  ])
  for (const [name, each] of Object.entries(given))
    if (each !== undefined) validate.string(`options.expect.${name}`, each)
  return given
}

function guard(value: SnapshotOptions['guard']): {
  minFiles: number
  minBytes: number
  maxShrink: number
  allowShrink: boolean
} {
  const given = validate.options('options.guard', value, ['minFiles', 'minBytes', 'maxShrink', 'allowShrink'])
  const maxShrink = given.maxShrink ?? 0.5
  if (typeof maxShrink !== 'number' || !(maxShrink >= 0 && maxShrink <= 1))
    throw invalidArgument('options.guard.maxShrink', maxShrink, 'a number from 0 to 1')
  return {
    minFiles: validate.wholeNumber('options.guard.minFiles', given.minFiles ?? 1),
    minBytes: validate.wholeNumber('options.guard.minBytes', given.minBytes ?? 1),
    maxShrink,
    allowShrink: validate.boolean('options.guard.allowShrink', given.allowShrink ?? false),
  }
}

function level(value: unknown): number {
  if (typeof value !== 'number' || !Number.isSafeInteger(value) || value < -7 || value > 19)
    throw invalidArgument('options.level', value, 'a whole number from -7 to 19')
  return value
}

function budget(name: string, given: Budget, deadlineMs: number): NativeBudget {
  validate.signal(`${name}.signal`, given.signal)
  const whole = validate.milliseconds(`${name}.deadlineMs`, given.deadlineMs ?? deadlineMs)
  const idleMs = validate.milliseconds(`${name}.idleMs`, given.idleMs ?? 3_000)
  if (whole === 0 || whole > LONGEST_MS)
    throw invalidArgument(
      `${name}.deadlineMs`,
      given.deadlineMs,
      `a number of milliseconds above 0, at most ${LONGEST_MS}`,
    )
  if (idleMs === 0) throw invalidArgument(`${name}.idleMs`, given.idleMs, 'a number of milliseconds above 0')
  return {
    deadlineMs: whole,
    idleMs: Math.min(idleMs, LONGEST_MS),
    minBytesPerSecond: validate.wholeNumber(`${name}.minBytesPerSecond`, given.minBytesPerSecond ?? 0),
    attempts: Math.min(validate.wholeNumber(`${name}.attempts`, given.attempts ?? 3, 1), 100),
  }
}

function progressListener(
  listener: ((progress: Progress) => void) | undefined,
): ((progress: NativeProgress) => void) | undefined {
  if (listener === undefined) return undefined
  validate.callback('options.onProgress', listener)
  const tell = guarded('options.onProgress of a cache', listener)
  return ({ stage, ...rest }) => tell({ ...rest, phase: PHASES[stage] ?? 'lookup' })
}

/** The core's stages as the contract names them. */
const PHASES: Record<string, Progress['phase']> = {
  credentials: 'credentials',
  lookup: 'lookup',
  download: 'download',
  decode: 'unpack',
  write: 'unpack',
  quiet: 'pack',
  pack: 'pack',
  upload: 'upload',
  verify: 'upload',
  commit: 'commit',
}
