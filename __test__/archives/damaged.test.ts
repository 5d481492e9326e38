/** Input that is not a supported archive, or is damaged: each case is reported as what it is. */

// guarantee: archives/problems-are-named

import { existsSync, readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { brotliCompressSync, deflateRawSync, deflateSync, gzipSync } from 'node:zlib'
import { describe, expect } from 'vitest'
import { openCache, pack, unpack } from 'warmswap'
import { test } from '../support/temp.js'
import { makeTree, noise } from '../support/trees.js'

async function packed(memory: string, format: 'tar.zst' | 'tar.gz' | 'tar'): Promise<Buffer> {
  const tree = join(memory, 'tree')
  if (!existsSync(tree)) {
    makeTree(tree, 5)
    writeFileSync(join(tree, 'noise'), noise(300_000))
  }
  const chunks: Uint8Array[] = []
  for await (const chunk of pack(tree, { format })) chunks.push(chunk)
  return Buffer.concat(chunks)
}

async function* stream(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  yield bytes
}

const told = async (bytes: Uint8Array, memory: string): Promise<string> => {
  const { outcome, reason } = await unpack(stream(bytes), join(memory, 'out'), { mode: 'replace' })
  return `${outcome}: ${reason}`
}

/** A zstd skippable frame of so many bytes. */
function skippable(size: number, magic = 0x184d2a50): Buffer {
  const frame = Buffer.alloc(8 + size, 'x')
  frame.writeUInt32LE(magic, 0)
  frame.writeUInt32LE(size, 4)
  return frame
}

/** A frame whose header names the dictionary 1234. */
const withDictionary = Buffer.from([0x28, 0xb5, 0x2f, 0xfd, 0x02, 0x58, 0xd2, 0x04, 0x01, 0, 0])

describe('input that is not a supported archive is refused', () => {
  const hex = (text: string): Buffer => Buffer.from(text, 'hex')
  const formats: [string, Uint8Array, RegExp][] = [
    ['zip', Buffer.from('PK\x03\x04\x14\0'), /^refused: .*a zip archive/],
    ['an empty zip', Buffer.from('PK\x05\x06\0\0'), /^refused: .*a zip archive/],
    ['xz', hex('fd377a585a000004'), /^refused: .*got xz/],
    ['bzip2', Buffer.from('BZh91AY&SY'), /^refused: .*got bzip2/],
    ['lz4', hex('04224d186440a7'), /^refused: .*got lz4/],
    ['lz4 of before 2014', hex('02214c18ff'), /^refused: .*got lz4/],
    ['zlib', deflateSync(noise(1000)), /^refused: .*got zlib/],
    ['brotli', brotliCompressSync(noise(1000)), /^corrupt: .*has none \(brotli.*before you replace it/],
    ['raw deflate', deflateRawSync(noise(1000)), /^corrupt: .*has none .*before you replace it/],
    ['random bytes', noise(1000, 7), /^corrupt: .*before you replace it/],
    ['a zstd dictionary', hex('37a430ec00000001'), /^refused: .*a zstd dictionary/],
    ['data of a zstd dictionary', withDictionary, /^refused: .*dictionary \(id 1234\).*It is not damaged/],
    ['an HTML page', Buffer.from('\n<!DOCTYPE html>\n<h1>502'), /^refused: .*an HTML page/],
    ['a piece of HTML', Buffer.from('<h1>Not Found</h1>'), /^refused: .*an HTML page/],
    ['an error of S3', Buffer.from('<Error xmlns="a"><Code>NoSuchKey</Code></Error>'), /^refused: .*XML/],
    ['a JSON error', Buffer.from('{"error":"not found"}\n'), /^refused: .*JSON/],
    ['a text', Buffer.from('404 page not found'), /^refused: .*text, probably the response/],
    ['a text in UTF-16', Buffer.from('\ufeffNot found', 'utf16le'), /^refused: .*UTF-16/],
    ['a pointer of Git LFS', Buffer.from('version https://git-lfs.github.com/spec/v1\n'), /^refused: .*Git LFS/],
    ['nothing', Buffer.alloc(0), /^corrupt: the archive is empty/],
    ['zeros', Buffer.alloc(300), /^corrupt: the archive is cut off after 300 bytes/],
    ['gzip of nothing', gzipSync(''), /^corrupt: the gzip data is empty/],
    ['a frame without data', skippable(10), /^corrupt: the zstd data is empty/],
    ['gzip of a text', gzipSync('hello'), /^refused: .*within gzip, got text\. The gzip data is not damaged/],
    ['gzip of HTML', gzipSync('<html>'), /^refused: .*within gzip, got an HTML page\. The gzip data is not damaged/],
    ['gzip of a zip', gzipSync('PK\x03\x04\x14\0'), /^refused: .*got a zip archive\. The gzip data/],
    ['gzip of brotli', gzipSync(brotliCompressSync(noise(1000))), /^refused: .*got other bytes\. The gzip data/],
  ]
  test.for(formats)('%s', async ([, bytes, expected], { memory }) => {
    expect(await told(bytes, memory)).toMatch(expected)
    // The same holds for an object of a store, and nothing of it is left.
    writeFileSync(join(memory, 'one.tar.gz'), bytes)
    const cache = openCache({ scheme: 'file', path: memory })
    const { outcome, reason } = await cache.restore({ key: 'one.tar.gz', into: join(memory, 'into') })
    expect(`${outcome}: ${reason}`).toMatch(expected)
    expect(readdirSync(memory)).toEqual(['one.tar.gz'])
  })

  test('an archive that is compressed twice', async ({ memory }) => {
    const zst = await packed(memory, 'tar.zst')
    expect(await told(gzipSync(zst), memory)).toMatch(/^refused: .*got zstd within gzip.*compressed twice/)
    expect(await told(gzipSync(gzipSync(zst)), memory)).toMatch(/^refused: .*got gzip within gzip.*compressed twice/)
  })

  test('damaged compressed bytes are reported as damage, whatever they decode to', async ({ memory }) => {
    const bytes = gzipSync('hello, this is no archive')
    bytes[bytes.length - 6]! ^= 1
    expect(await told(bytes, memory)).toMatch(/^corrupt: /)
  })
})

describe('an archive that is cut off', () => {
  for (const format of ['tar.zst', 'tar.gz', 'tar'] as const)
    test(`${format}, at each sixteenth and near both ends`, async ({ memory }) => {
      const bytes = await packed(memory, format)
      const cuts = Array.from({ length: 16 }, (_, part) => Math.floor((bytes.length * part) / 16))
      // A tar archive ends in zeros, of which some may be missing.
      for (const near of format === 'tar' ? [] : [1, 2, 3, 7, 9, 17]) cuts.push(near, bytes.length - near)
      for (const cut of cuts) {
        const reason = await told(bytes.subarray(0, cut), memory)
        expect(reason, `${cut} of ${bytes.length}`).toMatch(/^corrupt: .*(cut off|is empty|no end marker)/)
      }
      expect(await told(bytes, memory)).toBe('restored: undefined')
    })
})

test('unusual frames and members are read', async ({ memory }) => {
  const tar = await packed(memory, 'tar')
  const half = (tar.length >> 1) & ~511
  const zst = await packed(memory, 'tar.zst')
  for (const [what, bytes] of [
    ['a skippable frame in front', Buffer.concat([skippable(100), zst])],
    ['a large skippable frame in front', Buffer.concat([skippable(100_000, 0x184d2a5f), zst])],
    ['skippable frames between', Buffer.concat([skippable(0), skippable(3), zst, skippable(9)])],
    ['two members', Buffer.concat([gzipSync(tar.subarray(0, half)), gzipSync(tar.subarray(half))])],
    ['an empty member in front', Buffer.concat([gzipSync(''), gzipSync(tar)])],
    ['zeros behind', Buffer.concat([gzipSync(tar), Buffer.alloc(700)])],
  ] as const)
    expect(await told(bytes, memory), what).toBe('restored: undefined')
  for (const [what, bytes, expected] of [
    ['other bytes behind gzip', Buffer.concat([gzipSync(tar), Buffer.from('junk')]), /after the end of the gzip data/],
    ['gzip behind zstd', Buffer.concat([zst, gzipSync(tar)]), /after the end of the zstd data/],
    ['data of a dictionary behind', Buffer.concat([zst, withDictionary]), /dictionary \(id 1234\)/],
  ] as const)
    expect(await told(bytes, memory), what).toMatch(expected)
})
