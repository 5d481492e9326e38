/** Orphan-aware locks: a killed holder never blocks anybody, a living one is never robbed. */

import { hostname } from 'node:os'
import { threadId } from 'node:worker_threads'
import { abortable } from '../native/abort.js'
import { attempt } from '../native/callbacks.js'
import type { CancelToken, LockListener, NativeLock, NativeLockEvent, NativeLockOptions } from '../native/binding.cjs'
import { WarmswapError, invalidArgument, isWarmswapError } from '../native/errors.js'
import { type Failure, native, unwrap } from '../native/native.js'
import * as validate from '../native/validate.js'

/** Who holds a lock. */
export interface Holder {
  readonly pid?: number
  readonly hostname?: string
  readonly command?: string
  readonly since?: string
  readonly generation?: number
  readonly progress?: { phase: string; at: string }
  readonly metadata?: Record<string, unknown>
  /**
   * With `coverChildren`: the process that acquired the lock, once a child that inherited it has it. `pid` and `command`
   * are the child's, and are missing where it cannot be seen from here.
   */
  readonly inheritedFrom?: number
  /** Why its directory is never taken over: it holds files that are not a lock's. */
  readonly note?: string
  readonly format: 'warmswap' | 'owner-json' | 'ownerless'
}

export type Liveness = 'alive' | 'dead' | 'unknown'

export interface LockOptions {
  /** 'auto' decides by filesystem type before any lock call. @default 'auto' */
  mode?: 'auto' | 'kernel' | 'lease'
  /** Infinity allowed; 0 is one try. @default Infinity */
  timeoutMs?: number
  /** How long the record may stay unchanged; it is renewed every third of it. @default 30_000 */
  leaseTtlMs?: number
  /** Unverifiable foreign holder, measured as locally observed non-change. @default 600_000 */
  foreignStaleMs?: number
  /** JSON that others see in {@link Holder}; at most 32 KiB of it. */
  metadata?: Record<string, unknown>
  /** The lock outlives this process as long as a child started with `lock.childEnv()` and `lock.childFd()` lives. @default false */
  coverChildren?: boolean
  signal?: AbortSignal
  /** Without it, one process warning after 10 s says who is waited for, also when it is this very thread. First call within 100 ms of blocking, then on each change of holder or progress and every 10 s. */
  onWait?(info: { path: string; waitedMs: number; holder: Holder | null; liveness: Liveness }): void
}

/** A lock that is held. */
export interface Lock extends Disposable {
  readonly path: string
  readonly token: string
  /** Fencing token: grows with each acquisition of this path, also after the lock's files were deleted. */
  readonly generation: number
  readonly mode: 'kernel' | 'lease'
  /** The dead holder whose lock this was: an orphan's leftovers may need cleaning. */
  readonly tookOverFrom: Holder | null
  /** Aborts when the lock is lost. */
  readonly signal: AbortSignal
  /** Throws ERR_LOCK_LOST unless the lock is held. */
  assertHeld(): void
  /** Tells those who wait what is being done. */
  progress(phase: string): void
  /** Fenced atomic rename: refused with ERR_FENCED once a later generation exists. */
  publish(from: string, to: string): Promise<void>
  /** WARMSWAP_LOCK and its generation, for {@link publishFenced} in a child. */
  childEnv(): Record<string, string>
  /** With coverChildren: pass it in `stdio`. */
  childFd(): number
  /** Idempotent, synchronous; dispose calls it. */
  release(): { released: boolean; reason?: 'lost' }
}

/** After so long without `onWait` a process warning says who is waited for. */
const WARN_AFTER_MS = 10_000

const OPTION_NAMES = [
  'mode',
  'timeoutMs',
  'leaseTtlMs',
  'foreignStaleMs',
  'metadata',
  'coverChildren',
  'signal',
  'onWait',
] as const

type Facts = Parameters<NonNullable<LockOptions['onWait']>>[0]

/** Options that were checked, in the addon's form. */
interface Checked {
  path: string
  native: Omit<NativeLockOptions, 'call' | 'atOnce'>
  signal: AbortSignal | undefined
  onWait: ((facts: Facts) => void) | undefined
}

