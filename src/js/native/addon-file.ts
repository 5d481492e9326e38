/** The file of the addon: where it is, and whether it is complete. */

import { createHash } from 'node:crypto'
import { closeSync, openSync, readFileSync, readSync, statSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { isMainThread } from 'node:worker_threads'

/**
 * Size and digest that the build recorded of an addon, in `warmswap.<platform>.json` next to it. A local build has no
 * such file.
 */
export interface Seal {
  version: string
  size: number
  sha256: string
}

/** Names the addon of the host in the environment of a worker process. */
export const HOST_ADDON = 'WARMSWAP_HOST_ADDON'

/** The environment that lets bundled code in a worker process find this process's addon. */
export function hostAddon(): Record<string, string> {
  const file = process.env.NAPI_RS_NATIVE_LIBRARY_PATH ?? findAddons()[0] ?? process.env[HOST_ADDON]
  return file === undefined ? {} : { [HOST_ADDON]: file }
}

/** The file differs from the one that was built. */
export class DamagedAddon extends Error {}

/** Platforms that have a package (package.json, napi.targets). */
const PLATFORMS = [
  'linux-x64-gnu',
  'linux-arm64-gnu',
  'linux-x64-musl',
  'linux-arm64-musl',
  'darwin-x64',
  'darwin-arm64',
  'win32-x64-msvc',
  'win32-arm64-msvc',
]

/**
 * Names of the packages that may be for this machine. On Linux both libc variants, because detecting the libc is slow.
 */
export function candidates(): string[] {
  return PLATFORMS.filter(
    (name) =>
      name.startsWith(`${process.platform}-${process.arch}`) &&
      ['', '-'].includes(name.charAt(`${process.platform}-${process.arch}`.length)),
  )
}

/**
 * Returns `require` for a file. Hidden from webpack, which would otherwise follow `createRequire` into the addon and
 * cannot parse it.
 */
export function requireFrom(file: string): NodeJS.Require {
  return process.getBuiltinModule('node:module').createRequire(file)
}

declare const __webpack_require__: unknown

/** The loader of the addon, next to this code; undefined where a bundler has moved this code. */
export function loaderFile(): string | undefined {
  // webpack replaces import.meta.url by the path that this file had during the build.
  if (typeof __webpack_require__ !== 'undefined') return undefined
  try {
    const file = join(dirname(fileURLToPath(import.meta.url)), 'binding.cjs')
    return statSync(file).isFile() ? file : undefined
  } catch {
    return undefined
  }
}

/** The folder of this package; undefined where this code was moved out of it. */
export function packageFolder(): string | undefined {
  try {
    const folder = dirname(dirname(loaderFile() ?? ''))
    const { name } = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8')) as { name?: unknown }
    return name === 'warmswap' ? folder : undefined
  } catch {
    return undefined
  }
}

/** The addons that the loader may choose from, in its order: next to this file, then in a platform package. */
export function findAddons(): string[] {
  const loader = loaderFile()
  if (loader === undefined) return []
  const require = requireFrom(loader)
  return candidates().flatMap((platform) =>
    [resolved(require, `./warmswap.${platform}.node`), resolved(require, `warmswap-${platform}`)].filter(
      (file) => file !== undefined,
    ),
  )
}

function resolved(require: NodeJS.Require, specifier: string): string | undefined {
  try {
    return require.resolve(specifier)
  } catch {
    return undefined
  }
}

/** What the build recorded of this addon. */
export function sealOf(file: string): Seal | undefined {
  try {
    const { version, size, sha256 } = JSON.parse(readFileSync(file.replace(/\.node$/, '.json'), 'utf8')) as Seal
    return typeof version === 'string' && typeof size === 'number' && typeof sha256 === 'string'
      ? { version, size, sha256 }
      : undefined
  } catch {
    return undefined
  }
}

/**
 * Checks the file.
 *
 * @throws {DamagedAddon} if the file is incomplete or changed.
 */
export function checkAddon(file: string): void {
  const { size } = statSync(file)
  const seal = sealOf(file)
  const expected = seal?.size ?? leastElfSize(file)
  if (expected !== undefined && (seal === undefined ? size < expected : size !== expected))
    throw new DamagedAddon(`'${file}' is damaged. Expected ${expected} bytes, got ${size}.`)
  // This takes 15 ms. The threads of a process share the mapped file, so only the first one checks it.
  if (seal === undefined || !isMainThread) return
  const sha256 = createHash('sha256').update(readFileSync(file)).digest('hex')
  if (sha256 !== seal.sha256)
    throw new DamagedAddon(`'${file}' is damaged. Expected the SHA-256 ${seal.sha256}, got ${sha256}.`)
}

/** Smallest possible size of a 64-bit ELF file, whose section table is at the end. Undefined for other formats. */
function leastElfSize(file: string): number | undefined {
  const head = Buffer.alloc(64)
  const descriptor = openSync(file, 'r')
  try {
    const read = readSync(descriptor, head, 0, head.length, 0)
    if (process.platform === 'linux' && read < head.length) return head.length
  } finally {
    closeSync(descriptor)
  }
  const isElf64 = head.readUInt32BE(0) === 0x7f454c46 && head[4] === 2 && head[5] === 1
  return isElf64 ? Number(head.readBigUInt64LE(40)) + head.readUInt16LE(58) * head.readUInt16LE(60) : undefined
}
