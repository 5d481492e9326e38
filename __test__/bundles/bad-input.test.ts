/** Refused input does not change the current generation, and leaves nothing behind. */

import { execFileSync } from 'node:child_process'
import { mkdirSync, readFileSync, readdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test as plain } from 'vitest'
import { type Stage, openBundles } from 'warmswap'
import { mountTmpfs } from '../support/mounts.js'
import { publish, expectUntouched } from '../support/stores.js'
import { test } from '../support/temp.js'
import { isRoot } from '../support/users.js'

const longName = 'x'.repeat(256)
const longPath = `${'d/'.repeat(2048)}x`

describe('bad input: a code, a message with the value and the way out, an unchanged current generation, no leftovers', () => {
  interface Bad {
    what: string
    act(stage: Stage, folder: string): Promise<unknown>
    code: string
    message: RegExp
  }
  const cases: Bad[] = [
    {
      what: 'a name of 256 bytes',
      act: (stage) => stage.write(longName, ''),
      code: 'ERR_INVALID_ARGUMENT',
      message: /xxxx.*Expected .*more than 255 bytes/,
    },
    {
      what: 'a path of 4096 bytes',
      act: (stage) => stage.write(longPath, ''),
      code: 'ERR_INVALID_ARGUMENT',
      message: /d\/d\/.*4096 bytes or more/,
    },
    {
      what: 'names that differ only by case',
      act: async (stage) => {
        await stage.write('Readme', '')
        await stage.write('README', '')
        await stage.publish()
      },
      code: 'ERR_INVALID_ARGUMENT',
      message: /'README' and 'Readme'|'Readme' and 'README'.*differ by more than case/,
    },
    {
      what: 'a write through a link',
      act: async (stage, folder) => {
        symlinkSync(folder, join(stage.path, 'out'))
        await stage.write('out/escaped', 'x')
      },
      code: 'ERR_INVALID_ARGUMENT',
      message: /'out\/escaped'.*parent directories are neither links nor files/,
    },
    {
      what: 'a pipe',
      act: async (stage) => {
        execFileSync('mkfifo', [join(stage.path, 'pipe')])
        await stage.publish()
      },
      code: 'ERR_INVALID_ARGUMENT',
      message: /'pipe', a device, socket or pipe\. Expected only files, directories and links/,
    },
    {
      what: 'a name that is no UTF-8',
      act: async (stage) => {
        writeFileSync(Buffer.concat([Buffer.from(`${stage.path}/`), Buffer.from([0xff, 0xfe])]), '')
        await stage.publish()
      },
      code: 'ERR_INVALID_ARGUMENT',
      message: /UTF-8/,
    },
    {
      what: 'a path of 4096 bytes that a tool made',
      act: async (stage) => {
        execFileSync('python3', [
          '-c',
          `import os, sys\nos.chdir(sys.argv[1])\nfor _ in range(20):\n  os.mkdir('d' * 250)\n  os.chdir('d' * 250)\nopen('x', 'w').close()`,
          stage.path,
        ])
        await stage.publish()
      },
      code: 'ERR_',
      message: /4096 bytes|too long.*shorten/,
    },
    {
      what: 'an empty stage',
      act: (stage) => stage.publish(),
      code: 'ERR_EMPTY_STAGE',
      message: /contains no files\. An empty generation cannot be published/,
    },
    {
      what: 'a stage of empty directories',
      act: async (stage) => {
        mkdirSync(join(stage.path, 'empty'))
        await stage.publish()
      },
      code: 'ERR_EMPTY_STAGE',
      message: /contains no files\. An empty generation cannot be published/,
    },
    {
      what: 'a required file that is missing',
      act: async (stage) => {
        await stage.write('a', '')
        await stage.publish({ require: ['a', 'main.mjs'] })
      },
      code: 'ERR_MISSING_ENTRY',
      message: /Missing entry 'main\.mjs', which options\.require lists\. The stage contains 'a'$/,
    },
    {
      what: 'a required file that is a directory',
      act: async (stage) => {
        await stage.write('main.mjs/a', '')
        await stage.publish({ require: ['main.mjs'] })
      },
      code: 'ERR_MISSING_ENTRY',
      message: /'main\.mjs'.*contains a directory with that name/,
    },
    {
      what: 'a required file in another folder, among many',
      act: async (stage) => {
        for (let n = 0; n < 30; n += 1) await stage.write(`assets/${n}.js`, '')
        await stage.write('server/main.mjs', '')
        await stage.publish({ require: ['main.mjs'] })
      },
      code: 'ERR_MISSING_ENTRY',
      message: /The stage contains 'server\/main\.mjs', 'assets\/0\.js', .* and 21 more$/,
    },
    {
      what: 'meta of more than a mebibyte',
      act: async (stage) => {
        await stage.write('a', '')
        await stage.publish({ meta: 'x'.repeat(2 ** 20) })
      },
      code: 'ERR_TOO_LARGE',
      message: /Expected at most 1048576/,
    },
    {
      what: 'a stage that somebody removed',
      act: async (stage) => {
        rmSync(stage.path, { recursive: true })
        await stage.publish()
      },
      code: 'ERR_STAGE_CLOSED',
      message: /was removed by another process/,
    },
  ]
  // limit: bundles/some-names-are-refused
  test.for(cases)('$what: $code', async ({ act, code, message }, { disk }) => {
    await using store = await openBundles(join(disk, 'store'))
    await publish(store, { a: '1' })
    await using stage = await store.stage()
    const failure = await act(stage, disk).then(
      () => undefined,
      (error: unknown) => error,
    )
    expect(failure).toMatchObject({ code: expect.stringContaining(code), message: expect.stringMatching(message) })
    expect(readdirSync(disk)).toEqual(['store'])
    await stage.discard()
    await expectUntouched(store, 1)
  })

  test('a foreign directory, a file and a future format at root', async ({ memory }) => {
    const foreign = join(memory, 'foreign')
    mkdirSync(foreign)
    writeFileSync(join(foreign, 'notes.txt'), 'mine')
    await expect(openBundles(foreign)).rejects.toMatchObject({
      code: 'ERR_INVALID_ARGUMENT',
      message: expect.stringMatching(
        /contains 'notes\.txt' but no FORMAT file\. Expected an empty or missing directory/,
      ),
    })
    expect(readdirSync(foreign)).toEqual(['notes.txt'])
    await expect(openBundles(join(foreign, 'notes.txt'))).rejects.toMatchObject({
      code: 'ERR_INVALID_ARGUMENT',
      message: expect.stringMatching(/notes\.txt'\. Expected a directory/),
    })

    await using store = await openBundles(join(memory, 'store'))
    await publish(store, { a: '1' })
    writeFileSync(join(store.root, 'FORMAT'), 'warmswap bundles 2\n')
    await expect(openBundles(store.root)).rejects.toMatchObject({
      code: 'ERR_FORMAT',
      message: expect.stringMatching(
        /'warmswap bundles 2'\. Expected 'warmswap bundles 1'\. Use the version of warmswap that created the store, or another root/,
      ),
    })
    writeFileSync(join(store.root, 'FORMAT'), 'warmswap bundles 1\n')
    await expectUntouched(store, 1)
  })

  plain.skipIf(!isRoot)(
    `a read-only root: no new store, no stage, and readers work${isRoot ? '' : ' (NOT RUN: needs root to mount)'}`,
    async () => {
      await using mounted = mountTmpfs('8m')
      const root = join(mounted.path, 'store')
      await using before = await openBundles(root)
      await publish(before, { a: '1' })
      await before.collect()
      execFileSync('mount', ['-o', 'remount,ro', mounted.path])
      const readOnly = {
        code: 'ERR_IO',
        message: expect.stringMatching(/Read-only file system.*Move root to a writable directory/),
      }
      await expect(openBundles(join(mounted.path, 'new'))).rejects.toMatchObject(readOnly)
      await using store = await openBundles(root)
      await expect(store.stage()).rejects.toMatchObject(readOnly)
      await expect(store.collect()).rejects.toMatchObject({ code: 'ERR_IO' })
      using pin = store.pin()
      expect(readFileSync(pin.resolve('a'), 'utf8')).toBe('1')
      execFileSync('mount', ['-o', 'remount,rw', mounted.path])
      await expectUntouched(store, 1)
    },
  )
})
