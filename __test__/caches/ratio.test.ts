/** caches/saved-is-restorable: a restore accepts what a snapshot accepted. If its defaults do not, the snapshot names the option that does. */

import { createHash } from 'node:crypto'
import { createReadStream, mkdirSync, readFileSync, readdirSync, statSync, truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { openCache, pack, unpack } from 'warmswap'
import { describe, expect } from 'vitest'
import { test } from '../support/temp.js'
import { noise } from '../support/trees.js'

const MEBIBYTE = 1 << 20

/** A tree with a file of zeros, as databases that allocate in advance have. */
function zeros(folder: string, mebibytes: number): string {
  const tree = join(folder, `zeros-${mebibytes}`)
  mkdirSync(tree, { recursive: true })
  writeFileSync(join(tree, 'data.mdb'), '')
  truncateSync(join(tree, 'data.mdb'), mebibytes * MEBIBYTE)
  return tree
}

async function archive(tree: string): Promise<Buffer> {
  const chunks: Uint8Array[] = []
  for await (const chunk of pack(tree)) chunks.push(chunk)
  return Buffer.concat(chunks)
}

async function* once(bytes: Buffer): AsyncGenerator<Buffer> {
  for (let at = 0; at < bytes.length; at += 1000) yield bytes.subarray(at, at + 1000)
}

describe('caches/saved-is-restorable: the ratio', () => {
  test('a pointer proves its declared sizes: zeros, and text that repeats', async ({ memory }) => {
    const cache = openCache(`file://${memory}/store`)
    const tree = zeros(memory, 128)
    writeFileSync(join(tree, 'text.json'), '{"a":1,"b":"same"}\n'.repeat((96 * MEBIBYTE) / 19))
    const snapshot = await cache.snapshot({ key: 'site', from: tree })
    expect(snapshot).toMatchObject({ outcome: 'uploaded', files: 2 })
    expect(snapshot).not.toHaveProperty('reason')
    expect(await cache.restore({ key: 'site', into: join(memory, 'into') })).toMatchObject({
      outcome: 'restored',
      bytes: snapshot.bytes,
    })
    expect(statSync(join(memory, 'into/data.mdb')).size).toBe(128 * MEBIBYTE)
    // A ratio that the caller gives is one.
    const strict = await cache.restore({ key: 'site', into: join(memory, 'strict'), limits: { maxRatio: 1000 } })
    expect(strict).toMatchObject({ outcome: 'refused', reason: expect.stringContaining('limits.maxRatio') })
    expect(readdirSync(memory)).not.toContain('strict')
  })

  test('a key that is one object: the snapshot names the option, and it is enough', async ({ memory }) => {
    const cache = openCache(`file://${memory}/store`)
    const snapshot = await cache.snapshot({ key: 'site.tar.zst', from: zeros(memory, 128) })
    expect(snapshot).toMatchObject({
      outcome: 'uploaded',
      reason: expect.stringMatching(/a restore refuses .* limits\.maxRatio of \d+/),
    })
    const maxRatio = Number(/limits\.maxRatio of (\d+)/.exec(snapshot.reason!)![1])
    const restore = (limits?: { maxRatio: number }) =>
      cache.restore({ key: 'site.tar.zst', into: join(memory, 'into'), ...(limits === undefined ? {} : { limits }) })
    expect(await restore()).toMatchObject({ outcome: 'refused', reason: expect.stringContaining('limits.maxRatio') })
    expect(await restore({ maxRatio: maxRatio - 1 })).toMatchObject({ outcome: 'refused' })
    expect(await restore({ maxRatio })).toMatchObject({ outcome: 'restored' })
    // The same zeros next to enough that does not compress: the whole is what counts.
    writeFileSync(join(memory, 'zeros-128', 'zz-noise'), noise(MEBIBYTE))
    expect(await cache.snapshot({ key: 'whole.tar.zst', from: join(memory, 'zeros-128') })).not.toHaveProperty('reason')
    expect(await cache.restore({ key: 'whole.tar.zst', into: join(memory, 'whole') })).toMatchObject({
      outcome: 'restored',
    })
  })

  test("pack's own archive of zeros: refused with the option's name, unpacked with it", async ({ memory }) => {
    const bytes = await archive(zeros(memory, 128))
    const into = join(memory, 'into')
    const refused = await unpack(once(bytes), into)
    expect(refused).toMatchObject({ outcome: 'refused', reason: expect.stringContaining('limits.maxRatio') })
    expect(readdirSync(memory).filter((name) => name !== 'zeros-128')).toEqual([])
    expect(await unpack(once(bytes), into, { limits: { maxRatio: 33_000 } })).toMatchObject({ outcome: 'restored' })
    // A file's own size is known before it is read.
    const tree = zeros(memory, 96)
    writeFileSync(join(tree, 'zz-noise'), noise(MEBIBYTE))
    writeFileSync(join(memory, 'archive'), await archive(tree))
    expect(await unpack(join(memory, 'archive'), join(memory, 'file'))).toMatchObject({ outcome: 'restored' })
    expect(await unpack(createReadStream(join(memory, 'archive')), join(memory, 'stream'))).toMatchObject({
      outcome: 'refused',
    })
  })

  test('a forged pointer limits what it points to', async ({ memory }) => {
    const store = join(memory, 'store')
    const cache = openCache(`file://${store}`)
    expect(await cache.snapshot({ key: 'site', from: zeros(memory, 128) })).toMatchObject({ outcome: 'uploaded' })
    const file = join(store, 'site/current.json')
    const pointer = JSON.parse(readFileSync(file, 'utf8')) as Record<string, unknown>
    const restore = async (forged: object): Promise<unknown> => {
      writeFileSync(file, JSON.stringify({ ...pointer, ...forged }))
      return cache.restore({ key: 'site', into: join(memory, 'into') })
    }
    // Fewer bytes than the blob has; and more than is accepted, which is refused before the blob is read.
    expect(await restore({ bytes: 1000 })).toMatchObject({ outcome: 'corrupt', stage: 'decode' })
    expect(await restore({ files: 0 })).toMatchObject({ outcome: 'corrupt' })
    const missing = createHash('sha256').digest('hex')
    for (const forged of [{ bytes: 2 ** 40 }, { files: 6_000_000 }]) {
      expect(await restore({ ...forged, sha256: missing, blob: `${missing}.tar.zst` })).toMatchObject({
        outcome: 'refused',
        reason: expect.stringMatching(/limits\.max(Bytes|Files)/),
      })
    }
    // Next to the manifest of the tree that was packed.
    expect(
      readdirSync(memory)
        .filter((name) => !name.startsWith('.warmswap-stamp'))
        .sort(),
    ).toEqual(['store', 'zeros-128'])
  })
})
