// @module-tag system
/** examples/prewarm: today's half must show the trouble, ours must not. */

import { existsSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect } from 'vitest'
import { prewarm, tryLock } from 'warmswap'
import { start } from '../support/children.js'
import { repository } from '../support/paths.js'
import { test } from '../support/temp.js'

test('locks/one-takes-over: eight starts, the holder killed: today nobody is served, with warmswap everybody', async () => {
  const example = start(process.execPath, [join(repository, 'examples/prewarm/run.js')])
  const { code } = await example.ended
  const rows = Object.fromEntries(
    example.lines.slice(1).map((line) => [line.split(/\s+/)[0], line.trim().split(/\s+/).slice(1).map(Number)]),
  )
  expect(rows.today?.slice(0, 3), example.stderr()).toEqual([0, 7, 1])
  expect(rows.warmswap?.slice(0, 3), example.stderr()).toEqual([7, 7, 2])
  expect(code).toBe(0)
})

test('locks/killed-holder-blocks-nobody: the adapter has the face of a mkdir lock, and none of its waits', async ({
  memory,
}) => {
  const { mkdirLock } = await import(join(repository, 'examples/prewarm/adapter.js'))
  const path = join(memory, 'key.lock')
  const giveBack = await mkdirLock(path)
  expect(await tryLock(path)).toBeNull()
  let told = (_line: string): void => {}
  const line = new Promise<string>((resolve) => (told = resolve))
  const next = mkdirLock(path, { log: told })
  expect(await line).toMatch(new RegExp(`^waiting \\d+ ms for ${path}, held by pid ${process.pid} since `))
  giveBack()
  ;(await next)()
  const again = await mkdirLock(path, { timeoutMs: 0 })
  again()
})

test.for([
  ['false', false],
  ['undefined', undefined],
] as const)('an isReady that returns %s is not ready: run is called', async ([, notReady], { memory }) => {
  const made = join(memory, 'made')
  const isReady = (): true | undefined | false => existsSync(made) || notReady
  const run = (): true => {
    writeFileSync(made, '')
    return true
  }
  expect(await prewarm(join(memory, 'a.lock'), { isReady, run })).toMatchObject({ role: 'ran', value: true })
  expect(await prewarm(join(memory, 'a.lock'), { isReady, run })).toMatchObject({ role: 'reused', value: true })
})

test('null, 0 and the empty string are results', async ({ memory }) => {
  const run = (): never => {
    throw new Error('it is there already')
  }
  for (const value of [null, 0, ''])
    expect(await prewarm(join(memory, 'a.lock'), { isReady: () => value, run })).toMatchObject({
      role: 'reused',
      value,
    })
})

test('an isReady that still returns false after run() is ERR_NOT_READY', async ({ memory }) => {
  const job = { isReady: (): boolean => false, run: () => true }
  await expect(prewarm(join(memory, 'a.lock'), job)).rejects.toMatchObject({
    code: 'ERR_NOT_READY',
    message: expect.stringMatching(/still returns false/),
  })
})

test('types: the false of isReady() is not a result', async ({ memory }) => {
  const { value } = await prewarm(join(memory, 'a.lock'), {
    isReady: () => existsSync(memory) && { made: 1 },
    run: () => ({ made: 1 }),
  })
  expect(value.made).toBe(1)
})
