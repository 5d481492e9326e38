/** `cache.ensure()`: restore, or exactly one of all callers builds while the others wait. */

import { messageOf } from '../native/callbacks.js'
import type { NativeCache, NativeEnsure, NativeEnsureEvent, NativeEnsureStep } from '../native/binding.cjs'
import { WarmswapError, isWarmswapError } from '../native/errors.js'
import { native, unwrap } from '../native/native.js'
import type { EnsureLock, EnsureResult } from './ensure-contract.js'
import type { CheckedEnsure } from './ensure-options.js'
import { outcomeError, restoreResult } from './results.js'

/** Runs one call. Resolves with how it got its tree. */
export async function ensure(handle: NativeCache, checked: CheckedEnsure): Promise<EnsureResult> {
  const { signal } = checked
  signal?.throwIfAborted()
  const token = new (native().CancelToken)()
  const build = new Build(checked)
  const call = unwrap(handle.ensure(checked.native, token, (event) => build.receive(event)))
  const stop = (): void => {
    token.cancel()
    build.stop(signal?.reason)
  }
  signal?.addEventListener('abort', stop, { once: true })
  try {
    for (;;) {
      const step = unwrap(await call.next())
      if (step.directory === undefined) return result(checked, step, build)
      await build.run(call, step.directory, step.reason)
    }
  } catch (error) {
    if (signal?.aborted && isWarmswapError(error) && error.code === 'ERR_ABORTED') throw signal.reason
    throw error
  } finally {
    signal?.removeEventListener('abort', stop)
  }
}

/** The builds of one call, one after the other. */
class Build {
  readonly #checked: CheckedEnsure
  #lost: AbortController | undefined
  /** What the last build threw. */
  failure: { error: unknown } | undefined

  constructor(checked: CheckedEnsure) {
    this.#checked = checked
  }

  receive({ kind, host = '', pid = 0, phase = '', waitedMs = 0, leaseLeftMs = 0 }: NativeEnsureEvent): void {
    if (kind === 'lost') {
      this.stop(lostError(this.#checked.native.key))
      this.#checked.notify({ kind })
    } else this.#checked.notify({ kind, holder: { host, pid }, phase, waitedMs, leaseLeftMs })
  }

  stop(reason: unknown): void {
    this.#lost?.abort(reason)
  }

  async run(call: NativeEnsure, dir: string, alone: string | undefined): Promise<void> {
    const lost = new AbortController()
    this.#lost = lost
    this.failure = undefined
    const reason = alone === undefined ? {} : { alone }
    const state = { hasEnded: false }
    this.#checked.notify({ kind: 'building', dir, ...reason })
    try {
      const lock = lockOf(call, this.#checked.native.key, lost.signal, state)
      if (this.#checked.signal?.aborted) lost.abort(this.#checked.signal.reason)
      await this.#checked.build({ dir, lock, signal: lost.signal, ...reason })
      state.hasEnded = true
      call.settle()
    } catch (error) {
      state.hasEnded = true
      this.failure = { error }
      call.settle(messageOf(error))
    }
  }
}

function lockOf(call: NativeEnsure, key: string, signal: AbortSignal, state: { hasEnded: boolean }): EnsureLock {
  const assertHeld = (): void => {
    if (signal.aborted) throw signal.reason
    if (state.hasEnded)
      throw new WarmswapError(
        'ERR_LOCK_LOST',
        `the lease of the build of '${key}' is no longer held: the build has ended`,
      )
  }
  return {
    assertHeld,
    progress(phase) {
      assertHeld()
      call.setPhase(String(phase))
    },
  }
}

function lostError(key: string): WarmswapError {
  return new WarmswapError(
    'ERR_LOCK_LOST',
    `the lease of the build of '${key}' was lost: the store could not be reached in time, or its record was replaced. Stop the build`,
  )
}

function result(checked: CheckedEnsure, step: NativeEnsureStep, { failure }: Build): EnsureResult {
  const { role, reason, generation, ms, restore, outcome } = step
  if (role !== undefined)
    return {
      role: role as EnsureResult['role'],
      ms,
      ...(reason !== undefined && { reason }),
      ...(generation !== undefined && { generation }),
      ...(restore !== undefined && { restore: restoreResult(restore) }),
    }
  if (outcome === 'build' && failure !== undefined) throw failure.error
  if (outcome === 'shared')
    throw new Error(reason ?? 'the build failed', {
      cause: new Error(`the build of '${checked.native.key}' failed in another caller`),
    })
  const known = outcome === undefined || outcome === 'build' ? 'refused' : outcome
  throw outcomeError('ensure', { outcome: known, ...(reason !== undefined && { reason }) }, checked.signal)
}
