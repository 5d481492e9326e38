/** Trust levels of a cache: the options, and their check. No error message contains a private key. */

import type { NativeTrust } from '../native/binding.cjs'
import { invalidArgument, WarmswapError } from '../native/errors.js'
import * as validate from '../native/validate.js'

/**
 * Trust levels: a cache restores only what its own level and the levels in `readsFrom` have signed, and writes to its own
 * level only. The credentials of the store are the boundary: each level has a prefix of its own, and a policy must allow
 * its writers no other one.
 */
export interface TrustOptions {
  /** Level of this process: 1 to 40 characters of a-z, 0-9 and '-', such as 'main' or 'pr-12'. Without a level, the cache is read-only. */
  level?: string | undefined
  /**
   * Private key of the level: an Ed25519 key in PKCS#8, as PEM text. `warmswap cache trust keygen` makes one. Without it,
   * the cache is read-only.
   */
  signWith?: string | undefined
  /**
   * Public keys of each level: 'ed25519:…' or PEM text. An array accepts each of several keys, while keys are exchanged.
   * The public key of `signWith` is trusted for `level` without being named.
   */
  trustedKeys?: Record<string, string | readonly string[]> | undefined
  /**
   * Levels to read, in this order. The own level is read first unless it is named here. Each key is looked up in all
   * levels before the next of `fallbackKeys`. @default all levels of trustedKeys
   */
  readsFrom?: readonly string[] | undefined
}

/** Start of a public key in its short form. */
const SHORT = 'ed25519:'
/** What an Ed25519 public key begins with as SubjectPublicKeyInfo in DER. */
const SPKI = Buffer.from('302a300506032b6570032100', 'hex')

export function checkTrust(value: TrustOptions): NativeTrust {
  const { level, signWith, trustedKeys, readsFrom } = validate.options('options.trust', value, [
    'level',
    'signWith',
    'trustedKeys',
    'readsFrom',
  ])
  return {
    ...(level === undefined ? {} : { level: validate.string('options.trust.level', level) }),
    ...(signWith === undefined ? {} : { signWith: privateKey(signWith) }),
    trustedKeys: keysOfLevels(trustedKeys ?? {}),
    ...(readsFrom === undefined ? {} : { readsFrom: validate.strings('options.trust.readsFrom', readsFrom) }),
  }
}

function keysOfLevels(value: unknown): NativeTrust['trustedKeys'] {
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw invalidArgument('options.trust.trustedKeys', value, "an object such as { main: 'ed25519:…' }")
  return Object.entries(value).map(([level, given]) => {
    const name = `options.trust.trustedKeys.${level}`
    const keys = Array.isArray(given) ? given : [given]
    return { level, keys: keys.map((key) => publicKey(name, key)) }
  })
}

/** The DER bytes of a private key. The addon checks them. */
function privateKey(value: unknown): Uint8Array {
  const der = typeof value === 'string' ? pem(value, 'PRIVATE KEY') : undefined
  if (der === undefined)
    throw new WarmswapError(
      'ERR_INVALID_ARGUMENT',
      "Invalid options.trust.signWith. Expected the text of an unencrypted Ed25519 private key in PEM ('-----BEGIN PRIVATE KEY-----'), or undefined for a read-only cache",
    )
  return der
}

function publicKey(name: string, value: unknown): Uint8Array {
  // A private key in its place must not be printed.
  if (typeof value === 'string' && !value.includes('PRIVATE KEY')) {
    const text = value.trim()
    if (text.startsWith(SHORT)) {
      const bytes = base64(text.slice(SHORT.length))
      if (bytes?.length === 32) return bytes
    }
    const der = pem(text, 'PUBLIC KEY')
    if (der?.length === SPKI.length + 32 && SPKI.equals(der.subarray(0, SPKI.length))) return der.subarray(SPKI.length)
  }
  throw new WarmswapError(
    'ERR_INVALID_ARGUMENT',
    `Invalid ${name}. Expected an Ed25519 public key: 'ed25519:' and 44 characters of Base64, or PEM text`,
  )
}

/** The bytes between the lines of PEM. Line feeds can be lost or escaped on the way through an environment variable. */
function pem(text: string, label: string): Buffer | undefined {
  const lines = text.replaceAll('\\n', '\n').trim()
  const body = new RegExp(`^-----BEGIN ${label}-----(.*)-----END ${label}-----$`, 's').exec(lines)?.[1]
  return body === undefined ? undefined : base64(body.replace(/\s+/g, ''))
}

function base64(text: string): Buffer | undefined {
  return /^[A-Za-z0-9+/]+={0,2}$/.test(text) ? Buffer.from(text, 'base64') : undefined
}

/** The short form of a public key. */
export function publicKeyText(bytes: Uint8Array): string {
  return SHORT + Buffer.from(bytes).toString('base64')
}
