/** Acquires a lock with checked options. */

import type { NativeLock } from '../native/binding.cjs'
import { native, unwrap } from '../native/native.js'
import * as validate from '../native/validate.js'
import { Call, listener } from './call.js'
import type { Lock } from './contract.js'
import type { Holder } from './holder.js'
import type { CheckedLockOptions } from './options.js'

/** A lock, with members for callers inside this library. */
export interface AcquiredLock {
  lock: Lock
  native: NativeLock
}

/** Acquires the lock with options that were checked. */
export async function acquireChecked(checked: CheckedLockOptions): Promise<AcquiredLock> {
  const call = new Call(checked)
  try {
    const acquired = await call.run((options, token) => native().acquireLock(checked.path, options, listener(), token))
    return { lock: new LockHandle(checked.path, acquired, call), native: acquired }
  } catch (error) {
    call.close()
    throw error
  }
}

class LockHandle implements Lock {
  readonly path: string
  readonly token: string
  readonly generation: number
  readonly mode: 'kernel' | 'lease'
  readonly tookOverFrom: Holder | null
  readonly #native: NativeLock
  readonly #call: Call

  constructor(path: string, native: NativeLock, call: Call) {
    this.path = path
    this.token = native.token
    this.generation = native.generation
    this.mode = native.mode
    this.tookOverFrom = native.tookOverFrom == null ? null : (JSON.parse(native.tookOverFrom) as Holder)
    this.#native = native
    this.#call = call
  }

  get signal(): AbortSignal {
    return this.#call.signal
  }

  assertHeld(): void {
    unwrap(this.#native.assertHeld())
  }

  progress(phase: string): void {
    validate.string('phase', phase)
    // Otherwise waiters would read the phase of a process that no longer has the lock.
    this.assertHeld()
    this.#native.progress(phase)
  }

  async publish(from: string, to: string): Promise<void> {
    unwrap(await this.#native.publish(validate.absolutePath('from', from), validate.absolutePath('to', to)))
  }

  childEnv(): Record<string, string> {
    return { WARMSWAP_LOCK: this.path, WARMSWAP_LOCK_GENERATION: String(this.generation) }
  }

  childFd(): number {
    return unwrap(this.#native.childFd())
  }

  release(): { released: boolean; reason?: 'lost' } {
    const isReleased = unwrap(this.#native.release())
    // The signal of a lost lock can still be reported.
    if (isReleased) this.#call.close()
    return isReleased ? { released: true } : { released: false, reason: 'lost' }
  }

  [Symbol.dispose](): void {
    this.release()
  }
}