/** Checks path and options; `more` names options that only this call takes. */
export function checkLockOptions(
  path: unknown,
  value: LockOptions | undefined,
  name = 'options',
  more: readonly string[] = [],
): Checked {
  const known = [...OPTION_NAMES, ...more] as unknown as (keyof LockOptions & string)[]
  const options = validate.options<LockOptions>(name, value, known)
  if (options.onWait !== undefined) validate.callback(`${name}.onWait`, options.onWait)
  const checked: Checked['native'] = {
    mode: validate.oneOf(`${name}.mode`, options.mode ?? 'auto', ['auto', 'kernel', 'lease']),
    timeoutMs: validate.milliseconds(`${name}.timeoutMs`, options.timeoutMs ?? Infinity, { infinity: true }),
    leaseTtlMs: atLeast(`${name}.leaseTtlMs`, options.leaseTtlMs ?? 30_000, 100),
    foreignStaleMs: validate.milliseconds(`${name}.foreignStaleMs`, options.foreignStaleMs ?? 600_000),
    coverChildren: validate.boolean(`${name}.coverChildren`, options.coverChildren ?? false),
    threadId,
  }
  if (options.metadata !== undefined) checked.metadata = toJson(`${name}.metadata`, options.metadata)
  return {
    path: validate.absolutePath('path', path),
    native: checked,
    signal: validate.signal(`${name}.signal`, options.signal),
    onWait: options.onWait?.bind(options),
  }
}

/** A shorter lease would be lost to a scheduler that is merely busy. */
function atLeast(name: string, value: unknown, least: number): number {
  const milliseconds = validate.milliseconds(name, value)
  if (milliseconds < least) throw invalidArgument(name, value, `a number of milliseconds, ${least} or more`)
  return milliseconds
}

function toJson(name: string, value: unknown): string {
  const accepted = 'a plain object that JSON can hold'
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw invalidArgument(name, value, accepted)
  try {
    return JSON.stringify(value)
  } catch {
    throw invalidArgument(name, value, accepted)
  }
}

/** A lock and what only this library's own callers see of it. */
export interface AcquiredLock {
  lock: Lock
  native: NativeLock
}

/** Takes the lock with options that were checked. */
export async function acquireChecked(checked: Checked): Promise<AcquiredLock> {
  const call = new Call(checked)
  try {
    const taken = await call.run((options, token) => native().acquireLock(checked.path, options, listener(), token))
    return { lock: new HeldLock(checked.path, taken, call), native: taken }
  } catch (error) {
    call.end()
    throw error
  }
}

/** A free lock in memory is taken without a turn of the event loop; one of so many calls, some 10 ms, gives it one. */
const CALLS_A_TURN = 64

/** Calls that wait or hold, by the number that the addon names them with. */
const calls = new Map<number, Call>()
let lastCall = 0
let theListener: LockListener | undefined

/** Hears of all calls: a native function for each of them would cost more than an uncontended lock. */
function listener(): LockListener {
  theListener ??= new (native().LockListener)((event) => calls.get(event.call)?.hear(event))
  return theListener
}

/** One call: what the addon tells of its wait, and of the lock that it got. */
class Call {
  readonly #number = ++lastCall
  readonly #checked: Checked
  #isWarned = false
  #loss: WarmswapError | undefined
  /** Made for who asks for the signal: few do. */
  #lost: AbortController | undefined

