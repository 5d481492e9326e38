/** `prewarm()` over a store: the callers are on any machine, and coordinate with one object per key. */

import { parseKeyLocation } from '../caches/location.js'
import { outcomeError } from '../caches/results.js'
import type {
  CancelToken,
  NativeLease,
  NativeLeaseEvent,
  NativeLeaseHolder,
  NativeLeaseStep,
} from '../native/binding.cjs'
import { guarded, messageOf } from '../native/callbacks.js'
import { invalidArgument, isWarmswapError, WarmswapError } from '../native/errors.js'
import { native, unwrap } from '../native/native.js'
import * as validate from '../native/validate.js'
import type { LockOptions, StoreLock } from './contract.js'
import { describeHolder, type Holder } from './holder.js'
import { checkJob, isValue, type Prewarmed, type PrewarmJob, runJob, untilAborted } from './job.js'
import { type CheckedLockOptions, checkLockOptions } from './options.js'

const LEAST_TTL_MS = 1_000
const MOST_TTL_MS = 600_000
/** If `onWait` is not set, a process warning names the holder after this time. */
const WARN_AFTER_MS = 10_000

/** Whether it is the location of a store. A single letter before the colon is a drive of Windows. */
export function isStore(place: unknown): boolean {
  return typeof place === 'string' ? /^[a-z][a-z0-9+.-]+:/i.test(place) : typeof place === 'object' && place !== null
}

// biome-ignore lint/complexity/noBannedTypes: every value but undefined, which means 'not ready'.
export async function prewarmInStore<T extends {} | null>(
  store: unknown,
  job: PrewarmJob<T, StoreLock>,
  options: LockOptions & { onFailure?: 'share' | 'retry' },
): Promise<Prewarmed<T>> {
  const { scheme, options: location, key, url } = parseKeyLocation(store)
  const checked = checkStoreOptions(url, options)
  const onFailure = validate.oneOf('options.onFailure', options.onFailure ?? 'share', ['share', 'retry'])
  checkJob(job)
  const handle = unwrap(native().openCache(scheme, location, undefined, false, 'auto'))

  const early = await untilAborted(job.isReady(), checked.signal)
  if (isValue(early)) return { value: early, role: 'reused', waitedMs: 0, tookOverFrom: null }

  checked.signal?.throwIfAborted()
  const { leaseTtlMs, timeoutMs, metadata } = checked.native
  const call = new StoreCall(checked, job)
  return await call.run((token) =>
    unwrap(
      handle.lease(
        {
          key,
          ttlMs: leaseTtlMs,
          timeoutMs,
          sharesFailures: onFailure === 'share',
          ...(metadata === undefined ? {} : { metadata }),
        },
        token,
        (event) => call.receive(event),
      ),
    ),
  )
}

/** The options of a lock, without those that mean nothing in a store. */
function checkStoreOptions(url: string, options: LockOptions & { onFailure?: unknown }): CheckedLockOptions {
  // The path is checked apart: it is no path of this machine.
  const checked = checkLockOptions(process.execPath, options, 'options', ['onFailure'])
  const { mode, coverChildren, foreignStaleMs } = options
  if (mode === 'kernel') throw invalidArgument('options.mode', mode, "'auto' or 'lease': a store has no kernel locks")
  if (coverChildren === true)
    throw invalidArgument('options.coverChildren', coverChildren, 'false: the lease in a store ends with its run')
  if (foreignStaleMs !== undefined)
    throw invalidArgument('options.foreignStaleMs', foreignStaleMs, 'no value: in a store, leaseTtlMs decides')
  const { leaseTtlMs } = checked.native
  if (leaseTtlMs < LEAST_TTL_MS || leaseTtlMs > MOST_TTL_MS)
    throw invalidArgument(
      'options.leaseTtlMs',
      leaseTtlMs,
      `a number of milliseconds from ${LEAST_TTL_MS} to ${MOST_TTL_MS}`,
    )
  return { ...checked, path: url }
}

/** How the last run or check of this caller ended. */
type Outcome<T> = { value: T; role: Prewarmed<T>['role'] } | { error: unknown }

// biome-ignore lint/complexity/noBannedTypes: every value but undefined, which means 'not ready'.
class StoreCall<T extends {} | null> {
  readonly #checked: CheckedLockOptions
  readonly #job: PrewarmJob<T, StoreLock>
  readonly #onWait: CheckedLockOptions['onWait']
  #stop = (): void => {}
  #lost: AbortController | undefined
  #outcome: Outcome<T> | undefined
  #tookOverFrom: Holder | null = null
  #waitedMs: number | undefined
  #isWarned = false

  constructor(checked: CheckedLockOptions, job: PrewarmJob<T, StoreLock>) {
    this.#checked = checked
    this.#job = job
    this.#onWait = checked.onWait && guarded('options.onWait of prewarm()', checked.onWait)
  }

