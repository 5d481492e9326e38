/** Pins with a name: they outlive their process and a reboot, also next to programs that know no names. */

import { execFileSync } from 'node:child_process'
import { existsSync, readFileSync, readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { openBundles } from 'warmswap'
import { describe, expect } from 'vitest'
import { start } from '../support/children.js'
import { repository } from '../support/paths.js'
import { publish, test } from '../support/stores.js'

const session = join(repository, '__test__/programs/bundles-session.mjs')
const python = join(repository, '__test__/programs/bundles_reader.py')
const hasPython = ((): boolean => {
  try {
    return execFileSync('python3', ['--version']).length > 0
  } catch {
    return false
  }
})()

const inAnHour = (): number => Date.now() + 3_600_000

/** Runs one step in a process of its own, with the addon that has seeded bugs; `kill` ends it by SIGKILL. */
async function step(
  root: string,
  [name, argument = '']: [string, string?],
  env: Record<string, string> = {},
): Promise<{ generation?: number; resumed?: boolean; text?: string; code?: string; generations?: number[] }> {
  const child = start(process.execPath, [session, root, name, argument], { cwd: repository, testing: true, env })
  const seen = JSON.parse(await child.line(/^[{[]/))
  if (argument === 'stay') child.signal('SIGKILL')
  await child.ended
  return seen
}

/** A session is killed, others publish 100 generations, the machine restarts, and the session resumes. */
async function resumeAfter(
  root: string,
  publishMany: (root: string) => Promise<unknown>,
  env: Record<string, string> = {},
): Promise<object> {
  expect(await step(root, ['session', 'stay'], env)).toEqual({ generation: 2, resumed: false, text: 'second,second' })
  await publishMany(root)
  return await step(root, ['session'], { ...env, WARMSWAP_BOOT_ID: 'the next boot' })
}

const resumed = { generation: 2, resumed: true, text: 'second,second' }

describe('vercel/eve#714: a session that is parked over 100 publishes and a reboot resumes its generation', () => {
  const publishers: [string, (root: string, env?: Record<string, string>) => Promise<unknown>][] = [
    ['this version', (root, env) => step(root, ['publish', '100'], env)],
    ['version 0.1.0', (root) => step(root, ['publish', '100'], { WARMSWAP_MUTANT: 'protocol-1' })],
    ...(hasPython
      ? ([['Python', async (root) => execFileSync('python3', [python, 'publish', root, '100'])]] as [
          string,
          (root: string) => Promise<unknown>,
        ][])
      : []),
  ]
  for (const [name, publishMany] of publishers) {
    test(`publisher: ${name}`, async ({ memory }) => {
      expect(await resumeAfter(join(memory, 'store'), publishMany)).toEqual(resumed)
    })
  }

  test('seeded bug: a pin that is released with its process', async ({ memory }) => {
    const env = { WARMSWAP_MUTANT: 'named-pin-ends-with-process' }
    const seen = await resumeAfter(join(memory, 'store'), (root) => step(root, ['publish', '3'], env), env)
    expect(seen).toMatchObject({ generation: 5, resumed: false })
  })

  test('seeded bug: only `until` of the history is written for version 0.1.0', async ({ memory }) => {
    const root = join(memory, 'store')
    const publishMany = (): Promise<unknown> => step(root, ['publish', '3'], { WARMSWAP_MUTANT: 'protocol-1' })
    const seen = await resumeAfter(root, publishMany, { WARMSWAP_MUTANT: 'no-grace-for-protocol-1' })
    expect(seen).toMatchObject({ code: 'ERR_GENERATION_GONE' })
  })
})

test('a name is listed, renewed, moved and released, and is no hold of its process', async ({ store }) => {
  await publish(store, { text: 'one' })
  const pin = await store.pin({ name: 'a', expiresAt: new Date(inAnHour()) })
  expect(pin).toMatchObject({ name: 'a', resumed: false })
  pin.release()
  await publish(store, { text: 'two' })
  const later = inAnHour() + 1000
  const again = await store.pin({ name: 'a', expiresAt: later })
  expect(again).toMatchObject({ resumed: true, expiresAt: new Date(later).toISOString(), path: pin.path })
  expect(readFileSync(again.resolve('text'), 'utf8')).toBe('one')
  again.release()
  await store.pin({ name: 'é 42/../x', expiresAt: later, generation: 2 }).then((other) => other.release())
  expect(await store.pins()).toEqual([
    { name: 'a', generation: 1, pinnedAt: expect.any(String), expiresAt: new Date(later).toISOString() },
    { name: 'é 42/../x', generation: 2, pinnedAt: expect.any(String), expiresAt: new Date(later).toISOString() },
  ])
  expect(readdirSync(join(store.root, 'named')).every((name) => /^[0-9a-f]{64}\.json$/.test(name))).toBe(true)

  for (const text of ['three', 'four', 'five']) await publish(store, { text })
  expect(await store.collect()).toMatchObject({ pinned: [1, 2], kept: [4, 5] })
  const moved = await store.pin({ name: 'a', expiresAt: later, generation: 5 })
  expect(moved).toMatchObject({ resumed: false, generation: expect.objectContaining({ number: 5 }) })
  moved.release()
  await store.collect()
  expect((await store.list()).map(({ number }) => number)).toEqual([2, 4, 5])

  expect(await store.release('é 42/../x')).toBe(true)
  expect(await store.release('é 42/../x')).toBe(false)
  await store.collect()
  expect((await store.list()).map(({ number }) => number)).toEqual([4, 5])
  expect((await store.pins()).map(({ name }) => name)).toEqual(['a'])
})

test('a name keeps its generation until it expires, and the settings of the store are as before then', async ({
  memory,
}) => {
  const [root, clock] = [join(memory, 'store'), join(memory, 'clock')]
  const at = async (hours: number, ...given: [string, string?]): ReturnType<typeof step> => {
    writeFileSync(clock, `${hours * 3600}`)
    return await step(root, given, { WARMSWAP_CLOCK: clock })
  }
  const config = (): unknown => JSON.parse(readFileSync(join(root, 'config.json'), 'utf8'))
  await at(0, 'session')
  // Programs that know no names keep everything for that long. This version does not.
  expect(config()).toMatchObject({ keep: 1, graceMs: expect.closeTo(86_400_000, -5) })
  expect(await at(23, 'publish', '4')).toEqual({ generations: [2, 5, 6] })
  expect(await at(25, 'publish', '1')).toEqual({ generations: [6, 7] })
  expect(config()).toEqual({ keep: 1, graceMs: 0 })
  expect([readdirSync(join(root, 'named')), existsSync(join(root, 'bounds.json'))]).toEqual([[], false])
})

test('a program that changes the settings while a name raises them changes what is chosen', async ({ memory }) => {
  const root = join(memory, 'store')
  const store = await openBundles(root, { graceMs: 5 })
  await publish(store, { text: 'one' })
  ;(await store.pin({ name: 'a', expiresAt: inAnHour() })).release()
  await (await openBundles(root, { keep: 2 })).close()
  // As version 0.1.0 does, which knows no bounds.
  writeFileSync(join(root, 'config.json'), '{"keep":3,"graceMs":7}')
  await store.collect()
  expect(JSON.parse(readFileSync(join(root, 'config.json'), 'utf8')).graceMs).toBeGreaterThan(3_500_000)
  await store.release('a')
  expect(JSON.parse(readFileSync(join(root, 'config.json'), 'utf8'))).toEqual({ keep: 3, graceMs: 7 })
  await store.close()
})

test('bad input is refused asynchronously, and a damaged record pins nothing', async ({ store }) => {
  await expect(store.pin({ name: 'a', expiresAt: inAnHour() })).rejects.toMatchObject({ code: 'ERR_NO_GENERATION' })
  await publish(store, { text: 'one' })
  const wrong = [
    [{ name: 'a' }, /options.expiresAt: undefined. Expected a time in the future/],
    [{ name: 'a', expiresAt: Date.now() - 1 }, /expiresAt/],
    [{ name: 'a', expiresAt: 'soon' }, /expiresAt/],
    [{ name: 'a', expiresAt: Number.NaN }, /expiresAt/],
    [{ name: 'a', expiresAt: 8.64e15 + 1 }, /expiresAt/],
    [{ expiresAt: inAnHour() }, /name/],
    [{ name: '', expiresAt: inAnHour() }, /name/],
    [{ name: '\ud800', expiresAt: inAnHour() }, /name/],
    [{ name: 'é'.repeat(513), expiresAt: inAnHour() }, /name/],
    [{ name: 'a', expiresAt: inAnHour(), generation: 0 }, /generation/],
    [{ name: 'a', expiresAt: inAnHour(), expires: 1 }, /options.expires/],
  ] as const
  for (const [options, message] of wrong) {
    const pinned = store.pin(options as never) as unknown as Promise<unknown>
    await expect(pinned, JSON.stringify(options)).rejects.toMatchObject({
      code: 'ERR_INVALID_ARGUMENT',
      message: expect.stringMatching(message),
    })
  }
  await expect(store.pin({ name: 'a', expiresAt: inAnHour(), generation: 9 })).rejects.toMatchObject({
    code: 'ERR_GENERATION_GONE',
  })
  await expect(store.release(7 as never)).rejects.toMatchObject({ code: 'ERR_INVALID_ARGUMENT' })
  expect(await store.pins()).toEqual([])
  ;(await store.pin({ name: 'a', expiresAt: inAnHour() })).release()
  const [file = ''] = readdirSync(join(store.root, 'named'))
  for (const text of ['{', '{"name":"b","number":1,"pinnedAt":1,"expiresAt":99999999999999}', '']) {
    writeFileSync(join(store.root, 'named', file), text)
    expect(await store.pins(), text).toEqual([])
  }
  const next = await store.pin({ name: 'a', expiresAt: inAnHour() })
  expect(next.resumed).toBe(false)
  next.release()
})

test('a closed store refuses names', async ({ memory }) => {
  const store = await openBundles(join(memory, 'store'))
  await store.close()
  await expect(store.pin({ name: 'a', expiresAt: inAnHour() })).rejects.toMatchObject({ code: 'ERR_CLOSED' })
  await expect(store.pins()).rejects.toMatchObject({ code: 'ERR_CLOSED' })
  await expect(store.release('a')).rejects.toMatchObject({ code: 'ERR_CLOSED' })
})
