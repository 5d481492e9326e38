/** Checks the options of the calls on caches, and converts them for the addon. */

import { checkLimits, checkTarget, DUPLICATES, MODES, PRESETS, SYMLINKS } from '../archives/options.js'
import type { NativeBudget, NativeProgress, NativeRestoreOptions, NativeSnapshotOptions } from '../native/binding.cjs'
import { invalidArgument, WarmswapError } from '../native/errors.js'
import * as validate from '../native/validate.js'
import type { Budget, RestoreOptions, SnapshotOptions } from './contract.js'
import { progressListener } from './progress.js'

const MAX_FINGERPRINT_BYTES = 512

export const BUDGET = ['deadlineMs', 'idleMs', 'minBytesPerSecond', 'attempts', 'signal'] as const
export const CONDITIONS = ['auto', 'required', 'off'] as const
/** Longest timer that native code supports; a longer deadline would have no effect. */
const LONGEST_MS = 7 * 86_400_000

export function secretBytes(value: unknown): Uint8Array {
  const bytes = typeof value === 'string' ? new TextEncoder().encode(value) : value
  // The message never contains the value: it is a secret.
  if (!(bytes instanceof Uint8Array) || bytes.length < 16)
    throw new WarmswapError(
      'ERR_INVALID_ARGUMENT',
      'Invalid options.hmacKey. Expected a string or Uint8Array of at least 16 bytes',
    )
  return bytes
}

/** The fingerprint is stored in the pointer, which is small. */
export function checkFingerprint(value: unknown): string {
  const text = validate.string('options.fingerprint', value)
  // The addon gets UTF-8, in which all lone surrogates are the same character.
  if (/\p{Surrogate}/u.test(text))
    throw invalidArgument('options.fingerprint', text, 'a string without lone surrogates, such as a hash in hex digits')
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

export function checkLevel(value: unknown): number {
  if (typeof value !== 'number' || !Number.isSafeInteger(value) || value < -7 || value > 19)
    throw invalidArgument('options.level', value, 'an integer from -7 to 19')
  return value
}

export function checkBudget(name: string, given: Budget, deadlineMs: number): NativeBudget {
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

/** Options of restore() or snapshot() for the addon, and those that stay in JavaScript. */
interface CheckedCall<NativeOptions> {
  native: NativeOptions
  signal: AbortSignal | undefined
  strict: boolean
  progress: ((progress: NativeProgress) => void) | undefined
}

export function checkRestoreOptions(options: RestoreOptions): CheckedCall<NativeRestoreOptions> {
  const given = validate.options('options', options, [
    ...BUDGET,
    'key',
    'fallbackKeys',
    'into',
    'mode',
    'symlinks',
    'duplicates',
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
    into: checkTarget('options.into', given.into),
    mode: validate.oneOf('options.mode', given.mode ?? 'if-empty', MODES),
    symlinks: validate.oneOf('options.symlinks', given.symlinks ?? 'contained', SYMLINKS),
    duplicates: validate.oneOf('options.duplicates', given.duplicates ?? 'replace', DUPLICATES),
    expect: expectation(given.expect),
    limits: checkLimits('options.limits', given.limits),
    concurrency: validate.wholeNumber('options.concurrency', given.concurrency ?? 8, 1),
    budget: checkBudget('options', given, 15_000),
  }
  if (native.concurrency > 64) throw invalidArgument('options.concurrency', native.concurrency, 'at most 64')
  return { native, ...checkManner(given) }
}

export function checkSnapshotOptions(
  options: SnapshotOptions,
): CheckedCall<NativeSnapshotOptions> & { keepProcessAlive: boolean } {
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
    preset: validate.oneOf('options.preset', given.preset ?? 'none', PRESETS),
    fingerprint: given.fingerprint === undefined ? '' : checkFingerprint(given.fingerprint),
    guard: guard(given.guard),
    quietMs: validate.milliseconds('options.quietMs', given.quietMs ?? 0),
    ...(given.level === undefined ? {} : { level: checkLevel(given.level) }),
    limits: checkLimits('options.limits', given.limits),
    budget: checkBudget('options', given, 120_000),
  }
  const keepProcessAlive = validate.boolean('options.keepProcessAlive', given.keepProcessAlive ?? true)
  return { native, keepProcessAlive, ...checkManner(given) }
}

function checkManner({
  signal,
  strict,
  onProgress,
}: Pick<RestoreOptions, 'signal' | 'strict' | 'onProgress'>): Omit<CheckedCall<never>, 'native'> {
  return {
    signal,
    strict: validate.boolean('options.strict', strict ?? false),
    progress: progressListener(onProgress),
  }
}
