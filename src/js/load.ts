/** Loading the addon: one clear message in place of the loader's chain of failed attempts. */

import { createRequire } from 'node:module'
import type * as Binding from './binding.cjs'
import { WarmswapError } from './errors.js'

/** The addon; throws ERR_UNSUPPORTED with the name of the package that is missing. */
export function loadBinding(): typeof Binding {
  try {
    return createRequire(import.meta.url)('./binding.cjs') as typeof Binding
  } catch (error) {
    throw new WarmswapError('ERR_UNSUPPORTED', describeMissing(), { cause: error })
  }
}

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
