/** What `warmswap cache` prints. */

import { type CacheCommand, OPTIONS } from './cache-help.js'
import { duration, size } from './text.js'

/** The result of a command. */
export type Result = {
  outcome: string
  reason?: string
  timings?: Record<string, number>
} & object

/** Exit codes by outcome. Any other outcome is 1. */
export const EXIT: Record<string, number> = {
  restored: 0,
  uploaded: 0,
  unchanged: 0,
  pruned: 0,
  removed: 0,
  found: 0,
  probed: 0,
  miss: 3,
  disabled: 3,
  timeout: 4,
  unavailable: 4,
  aborted: 4,
  corrupt: 5,
  refused: 5,
  incompatible: 5,
  empty: 6,
  shrunk: 6,
  unguarded: 6,
  unstable: 6,
  superseded: 6,
  'target-not-empty': 6,
  busy: 6,
}

/** Reason of a miss. */
export const NOTHING = 'nothing under the key'

const OPTION_NAMES = new Set(Object.values(OPTIONS).flatMap((options) => Object.keys(options)))

/** The options of the command line for trust levels. */
const TRUST_NAMES: Record<string, string> = {
  level: '--trust-level',
  signWith: '--sign-with',
  trustedKeys: '--trusted-key',
  readsFrom: '--reads-from',
}

/** Replaces the names of the API's options in a message by those of the command line. */
export function inShellWords(message: string): string {
  return message
    .replace(/\b(?:options\.)?limits\.(\w+)( of (?=\d))?/g, (_, name: string, of?: string) =>
      of === undefined ? optionOf(name) : `${optionOf(name)} `,
    )
    .replace(/\boptions\.trust\.(\w+)/g, (whole, name: string) => TRUST_NAMES[name] ?? whole)
    .replace(/\boptions\.hmacKey\b/g, '$$WARMSWAP_HMAC_KEY')
    .replace(/\boptions\.trust\b/g, 'trust levels')
    .replace(/\bInvalid options\.(?:into|from)\b/g, 'Invalid directory')
    .replace(/\boptions\.(?:into|from)\b/g, 'the directory')
    .replace(/\boptions\.(\w+)(?:\[\d+\])?/g, (whole, name: string) => {
      const option = optionOf(name.replace(/^fallbackKeys$/, 'fallbackKey'))
      return OPTION_NAMES.has(option.slice(2)) ? option : whole
    })
    .replace(/\bexpect\.(\w+) is\b/g, '--expect $1 is')
    .replace(/\bits symlinks are '(\w+)'(?: or 'verbatim')?/g, 'it has --symlinks $1')
    .replace(/\bUse (mode|symlinks) '(\w+)'/g, 'Use --$1 $2')
    .replace(/(?<!-)\bsymlinks is '(\w+)'/g, '--symlinks is $1')
}

function optionOf(name: string): string {
  return `--${name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`
}

export function headline({ outcome, reason, timings }: Result): string {
  const took = timings?.total === undefined ? '' : ` in ${duration(timings.total)}`
  return `${outcome}${took}${reason === undefined ? '' : `: ${reason}`}`
}

/** Longest list that is printed in full. */
const MOST_LINES = 20

export function describe(command: CacheCommand, result: Result): string {
  const { outcome, reason: _, timings: __, ...facts } = result
  // All other facts of a miss are zeros.
  if (outcome === 'miss') return headline(result)
  const lines = Object.entries(facts)
    .filter(([name, value]) => value !== undefined && name !== 'ok' && !(Array.isArray(value) && value.length === 0))
    .flatMap(([name, value]) => fact(name, value))
  const isIdle = command === 'prune' && 'removed' in facts && (facts.removed as string[]).length === 0
  return [headline(result), ...(isIdle ? ['  nothing to remove'] : lines)].join('\n')
}

function fact(name: string, value: unknown): string[] {
  const line = (text: string): string => `  ${name.padEnd(16)} ${text}`
  if (Array.isArray(value)) {
    const more = value.length > MOST_LINES ? [`    and ${value.length - MOST_LINES} more`] : []
    return [line(String(value.length)), ...value.slice(0, MOST_LINES).map((each) => `    ${textOf(each)}`), ...more]
  }
  if (typeof value === 'number' && /bytes$/i.test(name)) return [line(size(value))]
  return [line(textOf(value))]
}

function textOf(value: unknown): string {
  if (typeof value !== 'object' || value === null) return String(value)
  return Object.values(value).every((each) => typeof each === 'string')
    ? Object.entries(value)
        .map(([name, each]) => `${name} ${each}`)
        .join(', ')
    : JSON.stringify(value)
}