  async run(start: (token: CancelToken) => NativeLease): Promise<Prewarmed<T>> {
    const { signal } = this.#checked
    const token = new (native().CancelToken)()
    this.#stop = () => token.cancel()
    const call = start(token)
    this.#listen()
    try {
      for (;;) {
        const step = unwrap(await call.next())
        if (step.kind === 'check') await this.#check(call)
        else if (step.kind === 'run') await this.#run(call, step)
        else return this.#end(step)
      }
    } catch (error) {
      // What isReady() threw: the call must not run on and acquire the lease.
      this.#stop()
      if (signal?.aborted && isWarmswapError(error) && error.code === 'ERR_ABORTED') throw signal.reason
      throw error
    } finally {
      signal?.removeEventListener('abort', this.#stop)
    }
  }

  receive({ holder, waitedMs }: NativeLeaseEvent): void {
    if (holder === undefined) {
      const { path } = this.#checked
      const message = `the lease of '${path}' was lost: the store could not be reached in time, or its record was replaced. Stop the run`
      this.#lost?.abort(new WarmswapError('ERR_LOCK_LOST', message, { path }))
      // The call waits again.
      this.#listen()
    } else this.#reportWait(holderOf(holder), waitedMs)
  }

  /** Lets the caller's signal end the wait. It does not end a run, as under a lock. */
  #listen(): void {
    const { signal } = this.#checked
    if (signal?.aborted) this.#stop()
    else signal?.addEventListener('abort', this.#stop, { once: true })
  }

  /** Another caller has said that the result is ready. */
  async #check(call: NativeLease): Promise<void> {
    const ready = await untilAborted(this.#job.isReady(), this.#checked.signal)
    if (isValue(ready)) this.#outcome = { value: ready, role: 'reused' }
    call.settle(isValue(ready))
  }

  async #run(call: NativeLease, step: NativeLeaseStep): Promise<void> {
    const { signal } = this.#checked
    if (signal?.aborted) {
      this.#outcome = { error: signal.reason }
      return call.settle(false)
    }
    signal?.removeEventListener('abort', this.#stop)
    this.#tookOverFrom = step.holder === undefined ? null : holderOf(step.holder)
    this.#waitedMs = step.waitedMs
    this.#lost = new AbortController()
    const state = { hasEnded: false }
    const lock = lockOf(call, step, this.#checked.path, this.#tookOverFrom, this.#lost.signal, state)
    const { settled, failure } = await this.#runUnder(lock)
    state.hasEnded = true
    this.#outcome = settled
    call.settle('value' in settled, failure)
  }

  async #runUnder(lock: StoreLock): Promise<{ settled: Outcome<T>; failure?: string }> {
    try {
      // The previous holder may have produced the result.
      const ready = await this.#job.isReady()
      if (isValue(ready)) return { settled: { value: ready, role: 'reused' } }
    } catch (error) {
      return { settled: { error } }
    }
    try {
      return { settled: { value: await runJob(this.#job, lock, this.#checked.path), role: 'ran' } }
    } catch (error) {
      return { settled: { error }, failure: messageOf(error) }
    }
  }

  #end({ kind, waitedMs, reason, outcome = 'unavailable', holder }: NativeLeaseStep): Prewarmed<T> {
    const { path, signal } = this.#checked
    const settled = this.#outcome
    if (kind === 'ready' && settled !== undefined && 'value' in settled)
      return { ...settled, waitedMs: this.#waitedMs ?? waitedMs, tookOverFrom: this.#tookOverFrom }
    if (kind === 'failed' && settled !== undefined && 'error' in settled) throw settled.error
    if (kind === 'shared')
      throw new Error(reason ?? 'the run failed', {
        cause: new Error(`the run under '${path}' failed in another caller`),
      })
    if (kind === 'timed-out') throw timedOut(path, waitedMs, holder === undefined ? null : holderOf(holder))
    if (kind === 'unsupported')
      throw new WarmswapError(
        'ERR_UNSUPPORTED',
        `the store of '${path}' does not honour conditional writes (If-Match, If-None-Match), so that nothing can be coordinated over it. Use a store that does, or the path of a lock on a filesystem that the callers share`,
        { path },
      )
    throw outcomeError('prewarm', { outcome, ...(reason !== undefined && { reason }) }, signal)
  }

  #reportWait(holder: Holder, waitedMs: number): void {
    const { path } = this.#checked
    if (this.#onWait !== undefined) this.#onWait({ path, waitedMs, holder, liveness: 'unknown' })
    else if (waitedMs >= WARN_AFTER_MS && !this.#isWarned) {
      this.#isWarned = true
      process.emitWarning(
        `waiting for the lease '${path}' for ${Math.round(waitedMs / 1000)} s, held by ${describeHolder(holder, 'unknown')}; 'npx warmswap lock why ${path}' has details`,
        'WarmswapLockWarning',
      )
    }
  }
}

function timedOut(path: string, waitedMs: number, holder: Holder | null): WarmswapError {
  return new WarmswapError(
    'ERR_LOCK_TIMEOUT',
    `Waited ${Math.round(waitedMs)} ms for the lease '${path}', held by ${describeHolder(holder, 'unknown')}. Raise options.timeoutMs, or stop that process. Run \`npx warmswap lock why '${path}'\` for details`,
    { path, ...(holder === null ? {} : { holder }) },
  )
}

function lockOf(
  call: NativeLease,
  { generation }: NativeLeaseStep,
  path: string,
  tookOverFrom: Holder | null,
  signal: AbortSignal,
  state: { hasEnded: boolean },
): StoreLock {
  const assertHeld = (): void => {
    if (signal.aborted) throw signal.reason
    if (state.hasEnded)
      throw new WarmswapError('ERR_LOCK_LOST', `the lease of '${path}' is no longer held: the run has ended`, { path })
  }
  return {
    path,
    token: call.token,
    generation,
    mode: 'lease',
    tookOverFrom,
    signal,
    assertHeld,
    progress(phase) {
      validate.string('phase', phase)
      assertHeld()
      call.setPhase(phase)
    },
  }
}

function holderOf({ host, pid, phase, since, writtenMs, generation, metadata }: NativeLeaseHolder): Holder {
  return {
    pid,
    hostname: host,
    ...(since === '' ? {} : { since }),
    generation,
    ...(phase === '' ? {} : { progress: { phase, at: new Date(writtenMs).toISOString() } }),
    ...(metadata === undefined ? {} : { metadata: JSON.parse(metadata) as Record<string, unknown> }),
    format: 'warmswap',
  }
}
