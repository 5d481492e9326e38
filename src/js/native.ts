/** The addon: loaded once, its failures thrown as {@link WarmswapError}s. */

import { createRequire } from 'node:module'
import type * as Binding from './binding.cjs'
import { type ErrorCode, WarmswapError } from './errors.js'

/** A failure as the addon hands it over (src/addon/error.rs). */
export interface Failure {
  warmswapFailure: true
  code: ErrorCode
  message: string
  syscall?: string
  path?: string
  errno?: number
  cause?: string
  detail?: string
}

export const native: typeof Binding = load()

function load(): typeof Binding {
  try {
    return createRequire(import.meta.url)('./binding.cjs') as typeof Binding
  } catch (error) {
    throw new WarmswapError('ERR_UNSUPPORTED', describeMissing(), { cause: error })
  }
}

/** One clear message in place of the loader's chain of failed attempts. */
function describeMissing(): string {
  const libc = process.platform === 'linux' ? (usesGlibc() ? 'gnu' : 'musl') : ''
  const abi = process.platform === 'win32' ? 'msvc' : libc
  const triple = [process.platform, process.arch, abi].filter(Boolean).join('-')
  return (
    `warmswap has no native addon for this machine: the package 'warmswap-${triple}' could not be loaded ` +
    `(platform ${process.platform}, architecture ${process.arch}${libc && `, libc ${libc}`}, Node ${process.version}). ` +
    `Run 'npm install warmswap-${triple}', or delete node_modules and the lock file and install again: a lock file ` +
    `that was made on another platform leaves optional packages out (npm/cli#4828).`
  )
}

function usesGlibc(): boolean {
  const report = process.report?.getReport() as { header?: { glibcVersionRuntime?: string } } | undefined
  return report?.header?.glibcVersionRuntime !== undefined
}

function isFailure(value: unknown): value is Failure {
  return typeof value === 'object' && value !== null && 'warmswapFailure' in value
}

/** The value of a native call; its failure is thrown here, so that the stack is the caller's. */
export function unwrap<T>(reply: T | Failure): T {
  if (isFailure(reply)) throw toError(reply)
  return reply
}

/** An error with everything the addon knows of it. */
export function toError(failure: Failure): WarmswapError {
  const detail = failure.detail === undefined ? {} : JSON.parse(failure.detail)
  return new WarmswapError(failure.code, failure.message, {
    path: failure.path,
    syscall: failure.syscall,
    holder: detail.holder,
    cause: failure.cause === undefined ? undefined : systemError(failure),
  })
}

function systemError(failure: Failure): Error {
  const { syscall, path, errno } = failure
  return Object.assign(new Error(failure.cause), { syscall, path, errno })
}
