/** Checks the options that `pack()`, `unpack()` and the restore of a cache have in common. */

import { homedir } from 'node:os'
import { resolve } from 'node:path'
import { invalidArgument } from '../native/errors.js'
import * as check from '../native/validate.js'
import type { Limits } from './contract.js'

export const PRESETS = ['deno', 'node_modules', 'vite', 'none'] as const
export const MODES = ['if-empty', 'replace', 'merge'] as const
export const DUPLICATES = ['replace', 'reject'] as const
export const SYMLINKS = ['contained', 'relative', 'verbatim', 'reject'] as const

/** Checks that a directory may be replaced: it is neither a filesystem root nor a home directory. */
export function checkTarget(name: string, value: unknown): string {
  const path = resolve(check.absolutePath(name, value))
  const home = homeDirectory()
  if (path === '/' || (home !== undefined && (path === home || path === resolve(home, '..'))))
    throw invalidArgument(name, value, "a directory of its own, neither '/' nor a home directory")
  return path
}

/** Undefined for a user without an entry in the password file and without HOME, which is common in Kubernetes pods. */
function homeDirectory(): string | undefined {
  try {
    return homedir()
  } catch {
    return undefined
  }
}

/** Checks the limits and converts them for the addon. */
export function checkLimits(name: string, value: Limits | undefined): Limits {
  const given = check.options(name, value, [
    'maxBytes',
    'maxFiles',
    'maxFileBytes',
    'maxRatio',
    'maxMemoryBytes',
    'minFreeBytes',
  ])
  const checked: Limits = {}
  for (const [key, limit] of Object.entries(given)) {
    if (limit !== undefined) checked[key as keyof Limits] = check.wholeNumber(`${name}.${key}`, limit)
  }
  if (checked.maxBytes !== undefined && checked.maxFileBytes !== undefined && checked.maxFileBytes > checked.maxBytes) {
    throw invalidArgument(
      `${name}.maxFileBytes`,
      checked.maxFileBytes,
      `at most ${name}.maxBytes, which is ${checked.maxBytes}`,
    )
  }
  return checked
}