  constructor(checked: Checked) {
    this.#checked = checked
    calls.set(this.#number, this)
  }

  /** Runs the native call, with a token where there is a signal that can raise it. */
  async run<T>(
    start: (options: NativeLockOptions, token?: CancelToken) => T | Failure | Promise<T | Failure>,
  ): Promise<T> {
    const options = { ...this.#checked.native, call: this.#number, atOnce: this.#number % CALLS_A_TURN !== 0 }
    const { signal } = this.#checked
    return signal === undefined
      ? unwrap(await start(options))
      : await abortable(signal, (token) => start(options, token))
  }

  hear(event: NativeLockEvent): void {
    if (event.kind === 'wait') this.#tell(event)
    else this.#lose(event)
  }

  get signal(): AbortSignal {
    if (this.#lost === undefined) {
      this.#lost = new AbortController()
      if (this.#loss !== undefined) this.#lost.abort(this.#loss)
    }
    return this.#lost.signal
  }

  /** Nothing will be heard any more. */
  end(): void {
    calls.delete(this.#number)
  }

  #tell({ waitedMs, holder, liveness }: NativeLockEvent): void {
    const { path, onWait } = this.#checked
    const facts: Facts = { path, waitedMs, holder: holder == null ? null : (JSON.parse(holder) as Holder), liveness }
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

  #lose({ reason }: NativeLockEvent): void {
    const { path } = this.#checked
    this.#loss = new WarmswapError('ERR_LOCK_LOST', `the lock '${path}' is not held any more: ${reason}`, { path })
    this.#lost?.abort(this.#loss)
    this.end()
  }
}

/** The holder in words. */
export function describeHolder(holder: Holder | null, liveness: Liveness | null): string {
  const note = holder?.note === undefined ? '' : ` (${holder.note})`
  if (holder?.pid === undefined)
    return holder?.inheritedFrom === undefined
      ? `a holder that left no owner record${note}`
      : `a child of pid ${holder.inheritedFrom}, which has ended`
  // The pid means nothing on another host; alive is only said of a process of this boot and pid namespace.
  const isHere = liveness === 'alive' && holder.hostname?.split('+pidns-')[0] === hostname()
  const self = isHere && holder.pid === process.pid ? ' (this very process)' : ''
  const command = holder.command ? `, '${holder.command}'` : ''
  const inherited = holder.inheritedFrom === undefined ? '' : `, which inherited it from pid ${holder.inheritedFrom}`
  const since = holder.since ? `, since ${holder.since}` : ''
  const progress = holder.progress ? `, doing: ${holder.progress.phase}` : ''
  return `pid ${holder.pid}${self} on ${holder.hostname ?? 'an unnamed host'}${command}${inherited}${since}${progress}${note}`
}

class HeldLock implements Lock {
  readonly path: string
  readonly token: string
  readonly generation: number
  readonly mode: 'kernel' | 'lease'
  readonly tookOverFrom: Holder | null
  readonly #native: NativeLock
  readonly #call: Call

  constructor(path: string, taken: NativeLock, call: Call) {
    this.path = path
    this.token = taken.token
    this.generation = taken.generation
    this.mode = taken.mode
    this.tookOverFrom = taken.tookOverFrom == null ? null : (JSON.parse(taken.tookOverFrom) as Holder)
    this.#native = taken
    this.#call = call
  }

  get signal(): AbortSignal {
    return this.#call.signal
  }

  assertHeld(): void {
    unwrap(this.#native.assertHeld())
  }

  progress(phase: string): void {
    this.#native.progress(validate.string('phase', phase))
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
    // Of one that was lost the signal is still to hear.
    if (isReleased) this.#call.end()
    return isReleased ? { released: true } : { released: false, reason: 'lost' }
  }

  [Symbol.dispose](): void {
    this.release()
  }
}

/**
 * Acquires a lock, waiting for it up to `timeoutMs`. `path` is the lock directory itself: any name that is not in use.
 * Its parent is made. The directory exists while the lock is held, or was left by a dead holder.
 *
 * A directory that is already at `path` is only taken over if it is empty, or holds nothing but the `owner.json` of a
 * dead holder. To lock an existing folder, lock `${folder}.lock`.
 *
 * Rejects with ERR_LOCK_TIMEOUT (with `holder`), with the signal's reason, with ERR_INVALID_ARGUMENT if `path` is an
 * ordinary folder, a file or a link, with ERR_UNTRUSTED if another user's entry holds a name that the lock needs, with
 * ERR_UNSUPPORTED if the filesystem cannot give what was asked for, with ERR_IO.
 */
export async function acquireLock(path: string, options?: LockOptions): Promise<Lock> {
  return (await acquireChecked(checkLockOptions(path, options))).lock
}

/** Takes the lock if it is free now; `null` where it is not. */
export async function tryLock(path: string, options?: Omit<LockOptions, 'timeoutMs' | 'onWait'>): Promise<Lock | null> {
  const checked = checkLockOptions(path, options)
  checked.native.timeoutMs = 0
  try {
    return (await acquireChecked(checked)).lock
  } catch (error) {
    if (isWarmswapError(error) && error.code === 'ERR_LOCK_TIMEOUT') return null
    throw error
  }
}

/** Runs a task under the lock, and gives it back however the task ends. */
export async function withLock<T>(
  path: string,
  task: (lock: Lock) => T | Promise<T>,
  options?: LockOptions,
): Promise<T> {
  const checked = checkLockOptions(path, options)
  validate.callback('task', task)
  const { lock } = await acquireChecked(checked)
  try {
    return await task(lock)
  } finally {
    lock.release()
  }
}

/** How long a call waits for a filesystem that does not answer, and what ends the wait. */
export interface AnswerOptions {
  signal?: AbortSignal
  /** Rejects with ERR_TIMEOUT after so long; Infinity allowed. The work itself stays behind until the filesystem answers. @default 30_000 */
  timeoutMs?: number
}

const ANSWER_MS = 30_000

function answerOptions(value: AnswerOptions | undefined): { signal: AbortSignal | undefined; timeoutMs: number } {
  const { signal, timeoutMs = ANSWER_MS } = validate.options<AnswerOptions>('options', value, ['signal', 'timeoutMs'])
  return {
    signal: validate.signal('options.signal', signal),
    timeoutMs: validate.milliseconds('options.timeoutMs', timeoutMs, { infinity: true }),
  }
}

/**
 * Inspects a lock without acquiring or deleting anything. `held` means alive or unknown; a dead holder is `held: false`
 * with `holder` set. `warning` is set if `path` is an ordinary folder that cannot be locked, or holds files that are not a
 * lock's.
 *
 * Rejects with ERR_TIMEOUT if the filesystem does not answer within `timeoutMs`, and with the signal's reason.
 */
export async function inspectLock(
  path: string,
  options?: AnswerOptions,
): Promise<{
  path: string
  held: boolean
  holder: Holder | null
  liveness: Liveness | null
  ageMs: number | null
  warning: string | null
}> {
  const lock = validate.absolutePath('path', path)
  const { signal, timeoutMs } = answerOptions(options)
  const { held, holder, liveness, ageMs, warning } = await abortable(signal, (token) =>
    native().inspectLock(lock, timeoutMs, token),
  )
  return {
    path,
    held,
    holder: holder == null ? null : (JSON.parse(holder) as Holder),
    liveness: liveness ?? null,
    ageMs: ageMs ?? null,
    warning: warning ?? null,
  }
}

/** Waits until nobody holds the lock. Acquires nothing, but removes what a provably dead holder left. */
export async function waitForLock(
  path: string,
  options?: LockOptions,
): Promise<{ waitedMs: number; orphaned: boolean }> {
  const checked = checkLockOptions(path, options)
  const started = performance.now()
  const call = new Call(checked)
  try {
    const orphaned = await call.run((options, token) => native().waitForLock(checked.path, options, listener(), token))
    return { waitedMs: performance.now() - started, orphaned }
  } finally {
    call.end()
  }
}

/**
 * Removes what killed processes left in a directory of locks, and never what a live process has. Only entries whose content
 * proves that this library made them are removed, and in a directory that everybody may write to only those of this user,
 * of root or of the directory's owner.
 *
 * Rejects with ERR_TIMEOUT if the sweep takes longer than `timeoutMs`, and with the signal's reason. The sweep itself
 * continues in the background.
 */
export async function sweepLocks(
  directory: string,
  options?: AnswerOptions,
): Promise<{ removed: string[]; held: string[] }> {
  const path = validate.absolutePath('directory', directory)
  const { signal, timeoutMs } = answerOptions(options)
  return await abortable(signal, (token) => native().sweepLocks(path, timeoutMs, token))
}

/** What `lock.publish` does, for a child that was given `childEnv()`. */
export async function publishFenced(
  lock: { path: string; generation: number },
  from: string,
  to: string,
): Promise<void> {
  if (typeof lock !== 'object' || lock === null)
    throw invalidArgument('lock', lock, 'an object with path and generation')
  const path = validate.absolutePath('lock.path', lock.path)
  const generation = validate.wholeNumber('lock.generation', lock.generation)
  unwrap(
    await native().publishFenced(
      path,
      generation,
      validate.absolutePath('from', from),
      validate.absolutePath('to', to),
    ),
  )
}
