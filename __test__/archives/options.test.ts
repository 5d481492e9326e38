/** Options of unpack() for unusual archives: repeated names, a declared size, pipes and devices. */

import {
  existsSync,
  lstatSync,
  mkdirSync,
  readFileSync,
  readdirSync,
  readlinkSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { Header, type HeaderData } from 'tar'
import { describe, expect } from 'vitest'
import { openCache, unpack } from 'warmswap'
import { test } from '../support/temp.js'

/** An entry of a tar archive, in whole blocks. */
function entry(path: string, content = '', more: HeaderData = {}): Buffer {
  const data = Buffer.from(content)
  const header = new Header({ path, size: data.length, type: 'File', mode: 0o644, mtime: new Date(0), ...more })
  header.encode()
  return Buffer.concat([header.block!, data, Buffer.alloc(-data.length & 511)])
}

const END = Buffer.alloc(1024)
const archive = (...parts: Buffer[]): Buffer => Buffer.concat([...parts, END])

async function* stream(bytes: Buffer): AsyncGenerator<Uint8Array> {
  yield bytes
}

describe('duplicates', () => {
  const twice = archive(entry('a', 'early'), entry('b', 'once'), entry('a', 'late', { mode: 0o755 }))

  test('the last entry of a path counts, by default and with replace', async ({ memory }) => {
    for (const options of [{}, { duplicates: 'replace' } as const]) {
      const into = join(memory, `out${Object.keys(options).length}`)
      expect(await unpack(stream(twice), into, options)).toMatchObject({ outcome: 'restored', files: 2, bytes: 8 })
      expect(readFileSync(join(into, 'a'), 'utf8')).toBe('late')
      expect(lstatSync(join(into, 'a')).mode & 0o777).toBe(0o755)
    }
  })

  test("a file replaces a link of its name, and the link's target is kept", async ({ memory }) => {
    const link = entry('a', '', { type: 'SymbolicLink', linkpath: 'b' })
    const into = join(memory, 'out')
    expect(await unpack(stream(archive(entry('b', 'kept'), link, entry('a', 'late'))), into)).toMatchObject({
      outcome: 'restored',
    })
    expect([readFileSync(join(into, 'a'), 'utf8'), readFileSync(join(into, 'b'), 'utf8')]).toEqual(['late', 'kept'])
    const reverse = archive(entry('b', 'kept'), entry('a', 'early'), link)
    expect(await unpack(stream(reverse), into, { mode: 'replace' })).toMatchObject({ outcome: 'restored' })
    expect(readlinkSync(join(into, 'a'))).toBe('b')
  })

  test('a file that the archive repeats as a hard link to itself is kept (tar -c a a)', async ({ memory }) => {
    const again = archive(entry('a', 'one'), entry('a', '', { type: 'Link', linkpath: 'a' }))
    expect(await unpack(stream(again), join(memory, 'out'))).toMatchObject({ outcome: 'restored', files: 1 })
    expect(readFileSync(join(memory, 'out/a'), 'utf8')).toBe('one')
    expect(await unpack(stream(again), join(memory, 'no'), { duplicates: 'reject' })).toMatchObject({
      outcome: 'refused',
    })
  })

  test("'reject' refuses the archive and names the path", async ({ memory }) => {
    const told = await unpack(stream(twice), join(memory, 'out'), { duplicates: 'reject' })
    expect(told).toMatchObject({ ok: false, outcome: 'refused', reason: expect.stringContaining("'a'") })
    expect(readdirSync(memory)).toEqual([])
    const once = archive(entry('a', 'early'), entry('b', 'once'))
    expect(await unpack(stream(once), join(memory, 'out'), { duplicates: 'reject' })).toMatchObject({ ok: true })
  })

  test('a restore accepts the option too', async ({ memory }) => {
    writeFileSync(join(memory, 'twice.tar'), twice)
    const cache = openCache({ scheme: 'file', path: memory })
    expect(await cache.restore({ key: 'twice.tar', into: join(memory, 'out'), duplicates: 'reject' })).toMatchObject({
      outcome: 'refused',
      reason: expect.stringContaining("'a'"),
    })
    expect(await cache.restore({ key: 'twice.tar', into: join(memory, 'out') })).toMatchObject({ outcome: 'restored' })
  })
})

describe('contentLength', () => {
  const open = Buffer.concat([entry('a', 'one'), entry('b', 'two')])

  test('an archive without its end marker is accepted if it has the declared size', async ({ memory }) => {
    const into = join(memory, 'out')
    expect(await unpack(stream(open), into)).toMatchObject({
      outcome: 'corrupt',
      reason: expect.stringContaining('contentLength'),
    })
    expect(await unpack(stream(open), into, { contentLength: open.length })).toMatchObject({ files: 2, ok: true })
    // The size of a file is that of what was written so far.
    writeFileSync(join(memory, 'open.tar'), open)
    expect(await unpack(join(memory, 'open.tar'), into, { mode: 'replace' })).toMatchObject({ outcome: 'corrupt' })
    expect(await unpack(join(memory, 'open.tar'), into, { mode: 'replace', contentLength: open.length })).toMatchObject(
      { ok: true },
    )
  })

  test('another size is corrupt, whatever the archive contains', async ({ memory }) => {
    const whole = archive(entry('a', 'one'))
    for (const contentLength of [0, whole.length - 1, whole.length + 1, whole.length * 2]) {
      const told = await unpack(stream(whole), join(memory, 'out'), { contentLength })
      expect(told, `${contentLength}`).toMatchObject({ ok: false, outcome: 'corrupt' })
      expect(told.reason, `${contentLength}`).toContain(String(contentLength))
    }
    expect(readdirSync(memory)).toEqual([])
  })

  test('any value but an integer is refused', async ({ memory }) => {
    for (const contentLength of [-1, 0.5, Number.NaN, Number.POSITIVE_INFINITY, '10', null, 2 ** 53])
      await expect(
        unpack(stream(open), join(memory, 'out'), { contentLength: contentLength as number }),
        String(contentLength),
      ).rejects.toMatchObject({ code: 'ERR_INVALID_ARGUMENT', message: expect.stringContaining('contentLength') })
    for (const duplicates of ['ignore', '', true])
      await expect(
        unpack(stream(open), join(memory, 'out'), { duplicates: duplicates as 'reject' }),
        String(duplicates),
      ).rejects.toMatchObject({ code: 'ERR_INVALID_ARGUMENT', message: expect.stringContaining('duplicates') })
  })
})

describe('skipped', () => {
  const special = [
    entry('run/pipe', '', { type: 'FIFO' }),
    entry('dev/null', '', { type: 'CharacterDevice', devmaj: 1, devmin: 3 }),
    entry('dev/sda', '', { type: 'BlockDevice', devmaj: 8, devmin: 0 }),
  ]

  test('pipes and devices are not created, and the result names each with its kind', async ({ memory }) => {
    const into = join(memory, 'out')
    const told = await unpack(stream(archive(entry('a', 'one'), ...special)), into, { duplicates: 'reject' })
    expect(told).toMatchObject({ outcome: 'restored', files: 1 })
    expect(told.skipped).toEqual([
      { path: 'dev/null', why: expect.stringMatching(/device/) },
      { path: 'dev/sda', why: expect.stringMatching(/device/) },
      { path: 'run/pipe', why: 'pipe' },
    ])
    for (const path of ['run/pipe', 'dev/null', 'dev/sda']) expect(existsSync(join(into, path)), path).toBe(false)
    expect(await unpack(stream(archive(entry('a', 'one'))), into, { mode: 'replace' })).not.toHaveProperty('skipped')
  })

  test('a hard link to a pipe is skipped too, and no file is created for it', async ({ memory }) => {
    const link = (path: string): Buffer => entry(path, '', { type: 'Link', linkpath: 'run/pipe' })
    const told = await unpack(stream(archive(entry('a', 'one'), ...special, link('again'))), join(memory, 'out'))
    expect(told.skipped).toContainEqual({ path: 'again', why: 'pipe' })
    expect(readdirSync(join(memory, 'out'))).toEqual(['a'])
    expect(await unpack(stream(archive(entry('a', 'one'), ...special, link('a'))), join(memory, 'no'))).toMatchObject({
      outcome: 'refused',
    })
  })

  test('a later entry of the path is created, and the pipe is no longer named', async ({ memory }) => {
    const later = archive(...special, entry('run/pipe', 'a file now'))
    const told = await unpack(stream(later), join(memory, 'out'))
    expect(told.skipped?.map(({ path }) => path)).toEqual(['dev/null', 'dev/sda'])
    expect(readFileSync(join(memory, 'out/run/pipe'), 'utf8')).toBe('a file now')
  })

  test('a pipe does not replace a file, and nothing in the target is removed for it', async ({ memory }) => {
    const into = join(memory, 'out')
    mkdirSync(join(into, 'run'), { recursive: true })
    writeFileSync(join(into, 'run/pipe'), 'mine')
    symlinkSync('pipe', join(into, 'run/link'))
    expect(await unpack(stream(archive(entry('a', 'one'), ...special)), into, { mode: 'merge' })).toMatchObject({
      outcome: 'restored',
      skippedFiles: 0,
    })
    expect(readFileSync(join(into, 'run/pipe'), 'utf8')).toBe('mine')
  })

  test('a restore of a key that is one object names them too', async ({ memory }) => {
    writeFileSync(join(memory, 'special.tar'), archive(entry('a', 'one'), ...special))
    const cache = openCache({ scheme: 'file', path: memory })
    const told = await cache.restore({ key: 'special.tar', into: join(memory, 'out') })
    expect(told.skipped).toHaveLength(3)
  })
})
