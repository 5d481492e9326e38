/** Checks the options of `cache.ensure()`, and gives them the addon's form. */

import type { NativeEnsureOptions } from '../native/binding.cjs'
import { guarded } from '../native/callbacks.js'
import { invalidArgument } from '../native/errors.js'
import * as validate from '../native/validate.js'
import type { EnsureBuild, EnsureEvent, EnsureOptions } from './ensure-contract.js'
import { checkBudget, checkFingerprint, checkLevel, checkRestoreOptions } from './options.js'

const OPTIONS = [
  'fingerprint',
  'into',
  'build',
  'deadlineMs',
  'restoreDeadlineMs',
  'uploadDeadlineMs',
  'ttlMs',
  'onFailure',
  'mode',
  'symlinks',
  'limits',
  'concurrency',
  'level',
  'idleMs',
  'minBytesPerSecond',
  'attempts',
  'signal',
  'onEvent',
] as const

const LEAST_TTL_MS = 1_000
const MOST_TTL_MS = 600_000

/** A call of ensure() in the addon's form, and what stays in JavaScript. */
export interface CheckedEnsure {
  native: NativeEnsureOptions
  build(context: EnsureBuild): unknown
  signal: AbortSignal | undefined
  notify(event: EnsureEvent): void
}

export function checkEnsureOptions(key: string, options: EnsureOptions): CheckedEnsure {
  const given = validate.options('options', options, OPTIONS)
  validate.string('key', key)
  validate.callback('options.build', given.build)
  if (given.onEvent !== undefined) validate.callback('options.onEvent', given.onEvent)
  const fingerprint = checkFingerprint(given.fingerprint)
  if (fingerprint === '') throw invalidArgument('options.fingerprint', fingerprint, 'a string that is not empty')
  const deadlineMs = validate.milliseconds('options.deadlineMs', given.deadlineMs ?? Infinity, { infinity: true })
  const { idleMs, minBytesPerSecond, attempts, symlinks, limits, concurrency, signal } = given
  const patience = { idleMs, minBytesPerSecond, attempts, signal }
  const restore = checkRestoreOptions({
    key,
    into: given.into as string,
    mode: validate.oneOf('options.mode', given.mode ?? 'if-empty', ['if-empty', 'replace']),
    deadlineMs: checkDeadline('options.restoreDeadlineMs', given.restoreDeadlineMs ?? 120_000),
    ...present({ ...patience, symlinks, limits, concurrency }),
  })
  return {
    native: {
      key,
      fingerprint,
      restore: restore.native,
      ttlMs: checkTtl(given.ttlMs ?? 30_000),
      sharesFailures: validate.oneOf('options.onFailure', given.onFailure ?? 'share', ['share', 'retry']) === 'share',
      uploadBudget: checkBudget(
        'options',
        present(patience),
        checkDeadline('options.uploadDeadlineMs', given.uploadDeadlineMs ?? 120_000),
      ),
      ...(deadlineMs === Infinity ? {} : { deadlineMs }),
      ...(given.level === undefined ? {} : { level: checkLevel(given.level) }),
    },
    build: given.build as EnsureOptions['build'],
    signal,
    notify: given.onEvent === undefined ? () => {} : guarded('options.onEvent of ensure()', given.onEvent),
  }
}

function checkDeadline(name: string, value: unknown): number {
  const milliseconds = validate.milliseconds(name, value)
  if (milliseconds === 0) throw invalidArgument(name, value, 'a number of milliseconds above 0')
  return milliseconds
}

function checkTtl(value: unknown): number {
  const milliseconds = validate.milliseconds('options.ttlMs', value)
  if (milliseconds < LEAST_TTL_MS || milliseconds > MOST_TTL_MS)
    throw invalidArgument('options.ttlMs', value, `a number of milliseconds from ${LEAST_TTL_MS} to ${MOST_TTL_MS}`)
  return milliseconds
}

/** Without the options that were not given. */
function present<T extends object>(given: T): { [Name in keyof T]?: Exclude<T[Name], undefined> } {
  return Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined)) as {
    [Name in keyof T]?: Exclude<T[Name], undefined>
  }
}
