// @module-tag storm
/**
 * archives/memory-is-bounded: memory is bounded, whatever a cache contains. Measured in separate processes: the highest resident set during a
 * call (VmHWM) minus that before the first one. The limit is the invariant's; the longer forms run with
 * WARMSWAP_LONG=1.
 */

import { createWriteStream, mkdirSync, openSync, closeSync, writeFileSync, writeSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { createGzip } from 'node:zlib'
import { describe, expect } from 'vitest'
import { start } from '../support/children.js'
import { repository } from '../support/paths.js'
import { startS3s } from '../support/s3.js'
import { test } from '../support/temp.js'
import { noise } from '../support/trees.js'

const program = join(repository, '__test__/programs/caches-memory.mjs')
const MIB = 2 ** 20
const LIMIT = 128 * MIB
const isLong = process.env.WARMSWAP_LONG === '1'

interface Measured {
  outcome: string
  reason?: string
  files?: number
  /** Bytes over idle. */
  peak: number
}

async function measure(...args: string[]): Promise<Record<string, Measured>> {
  const child = start(process.execPath, ['--expose-gc', program, ...args])
  const line = await child.line(/^\{/)
  await child.ended
  const measured = JSON.parse(line) as Record<string, Measured>
  for (const [call, { outcome, files, peak }] of Object.entries(measured))
    console.log(`${call}: ${outcome}, ${files ?? '–'} files, ${(peak / MIB).toFixed(0)} MiB over idle`)
  return measured
}

/** A file of bytes that do not compress. */
function noiseFile(path: string, bytes: number, block: Buffer): void {
  mkdirSync(dirname(path), { recursive: true })
  const file = openSync(path, 'w')
  for (let written = 0; written < bytes; written += block.length) {
    block.writeUInt32LE(written / block.length, 0)
    writeSync(file, block, 0, Math.min(block.length, bytes - written))
  }
  closeSync(file)
}

function emptyFiles(root: string, count: number): void {
  const each = 1000
  mkdirSync(root, { recursive: true })
  // A tree without a byte is no generation (caches/empty-and-shrunk-are-refused).
  writeFileSync(join(root, 'one'), 'x')
  for (let directory = 0; directory * each < count; directory += 1) {
    const path = join(root, `directory-${directory}`)
    mkdirSync(path, { recursive: true })
    for (let index = 0; index < each && directory * each + index < count; index += 1)
      closeSync(openSync(join(path, `file-${index}.js`), 'w'))
  }
}

const OUTCOMES = {
  snapshot: 'uploaded',
  restore: 'restored',
  restoreUnchanged: 'unchanged',
  snapshotUnchanged: 'unchanged',
}

/** All four calls on a tree; none may take more than the limit. */
async function expectBounded(folder: string, limit = LIMIT, store = `file://${join(folder, 'store')}`): Promise<void> {
  const measured = await measure('tree', store, join(folder, 'live/from'), join(folder, 'restored/into'))
  for (const [call, outcome] of Object.entries(OUTCOMES)) {
    expect(measured[call], call).toMatchObject({ outcome })
    expect(measured[call]!.peak, `${call}: bytes over idle`).toBeLessThan(limit)
  }
}

describe('archives/memory-is-bounded: peak memory over idle', () => {
  test('one file of 512 MiB, and a client that buffers the whole body is detected', { timeout: 300_000 }, async ({
    disk,
  }) => {
    noiseFile(join(disk, 'live/from/one'), 512 * MIB, noise(16 * MIB))
    mkdirSync(join(disk, 'restored'))
    await expectBounded(disk)
    const { restore } = await measure(
      'tree',
      `file://${join(disk, 'store')}`,
      join(disk, 'live/from'),
      join(disk, 'restored/again'),
      'hoard',
    )
    expect(restore!.peak, 'the control').toBeGreaterThan(500 * MIB)
  })

  test('one file of 256 MiB in S3', { timeout: 300_000 }, async ({ disk }) => {
    noiseFile(join(disk, 'live/from/one'), 256 * MIB, noise(16 * MIB))
    mkdirSync(join(disk, 'restored'))
    const server = await startS3s()
    try {
      await expectBounded(disk, LIMIT, JSON.stringify(server.store('memory')))
    } finally {
      await server.stop()
    }
  })

  test('100 000 empty files take a tenth of what a million may', { timeout: 300_000 }, async ({ memory }) => {
    emptyFiles(join(memory, 'live/from'), 100_000)
    mkdirSync(join(memory, 'restored'))
    // What is there without any file: buffers, and threads with their stacks.
    const fixed = 32 * MIB
    await expectBounded(memory, fixed + (LIMIT - fixed) / 10)
  })

  test('a pax header of 256 MiB', { timeout: 120_000 }, async ({ memory }) => {
    const archive = join(memory, 'pax.tgz')
    const header = Buffer.alloc(512)
    header.write('PaxHeader')
    header.write('0000644\0', 100)
    header.write(`${(256 * MIB).toString(8).padStart(11, '0')}\0`, 124)
    header.write('00000000000\0        x', 136)
    header.write('ustar\x0000', 257)
    header.write(
      `${header
        .reduce((sum, byte) => sum + byte, 0)
        .toString(8)
        .padStart(6, '0')}\0 `,
      148,
    )
    const body = function* (): Generator<Buffer> {
      yield header
      for (let mib = 0; mib < 256; mib += 1) yield Buffer.alloc(MIB, 'x')
    }
    await pipeline(Readable.from(body()), createGzip(), createWriteStream(archive))
    const measured = await measure('unpack', archive, join(memory, 'into'))
    expect(measured['pax.tgz']).toMatchObject({ outcome: 'refused' })
    expect(measured['pax.tgz']!.peak).toBeLessThan(LIMIT)
  })

  test('a frame whose window is 2 GiB (windowLog 31)', async ({ memory }) => {
    const archive = join(memory, 'window.tar.zst')
    // Magic, no flags, window descriptor of 2^31, one block that repeats a byte.
    writeFileSync(
      archive,
      Buffer.concat([Buffer.from([0x28, 0xb5, 0x2f, 0xfd, 0, (31 - 10) << 3, 0x03, 0x00, 0x10, 0]), Buffer.alloc(512)]),
    )
    const measured = await measure('unpack', archive, join(memory, 'into'))
    expect(['refused', 'corrupt']).toContain(measured['window.tar.zst']!.outcome)
    expect(measured['window.tar.zst']!.peak).toBeLessThan(LIMIT)
  })

  describe.runIf(isLong)('longer forms (WARMSWAP_LONG=1)', () => {
    test('a tree of 4 GiB', { timeout: 1_800_000 }, async ({ disk }) => {
      const block = noise(16 * MIB)
      for (let index = 0; index < 256; index += 1)
        noiseFile(join(disk, 'live/from', `${index % 16}/${index}`), 16 * MIB, block)
      mkdirSync(join(disk, 'restored'))
      await expectBounded(disk)
    })

    test('one file of 1 GiB', { timeout: 1_800_000 }, async ({ disk }) => {
      noiseFile(join(disk, 'live/from/one'), 1024 * MIB, noise(16 * MIB))
      mkdirSync(join(disk, 'restored'))
      await expectBounded(disk)
    })

    test('1 000 000 empty files', { timeout: 1_800_000 }, async ({ memory }) => {
      emptyFiles(join(memory, 'live/from'), 1_000_000)
      mkdirSync(join(memory, 'restored'))
      await expectBounded(memory)
    })
  })
})
