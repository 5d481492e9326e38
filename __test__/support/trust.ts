/** Key pairs of trust levels. */

import { generateKeyPairSync } from 'node:crypto'

export interface KeyPair {
  privateKey: string
  publicKey: string
  publicPem: string
}

export function keyPair(): KeyPair {
  const { privateKey, publicKey } = generateKeyPairSync('ed25519')
  return {
    privateKey: privateKey.export({ type: 'pkcs8', format: 'pem' }) as string,
    publicKey: `ed25519:${publicKey.export({ type: 'spki', format: 'der' }).subarray(-32).toString('base64')}`,
    publicPem: publicKey.export({ type: 'spki', format: 'pem' }) as string,
  }
}
