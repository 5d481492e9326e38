/** Objects of a store in a folder that somebody changed. */

import { readFileSync, statSync, writeFileSync } from 'node:fs'

export const rewrite = (path: string, change: (bytes: Buffer) => Buffer): void =>
  writeFileSync(path, change(readFileSync(path)))

/** Changes a blob in place, and updates the version in its pointer, so that only the bytes reveal the change. */
export function damage(blob: string, pointer: string, change: (bytes: Buffer) => Buffer): void {
  rewrite(blob, change)
  const { ino, size, mtimeNs } = statSync(blob, { bigint: true })
  const etag = `"${ino.toString(16)}-${mtimeNs.toString(16)}-${size.toString(16)}"`
  rewrite(pointer, (bytes) => Buffer.from(JSON.stringify({ ...JSON.parse(bytes.toString()), etag })))
}

/** In the seek table at the end of an archive, which every decoder skips: of all checks only the sha256 covers this byte. */
export function flipSeekTable(bytes: Buffer): Buffer {
  bytes[bytes.length - 5]! ^= 1
  return bytes
}
