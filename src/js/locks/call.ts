/** Calls that wait for a lock or hold one, and what the addon reports of them. */

import { abortable } from '../native/abort.js'
import type { CancelToken, LockListener, NativeLockEvent, NativeLockOptions } from '../native/binding.cjs'
import { attempt } from '../native/callbacks.js'
import { WarmswapError } from '../native/errors.js'
import { type NativeFailure, native, unwrap } from '../native/native.js'
import { describeHolder, type Holder } from './holder.js'
import type { CheckedLockOptions, WaitFacts } from './options.js'

/** After so long without `onWait` a process warning says who is waited for. */
const WARN_AFTER_MS = 10_000

/** A free lock in memory is taken without a turn of the event loop; one of so many calls, some 10 ms, gives it one. */
const CALLS_A_TURN = 64

/** Calls that wait or hold, by the number that the addon names them with. */
const calls = new Map<number, Call>()
let lastCall = 0
let theListener: LockListener | undefined

/** Hears of all calls: a native function for each of them would cost more than an uncontended lock. */
export function listener(): LockListener {
  theListener ??= new (native().LockListener)((event) => calls.get(event.call)?.receive(event))
  return theListener
}

/** One call: what the addon tells of its wait, and of the lock that it got. */
export class Call {
  readonly #number = ++lastCall
  readonly #checked: CheckedLockOptions
  #isWarned = false
  #loss: WarmswapError | undefined
  /** Made for who asks for the signal: few do. */
  #lost: AbortController | undefined

  constructor(checked: CheckedLockOptions) {
    this.#checked = checked
    calls.set(this.#number, this)
  }

  /** Runs the native call, with a token where there is a signal that can raise it. */
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

  /** Nothing will be heard any more. */
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
        `waiting for the lock '${path}' for ${Math.round(waitedMs / 1000)} s, held by ${describeHolder(facts.holder, liveness)}; 'npx warmswap lock why ${path}' tells more`,
        'WarmswapLockWarning',
      )
    }
  }

  #reportLoss({ reason }: NativeLockEvent): void {
    const { path } = this.#checked
    this.#loss = new WarmswapError('ERR_LOCK_LOST', `the lock '${path}' is not held any more: ${reason}`, { path })
    this.#lost?.abort(this.#loss)
    this.close()
  }
}
