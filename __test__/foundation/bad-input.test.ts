// guarantee: library/bad-input-is-refused

import { chmodSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect } from 'vitest'
import * as warmswap from 'warmswap'
import { test } from '../support/temp.js'

const { acquireLock, defineState, inspectLock, isWarmswapError, openBundles, pack, tryLock, unpack, withLock } =
  warmswap

/** What a caller without types can pass. */
// biome-ignore lint/suspicious/noExplicitAny: what a caller without types can pass.
type Anything = any

/** Fails unless the call returns a promise that rejects with this code and a message that names the argument. */
async function refuses(call: () => Promise<unknown>, code: string, named: string | RegExp): Promise<void> {
  let promise: Promise<unknown>
  try {
    promise = call()
  } catch (error) {
    throw new Error(`it threw synchronously: ${String(error)}`)
  }
  const error = await promise.then(
    () => undefined,
    (reason: unknown) => reason,
  )
  expect(isWarmswapError(error), String(error)).toBe(true)
  expect((error as warmswap.WarmswapError).code).toBe(code)
  expect((error as Error).message).toMatch(named)
}

describe('paths', () => {
  const wrong: [string, Anything][] = [
    ['empty', ''],
    ['relative', 'some/where'],
    ['with NUL', '/tmp/a\0b'],
    ['a number', 42],
    ['null', null],
    ['left out', undefined],
  ]
  test.for(wrong)('%s: refused by every call that takes one', async ([, path], { memory }) => {
    const archive = join(memory, 'archive.tar')
    await refuses(() => openBundles(path), 'ERR_INVALID_ARGUMENT', /root/)
    await refuses(() => acquireLock(path), 'ERR_INVALID_ARGUMENT', /path/)
    await refuses(() => tryLock(path), 'ERR_INVALID_ARGUMENT', /path/)
    await refuses(() => withLock(path, () => 1), 'ERR_INVALID_ARGUMENT', /path/)
    await refuses(() => inspectLock(path), 'ERR_INVALID_ARGUMENT', /path/)
    await refuses(() => unpack(archive, path), 'ERR_INVALID_ARGUMENT', /into/)
    expect(() => pack(path)).toThrow(expect.objectContaining({ code: 'ERR_INVALID_ARGUMENT' }))
    expect(readdirSync(memory)).toEqual([])
  })
})

describe('options', () => {
  test('of a store: the option, its value and the expected value are named', async ({ memory }) => {
    const root = join(memory, 'store')
    const open = (options: Anything) => () => openBundles(root, options)
    await refuses(
      open({ keep: Number.NaN }),
      'ERR_INVALID_ARGUMENT',
      /^Invalid options\.keep: NaN\. Expected a non-negative integer$/,
    )
    await refuses(open({ keep: -1 }), 'ERR_INVALID_ARGUMENT', /Invalid options\.keep: -1/)
    await refuses(open({ keep: 1.5 }), 'ERR_INVALID_ARGUMENT', /Invalid options\.keep: 1\.5/)
    await refuses(open({ graceMs: Infinity }), 'ERR_INVALID_ARGUMENT', /graceMs: Infinity/)
    await refuses(
      open({ durability: 'maybe' }),
      'ERR_INVALID_ARGUMENT',
      /durability: 'maybe'\. Expected .*'process'.*'power'/,
    )
    await refuses(open({ kep: 3 }), 'ERR_INVALID_ARGUMENT', /kep/)
    await refuses(open('text'), 'ERR_INVALID_ARGUMENT', /Invalid options: 'text'/)
    expect(readdirSync(memory)).toEqual([])
  })

  test('of a lock', async ({ memory }) => {
    const path = join(memory, 'lock')
    const acquire = (options: Anything) => () => acquireLock(path, options)
    await refuses(acquire({ timeoutMs: Number.NaN }), 'ERR_INVALID_ARGUMENT', /timeoutMs: NaN/)
    await refuses(acquire({ timeoutMs: -1 }), 'ERR_INVALID_ARGUMENT', /timeoutMs: -1/)
    await refuses(acquire({ mode: 'both' }), 'ERR_INVALID_ARGUMENT', /mode: 'both'/)
    await refuses(acquire({ signal: {} }), 'ERR_INVALID_ARGUMENT', /signal/)
    await refuses(acquire({ timeout: 3 }), 'ERR_INVALID_ARGUMENT', /timeout/)
    expect(readdirSync(memory)).toEqual([])
  })

  test('of a cache and an archive', async ({ memory }) => {
    const into = join(memory, 'target')
    const archive = join(memory, 'archive.tar')
    const limited = (limits: Anything) => () => unpack(archive, into, { limits })
    await refuses(limited({ maxFiles: Number.NaN }), 'ERR_INVALID_ARGUMENT', /maxFiles: NaN/)
    await refuses(limited({ maxBytes: -5 }), 'ERR_INVALID_ARGUMENT', /maxBytes: -5/)
    await refuses(() => unpack(archive, into, { mode: 'mirror' } as Anything), 'ERR_INVALID_ARGUMENT', /mode: 'mirror'/)
    await refuses(() => unpack(42 as Anything, into), 'ERR_INVALID_ARGUMENT', /source/)
    await refuses(() => unpack(archive, '/'), 'ERR_INVALID_ARGUMENT', /into: '\/'/)
    expect(() => pack(memory, { level: 99 } as Anything)).toThrow(
      expect.objectContaining({ code: 'ERR_INVALID_ARGUMENT' }),
    )
    expect(readdirSync(memory)).toEqual([])
  })

  test('of a state', () => {
    expect(() => defineState(42 as Anything, () => 1)).toThrow(
      expect.objectContaining({ code: 'ERR_INVALID_ARGUMENT' }),
    )
    expect(() => defineState('key', 'not a function' as Anything)).toThrow(
      expect.objectContaining({ code: 'ERR_INVALID_ARGUMENT' }),
    )
  })
})

describe('the world', () => {
  test('a root that is a file is named and not changed', async ({ memory }) => {
    const root = join(memory, 'file')
    writeFileSync(root, 'a file of somebody')
    await refuses(() => openBundles(root), 'ERR_INVALID_ARGUMENT', /Expected a directory/)
    expect(readdirSync(memory)).toEqual(['file'])
  })

  test('a directory with other files is not accepted as a store', async ({ memory }) => {
    writeFileSync(join(memory, 'package.json'), '{}')
    await refuses(() => openBundles(memory), 'ERR_INVALID_ARGUMENT', /root/)
    expect(readdirSync(memory)).toEqual(['package.json'])
  })

  test('an unknown format version is refused, and nothing is changed', async ({ memory }) => {
    const root = join(memory, 'store')
    mkdirSync(root)
    writeFileSync(join(root, 'FORMAT'), 'warmswap bundles 2\n')
    await refuses(() => openBundles(root), 'ERR_FORMAT', /warmswap bundles 2/)
    expect(readdirSync(root)).toEqual(['FORMAT'])
  })

  test.runIf(process.getuid?.() !== 0)('a root in a read-only directory', async ({ memory }) => {
    chmodSync(memory, 0o555)
    await refuses(() => openBundles(join(memory, 'store')), 'ERR_IO', /mkdir/)
    chmodSync(memory, 0o755)
  })
})
