/** Checks the options of the calls on locks. */

import { threadId } from 'node:worker_threads'
import type { NativeLockOptions } from '../native/binding.cjs'
import { invalidArgument } from '../native/errors.js'
import * as validate from '../native/validate.js'
import type { AnswerOptions, LockOptions, SweepLocksOptions } from './contract.js'

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

export type WaitFacts = Parameters<NonNullable<LockOptions['onWait']>>[0]

/** Checked options in the addon's form. */
export interface CheckedLockOptions {
  path: string
  native: Omit<NativeLockOptions, 'call' | 'inline'>
  signal: AbortSignal | undefined
  onWait: ((facts: WaitFacts) => void) | undefined
}

/** Checks path and options; `more` names options that only this call takes. */
export function checkLockOptions(
  path: unknown,
  value: LockOptions | undefined,
  name = 'options',
  more: readonly string[] = [],
): CheckedLockOptions {
  const known = [...OPTION_NAMES, ...more] as unknown as (keyof LockOptions & string)[]
  const options = validate.options<LockOptions>(name, value, known)
  if (options.onWait !== undefined) validate.callback(`${name}.onWait`, options.onWait)
  const checked: CheckedLockOptions['native'] = {
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

/** A shorter lease would be lost when the machine is busy and schedules the renewal late. */
function atLeast(name: string, value: unknown, least: number): number {
  const milliseconds = validate.milliseconds(name, value)
  if (milliseconds < least) throw invalidArgument(name, value, `a number of milliseconds, ${least} or more`)
  return milliseconds
}

function toJson(name: string, value: unknown): string {
  const accepted = 'a plain object that JSON.stringify() accepts'
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw invalidArgument(name, value, accepted)
  try {
    return JSON.stringify(value)
  } catch {
    throw invalidArgument(name, value, accepted)
  }
}

const ANSWER_MS = 30_000

export function checkAnswerOptions(value: AnswerOptions | undefined): {
  signal: AbortSignal | undefined
  timeoutMs: number
} {
  const { signal, timeoutMs = ANSWER_MS } = validate.options<AnswerOptions>('options', value, ['signal', 'timeoutMs'])
  return {
    signal: validate.signal('options.signal', signal),
    timeoutMs: validate.milliseconds('options.timeoutMs', timeoutMs, { infinity: true }),
  }
}

const DAY_MS = 86_400_000

export function checkSweepOptions(value: SweepLocksOptions | undefined): {
  signal: AbortSignal | undefined
  timeoutMs: number
  unusedMs: number
} {
  const known = ['signal', 'timeoutMs', 'unusedMs'] as const
  const { unusedMs = DAY_MS, ...answer } = validate.options<SweepLocksOptions>('options', value, known)
  return {
    ...checkAnswerOptions(answer),
    unusedMs: validate.milliseconds('options.unusedMs', unusedMs, { infinity: true }),
  }
}
