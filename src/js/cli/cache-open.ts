/** Opens the cache of a command of `warmswap cache`, with the options that all commands have. */

import { readFileSync } from 'node:fs'
import { type Cache, type CacheOptions, cacheTrustFromEnv, openCache, type TrustOptions } from '../caches/index.js'
import { wrongArguments } from './arguments.js'
import { present } from './cache-call.js'

/** Options of a command that say what it trusts, and how it writes. */
export interface OpenValues {
  'read-only'?: true
  conditions?: string
  'trust-level'?: string
  'sign-with'?: string
  'trusted-key'?: string[]
  'reads-from'?: string[]
}

export function openStore(store: string, values: OpenValues): Cache {
  const options: CacheOptions = {
    readOnly: values['read-only'] ?? false,
    ...present({
      hmacKey: process.env.WARMSWAP_HMAC_KEY,
      conditions: values.conditions as 'auto' | undefined,
      trust: trustOf(values).trust,
    }),
  }
  return openCache(store, options)
}

/** Trust levels by the options. An option replaces its environment variable. */
export function trustOf(values: OpenValues): { trust: TrustOptions | undefined; reason: string } {
  const list = (words: string[] | undefined): string | undefined => words?.join(',')
  const given = present({
    WARMSWAP_TRUST_LEVEL: values['trust-level'],
    WARMSWAP_TRUST_SIGN_WITH: values['sign-with'] === undefined ? undefined : readKey(values['sign-with']),
    WARMSWAP_TRUST_KEYS: list(values['trusted-key']),
    WARMSWAP_TRUST_READS_FROM: list(values['reads-from']),
  })
  return cacheTrustFromEnv({ ...process.env, ...given }, 'WARMSWAP')
}

function readKey(path: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch (error) {
    throw wrongArguments(`--sign-with '${path}' cannot be read: ${(error as NodeJS.ErrnoException).code}`)
  }
}
