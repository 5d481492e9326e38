/** Argument checks: wrong arguments are refused with ERR_INVALID_ARGUMENT before anything is done. */

import { isAbsolute } from 'node:path'
import { invalidArgument } from './errors.js'

/**
 * Checks an options object, and returns an empty one if it was omitted. Unknown names are refused, because a misspelt
 * option must not be silently ignored.
 */
export function options<T extends object>(
  name: string,
  value: T | undefined,
  known: readonly (keyof T & string)[],
): Partial<T> {
  if (value === undefined) return {}
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw invalidArgument(name, value, 'an object with options')
  for (const key of Object.keys(value)) {
    if (!(known as readonly string[]).includes(key))
      throw invalidArgument(
        `${name}.${key}`,
        (value as Record<string, unknown>)[key],
        `one of the options ${known.join(', ')}`,
      )
  }
  return value
}

export function string(name: string, value: unknown): string {
  if (typeof value !== 'string') throw invalidArgument(name, value, 'a string')
  return value
}

export function strings(name: string, value: unknown): string[] {
  if (!Array.isArray(value)) throw invalidArgument(name, value, 'an array of strings')
  return value.map((each, index) => string(`${name}[${index}]`, each))
}

export function absolutePath(name: string, value: unknown): string {
  const path = string(name, value)
  if (path === '' || path.includes('\0') || !isAbsolute(path))
    throw invalidArgument(name, value, 'an absolute path without NUL')
  return path
}

export function boolean(name: string, value: unknown): boolean {
  if (typeof value !== 'boolean') throw invalidArgument(name, value, 'true or false')
  return value
}

export function callback(name: string, value: unknown): void {
  if (typeof value !== 'function') throw invalidArgument(name, value, 'a function')
}

/** Checks a duration in milliseconds: finite, or Infinity if the caller allows it. */
export function milliseconds(name: string, value: unknown, allow: { infinity: boolean } = { infinity: false }): number {
  const fits =
    typeof value === 'number' && value >= 0 && (Number.isFinite(value) || (allow.infinity && value === Infinity))
  if (!fits)
    throw invalidArgument(name, value, `a non-negative number of milliseconds${allow.infinity ? ', or Infinity' : ''}`)
  return value
}

export function wholeNumber(name: string, value: unknown, least = 0): number {
  if (typeof value !== 'number' || !Number.isSafeInteger(value) || value < least)
    throw invalidArgument(name, value, least === 0 ? 'a non-negative integer' : `an integer of at least ${least}`)
  return value
}

/** A whole number, or Infinity for no bound. */
export function bound(name: string, value: unknown): number {
  if (value === Infinity) return value as number
  if (typeof value !== 'number' || !Number.isSafeInteger(value) || value < 0)
    throw invalidArgument(name, value, 'a whole number, 0 or more, or Infinity')
  return value
}

export function oneOf<T extends string>(name: string, value: unknown, accepted: readonly T[]): T {
  if (!accepted.includes(value as T)) throw invalidArgument(name, value, accepted.map((each) => `'${each}'`).join(', '))
  return value as T
}

export function signal(name: string, value: unknown): AbortSignal | undefined {
  if (value !== undefined && !(value instanceof AbortSignal)) throw invalidArgument(name, value, 'an AbortSignal')
  return value
}
