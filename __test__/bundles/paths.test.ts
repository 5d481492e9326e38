/** No path of a caller leads out of a stage or a store (bundles/paths-stay-inside). */

import { lstatSync, mkdirSync, readFileSync, readdirSync, readlinkSync, symlinkSync, writeFileSync } from 'node:fs'
import { isAbsolute, join } from 'node:path'
import { describe, expect } from 'vitest'
import { openBundles } from 'warmswap'
import { publish, expectUntouched } from '../support/stores.js'
import { test } from '../support/temp.js'

const longName = 'x'.repeat(256)
const longPath = `${'d/'.repeat(2048)}x`

describe('bundles/paths-stay-inside: no path leaves the stage', () => {
  // The table of Kubernetes' TestValidatePath (pkg/volume/util/atomic_writer_test.go), then what it leaves out. Names that
  // begin with '..' are its own: here they are names like others.
  const table: [path: string, why: string | null][] = [
    ['i/am/well/behaved.txt', null],
    ['keepyourheaddownandfollowtherules.txt', null],
    ['a'.repeat(4097), '4096 bytes or more'],
    ['a'.repeat(256), 'more than 255 bytes'],
    ['/dev/null', 'absolute'],
    ['..sneaky.txt', null],
    ['hello/there/../../../../../../etc/passwd', "'.' or '..'"],
    ['hello/../etc/something', "'.' or '..'"],
    ['', 'empty'],
    ['.', "'.' or '..'"],
    ['..', "'.' or '..'"],
    ['../x', "'.' or '..'"],
    ['a//b', 'empty component'],
    ['a/', 'empty component'],
    ['./a', "'.' or '..'"],
    ['a\0b', 'NUL'],
    ['C:/x', 'drive letter'],
    ['a\\b', 'backslash'],
    ['NUL', null],
    ['com1.txt', null],
    ['con.mjs', null],
    ['a:b.mjs', null],
    ['dir/aux.js', null],
    [`deep/${longName}/x`, 'more than 255 bytes'],
    [longPath, '4096 bytes or more'],
    ['x'.repeat(255), null],
    ['größe/日本.txt', null],
  ]
  test('one name that is written and linked at the same time: no call fails, and one of the two is kept', async ({
    memory,
  }) => {
    await using store = await openBundles(join(memory, 'store'))
    await using stage = await store.stage()
    const names = Array.from({ length: 200 }, (_, index) => `name-${index}`)
    await Promise.all(
      names.flatMap((name) => [stage.write(name, 'one'), stage.symlink(name, 'two'), stage.write(name, 'three')]),
    )
    await stage.publish()
    using pin = store.pin()
    for (const name of names) {
      const path = pin.resolve(name)
      const content = lstatSync(path).isSymbolicLink() ? readlinkSync(path) : readFileSync(path, 'utf8')
      expect(['one', 'two', 'three']).toContain(content)
    }
  })

  test.for(table)('%j: %s', async ([path, why], { memory }) => {
    await using store = await openBundles(join(memory, 'store'))
    await publish(store, { a: '1' })
    await using stage = await store.stage()
    const acts = [stage.write(path, ''), stage.symlink(path, 'x')]
    for (const [result, act] of (await Promise.allSettled(acts)).map((settled, index) => [settled, index] as const)) {
      if (why === null) expect(result.status, `act ${act}`).toBe('fulfilled')
      else
        expect(result, `act ${act}`).toMatchObject({
          status: 'rejected',
          reason: { code: 'ERR_INVALID_ARGUMENT', message: expect.stringContaining(why) },
        })
    }
    await stage.discard()
    await expectUntouched(store, 1)
  })

  test('for any parts, a path is refused or lies in the stage', async ({ memory }) => {
    await using store = await openBundles(join(memory, 'store'))
    await using stage = await store.stage()
    const parts = [
      '..',
      '.',
      '',
      '...',
      '..x',
      'a',
      'b',
      '/',
      '\\',
      '\0',
      ' ',
      'C:',
      'nul',
      'CON.txt',
      'ü',
      '\u202e',
      '%2e%2e',
      '~',
      '-',
      '\n',
      longName,
      'link',
    ]
    symlinkSync('/', join(stage.path, 'link'))
    symlinkSync('../..', join(stage.path, 'a-link'))
    let seed = 20_261_125
    const random = (below: number): number => {
      seed = (Math.imul(seed, 1_664_525) + 1_013_904_223) >>> 0
      return Math.floor((seed / 2 ** 32) * below)
    }
    const accepted: string[] = []
    for (let round = 0; round < 2000; round += 1) {
      const path = Array.from({ length: 1 + random(4) }, () => parts[random(parts.length)]).join(
        random(4) === 0 ? '' : '/',
      )
      const result = await stage.write(path, '').then(
        () => 'written',
        (error: { code: string }) => error.code,
      )
      expect(['written', 'ERR_INVALID_ARGUMENT'], JSON.stringify(path)).toContain(result)
      if (result === 'written') accepted.push(path)
    }
    expect(accepted.length).toBeGreaterThan(20)
    for (const path of accepted)
      expect(isAbsolute(path) || path.split('/').some((part) => part === '..'), path).toBe(false)
    expect(readdirSync(memory)).toEqual(['store'])
    expect(readdirSync(join(store.root, 'stage')).length).toBe(1)
    expect(readdirSync(join(stage.path, '..'))).toEqual(['tree'])
  })

  test('deleting a generation never follows its links', async ({ memory }) => {
    await using store = await openBundles(join(memory, 'store'), { keep: 0 })
    writeFileSync(join(memory, 'precious'), 'kept')
    await using stage = await store.stage()
    await stage.write('a', '')
    await stage.symlink('outside', memory)
    await stage.publish()
    await publish(store, { a: '2' })
    await store.collect()
    expect(readFileSync(join(memory, 'precious'), 'utf8')).toBe('kept')
  })

  test('a link that holds its own store would be adopted into itself: refused, also through a link', async ({
    memory,
  }) => {
    const dist = join(memory, 'dist')
    mkdirSync(dist)
    writeFileSync(join(dist, 'precious'), 'kept')
    mkdirSync(join(memory, 'store'))
    symlinkSync('dist', join(memory, 'alias'))
    symlinkSync('store', join(memory, 'other'))
    for (const [root, link] of [
      ['dist/.store', 'dist'],
      ['alias/.store', 'dist'],
      ['store', 'store/x'],
      ['store', 'other/x'],
    ] as const) {
      const message = expect.stringMatching(/link.*root/)
      await expect(openBundles(join(memory, root), { link: join(memory, link) }), link).rejects.toMatchObject({
        code: 'ERR_INVALID_ARGUMENT',
        message,
      })
    }
    expect(readFileSync(join(dist, 'precious'), 'utf8')).toBe('kept')
    expect(lstatSync(dist).isDirectory()).toBe(true)
  })

  test('roots, options and pins are checked', async ({ memory }) => {
    const bad = { code: 'ERR_INVALID_ARGUMENT' }
    await expect(openBundles('relative')).rejects.toMatchObject(bad)
    await expect(openBundles(join(memory, 's'), { keep: -1 })).rejects.toMatchObject(bad)
    await expect(openBundles(join(memory, 's'), { durability: 'disk' as never })).rejects.toMatchObject(bad)
    await expect(openBundles(join(memory, 's'), { lnk: 'x' } as never)).rejects.toMatchObject(bad)
    await expect(openBundles(join(memory, 's'), { link: join(memory, 's/dist') })).rejects.toMatchObject(bad)
    mkdirSync(join(memory, 'foreign'))
    writeFileSync(join(memory, 'foreign/notes.txt'), '')
    await expect(openBundles(join(memory, 'foreign'))).rejects.toMatchObject({
      ...bad,
      message: expect.stringContaining('notes.txt'),
    })
    await using store = await openBundles(join(memory, 's'))
    await publish(store, { a: '1' })
    using pin = store.pin()
    expect(() => pin.resolve('../../x')).toThrow(expect.objectContaining(bad))
    expect(() => store.pin({ generation: 0 })).toThrow(expect.objectContaining(bad))
    writeFileSync(join(store.root, 'FORMAT'), 'warmswap bundles 2\n')
    await expect(openBundles(store.root)).rejects.toMatchObject({ code: 'ERR_FORMAT' })
  })
})
