/**
 * Caches: a tree is streamed to a store and back. `restore` and `snapshot` resolve with an outcome instead of
 * rejecting.
 */

import type { RestoreOutcome, RestoreResult } from '../archives/contract.js'
import type { NativeCache, NativePruneReport, NativeSnapshotReport } from '../native/binding.cjs'
import { WarmswapError } from '../native/errors.js'
import { type NativeFailure, native, unwrap } from '../native/native.js'
import * as validate from '../native/validate.js'
import type {
  Budget,
  Cache,
  CacheInfo,
  RestoreOptions,
  SnapshotOptions,
  SnapshotResult,
  StoreAbilities,
} from './contract.js'
import { ensure } from './ensure.js'
import type { EnsureOptions, EnsureResult } from './ensure-contract.js'
import { checkEnsureOptions } from './ensure-options.js'
import { type CacheEvent, CacheEvents } from './events.js'
import { parseStoreLocation } from './location.js'
import type {
  AzureLocation,
  CheckedUrl,
  FileLocation,
  GcsLocation,
  MemoryLocation,
  S3Location,
} from './location-types.js'
import { BUDGET, CONDITIONS, checkBudget, checkRestoreOptions, checkSnapshotOptions, secretBytes } from './options.js'
import { outcomeError, restoreResult, snapshotResult } from './results.js'
import { checkTrust, type TrustOptions } from './trust-options.js'

/** Options of `openCache()`. */
export interface CacheOptions {
  /** Secret of at least 16 bytes that signs and verifies pointers. Not together with `trust`. */
  hmacKey?: string | Uint8Array
  /** Trust levels with a key pair each: which levels the cache reads, and the one it writes to. */
  trust?: TrustOptions
  /** Whether the cache is read-only. Calls that write then end as 'disabled'. @default false */
  readOnly?: boolean
  /**
   * Whether writes are conditional (If-Match, If-None-Match), so that one of two concurrent writers of a key ends as
   * 'superseded'.
   * - 'auto': conditional if the store honours conditions, which is probed once with a small object. Results carry
   *   `guard: 'none'` if it does not.
   * - 'required': if the store does not honour conditions, a snapshot ends as 'unguarded' and writes nothing under the
   *   key. If a policy denies the probe, conditions are sent and trusted.
   * - 'off': no conditions are sent, and `guard` is 'none'.
   * @default 'auto'
   */
  conditions?: 'auto' | 'required' | 'off'
  /** Called once per call, when it has ended. */
  onEvent?(event: CacheEvent): void
}

/**
 * Opens a cache. Does no I/O.
 *
 * @param store A URL ('file:///var/cache', 's3://bucket/prefix?region=…&endpoint=…', 'gs://bucket/prefix',
 * 'az://container/prefix?account=…', 'memory:') or an object with the same fields. TypeScript checks URL literals: the
 * scheme, and the option names of a bucket's URL. With `undefined`, every call ends as 'disabled'.
 * @param options Signing secret, trust levels, read-only mode, conditional writes and the event listener.
 * @returns The cache. Close it with `close()` or `await using`.
 * @throws {WarmswapError} ERR_INVALID_ARGUMENT if the location or an option is wrong.
 *
 * @example
 * const cache = openCache('s3://bucket/prefix?region=eu-central-1')
 * const { outcome, ticket } = await cache.restore({ key: 'site-1', into: resolve('node_modules') })
 */
