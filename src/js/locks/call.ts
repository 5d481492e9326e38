/** Calls that wait for a lock or hold one, and the addon's events for them. */

import { abortable } from '../native/abort.js'
import type { CancelToken, LockListener, NativeLockEvent, NativeLockOptions } from '../native/binding.cjs'
import { attempt } from '../native/callbacks.js'
import { WarmswapError } from '../native/errors.js'
import { type NativeFailure, native, unwrap } from '../native/native.js'
import { describeHolder, type Holder } from './holder.js'
import type { CheckedLockOptions, WaitFacts } from './options.js'

/** If `onWait` is not set, a process warning names the holder after this time. */
const WARN_AFTER_MS = 10_000

/** A free lock in memory is acquired synchronously. One of this many calls (some 10 ms) yields to the event loop. */
const CALLS_A_TURN = 64

/** Calls that wait or hold, by the number that the addon uses for them. */
const calls = new Map<number, Call>()
let lastCall = 0
let theListener: LockListener | undefined

/** Receives the events of all calls. A native function for each call would cost more than an uncontended lock. */
export function listener(): LockListener {
  theListener ??= new (native().LockListener)((event) => calls.get(event.call)?.receive(event))
  return theListener
}

/** One call: the addon's reports of its wait and of its lock. */
export class Call {
  readonly #number = ++lastCall
  readonly #checked: CheckedLockOptions
  #isWarned = false
  #loss: WarmswapError | undefined
  /** Created on first use, because few callers read the signal. */
  #lost: AbortController | undefined

  constructor(checked: CheckedLockOptions) {
    this.#checked = checked
    calls.set(this.#number, this)
  }

  /** Runs the native call, with a cancellation token if there is a signal. */
  async run<T>(
    start: (options: NativeLockOptions, token?: CancelToken) => T | NativeFailure | Promise<T | NativeFailure>,
  ): Promise<T> {
    const options = { ...this.#checked.native, call: this.#number, inline: this.#number % CALLS_A_TURN !== 0 }
    const { signal } = this.#checked
    return signal === undefined
      ? unwrap(await start(options))
      : await abortable(signal, (token) => start(options, token))
  }

  receive(event: NativeLockEvent): void {
    if (event.kind === 'wait') this.#reportWait(event)
    else this.#reportLoss(event)
  }

  get signal(): AbortSignal {
    if (this.#lost === undefined) {
      this.#lost = new AbortController()
      if (this.#loss !== undefined) this.#lost.abort(this.#loss)
    }
    return this.#lost.signal
  }

  /** Removes the call: no further events are handled. */
  close(): void {
    calls.delete(this.#number)
  }

  #reportWait({ waitedMs, holder, liveness }: NativeLockEvent): void {
    const { path, onWait } = this.#checked
    const facts: WaitFacts = {
      path,
      waitedMs,
      holder: holder == null ? null : (JSON.parse(holder) as Holder),
      liveness,
    }
    if (onWait !== undefined) {
      attempt('options.onWait of a lock', () => onWait(facts), onWait)
    } else if (waitedMs >= WARN_AFTER_MS && !this.#isWarned) {
      this.#isWarned = true
      process.emitWarning(
        `waiting for the lock '${path}' for ${Math.round(waitedMs / 1000)} s, held by ${describeHolder(facts.holder, liveness)}; 'npx warmswap lock why ${path}' has details`,
        'WarmswapLockWarning',
      )
    }
  }

  #reportLoss({ reason }: NativeLockEvent): void {
    const { path } = this.#checked
    this.#loss = new WarmswapError('ERR_LOCK_LOST', `the lock '${path}' is no longer held: ${reason}`, { path })
    this.#lost?.abort(this.#loss)
    this.close()
  }
}