export function openCache<const Url extends string>(
  store: CheckedUrl<Url> | S3Location | GcsLocation | AzureLocation | FileLocation | MemoryLocation | undefined,
  options?: CacheOptions,
): Cache {
  const given = validate.options('options', options, ['hmacKey', 'trust', 'readOnly', 'conditions', 'onEvent'])
  if (given.onEvent !== undefined) validate.callback('options.onEvent', given.onEvent)
  const readOnly = given.readOnly === undefined ? false : validate.boolean('options.readOnly', given.readOnly)
  const hmacKey = given.hmacKey === undefined ? undefined : secretBytes(given.hmacKey)
  const trust = given.trust === undefined ? undefined : checkTrust(given.trust)
  if (trust !== undefined && hmacKey !== undefined)
    throw new WarmswapError('ERR_INVALID_ARGUMENT', 'Invalid options.hmacKey. Expected it without options.trust')
  const conditions = validate.oneOf('options.conditions', given.conditions ?? 'auto', CONDITIONS)
  const location = parseStoreLocation(store)
  const { scheme, options: place = {} } = location ?? {}
  const handle = unwrap(native().openCache(scheme, place, hmacKey, readOnly, conditions, trust))
  return new OpenCache(handle, new CacheEvents(given.onEvent))
}

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
    const { native, signal, strict, progress } = checkRestoreOptions(options)
    const report = await this.#call(signal, (token) => this.#handle.restore(native, token, progress))
    const result = restoreResult(report)
    this.#emit('restore', result.key ?? (native.keys[0] as string), result)
    if (strict && !result.ok) throw outcomeError('restore', result, signal)
    return result
  }

  async snapshot(options: SnapshotOptions): Promise<SnapshotResult> {
    const { native, signal, strict, progress, keepProcessAlive } = checkSnapshotOptions(options)
    const report = await this.#call(signal, (token) =>
      keepProcessAlive
        ? this.#handle.snapshot(native, token, progress)
        : new Promise<NativeSnapshotReport | NativeFailure>((settle) =>
            this.#handle.snapshotDetached(native, token, settle, progress),
          ),
    )
    const result = snapshotResult(report)
    this.#emit('snapshot', native.key, result)
    if (strict && !result.ok) throw outcomeError('snapshot', result, signal)
    return result
  }

  async ensure(key: string, options: EnsureOptions): Promise<EnsureResult> {
    const checked = checkEnsureOptions(key, options)
    if (this.#closed) throw new WarmswapError('ERR_CLOSED', 'this cache was closed')
    const running = ensure(this.#handle, checked)
    this.#running.add(running)
    try {
      const result = await running
      const { role, reason, ms, restore } = result
      const { bytes = 0, files = 0 } = restore ?? {}
      this.#events.emit({ verb: 'ensure', key, outcome: role, reason, ms, bytes, files })
      return result
    } finally {
      this.#running.delete(running)
    }
  }

  #emit(verb: 'restore' | 'snapshot', key: string, result: RestoreResult | SnapshotResult): void {
    const { outcome, reason, timings, bytes, files } = result
    this.#events.emit({ verb, key, outcome, reason, ms: timings.total ?? 0, bytes, files })
  }

  async inspect(key: string, options?: Budget): Promise<CacheInfo | null> {
    const given = validate.options('budget', options, BUDGET)
    const name = validate.string('key', key)
    const time = checkBudget('budget', given, 30_000)
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
    const time = checkBudget('options', given, 30_000)
    const report = await this.#call(given.signal, (token) => this.#handle.prune(key, keep, olderThanMs, time, token))
    return { removed: report.removed, ...this.#emitRemoval('prune', key, report) }
  }

  async remove(key: string, options?: Budget): Promise<{ outcome: 'removed' | RestoreOutcome; reason?: string }> {
    const given = validate.options('budget', options, BUDGET)
    const name = validate.string('key', key)
    const time = checkBudget('budget', given, 30_000)
    const report = await this.#call(given.signal, (token) => this.#handle.remove(name, time, token))
    return this.#emitRemoval('remove', name, report)
  }

  /** Reports one call that removes objects, and returns its result. */
  #emitRemoval<Outcome extends CacheEvent['outcome']>(
    verb: 'prune' | 'remove',
    key: string,
    report: NativePruneReport,
  ): { outcome: Outcome; reason?: string } {
    const { reason, ms, bytes, removed } = report
    const outcome = report.outcome as Outcome
    this.#events.emit({ verb, key, outcome, reason, ms, bytes, files: removed.length })
    return reason === undefined ? { outcome } : { outcome, reason }
  }

  async probe(options?: Budget): Promise<StoreAbilities> {
    const given = validate.options('budget', options, BUDGET)
    const time = checkBudget('budget', given, 30_000)
    const { outcome, reason, ...abilities } = await this.#call(given.signal, (token) => this.#handle.probe(time, token))
    if (outcome !== 'probed' && outcome !== 'disabled')
      throw outcomeError('probe', reason === undefined ? { outcome } : { outcome, reason }, given.signal)
    return abilities
  }

  async close(): Promise<void> {
    this.#closed = true
    await Promise.allSettled(this.#running)
    unwrap(await this.#handle.waitForBackground())
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }

  /** Runs a native call that the signal can cancel. `close()` waits for the calls counted here. */
  async #call<T>(
    signal: AbortSignal | undefined,
    start: (token: InstanceType<ReturnType<typeof native>['CancelToken']>) => Promise<T | NativeFailure>,
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
