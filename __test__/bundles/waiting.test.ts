/** Every wait has an end that the caller sets (bundles/waits-are-bounded). */

import { readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect } from 'vitest'
import { openBundles } from 'warmswap'
import { type Child, start } from '../support/children.js'
import { publish } from '../support/stores.js'
import { test } from '../support/temp.js'

/** Another program holds the lock until the test releases it. */
async function holdLock(path: string): Promise<Child> {
  const holder = start('flock', [path, '-c', 'echo held; read line'])
  await holder.line(/^held$/)
  writeFileSync(path, JSON.stringify({ pid: holder.pid, command: 'flock', since: '2026-01-01T00:00:00.000Z' }))
  return holder
}

describe('bundles/waits-are-bounded: no call waits forever, none spins', () => {
  test('a stopped writer: writes end in ERR_TIMEOUT with the holder, readers are unaffected', async ({ memory }) => {
    await using store = await openBundles(join(memory, 'store'))
    await publish(store, { a: '1' })
    const holder = await holdLock(join(store.root, 'writer.lock'))
    await using stage = await store.stage()
    await stage.write('a', '2')
    const late = { code: 'ERR_TIMEOUT', retryable: true, holder: { pid: holder.pid, format: 'warmswap' } }
    await expect(stage.publish({ timeoutMs: 50 })).rejects.toMatchObject(late)
    await expect(store.collect({ timeoutMs: 50 })).rejects.toMatchObject(late)
    await expect(store.rollback(1, { timeoutMs: 50 })).rejects.toMatchObject(late)
    await expect(store.stage({ fenced: true, timeoutMs: 50 })).rejects.toMatchObject(late)
    store.pin().release()
    await using second = await openBundles(store.root)
    expect(second.current()?.number).toBe(1)
    const waiting = stage.publish()
    holder.say('go')
    expect((await waiting).number).toBe(2)
    await holder.ended
  })

  test('a builder that does not end: ensure() of another ends in ERR_TIMEOUT with its holder', async ({ memory }) => {
    await using store = await openBundles(join(memory, 'store'))
    await publish(store, { a: '1' })
    const holder = await holdLock(join(store.root, 'build.lock'))
    const late = { code: 'ERR_TIMEOUT', retryable: true, holder: { pid: holder.pid } }
    await expect(
      store.ensure(async (stage) => await stage.write('a', '2'), { fingerprint: 'x', timeoutMs: 50 }),
    ).rejects.toMatchObject(late)
    expect(await publish(store, { a: '3' }), 'a publish needs no build lock').toMatchObject({ number: 2 })
    holder.say('go')
    await holder.ended
    using built = await store.ensure(async (stage) => await stage.write('a', '2'), { fingerprint: 'x' })
    expect(built.generation.number).toBe(3)
  })

  test('a removed lock file is ERR_GENERATION_CORRUPT at once, and open() heals it', async ({ memory }) => {
    await using store = await openBundles(join(memory, 'store'))
    await publish(store, { a: '1' })
    rmSync(join(store.root, 'pins/000001'))
    expect(() => store.pin()).toThrow(expect.objectContaining({ code: 'ERR_GENERATION_CORRUPT' }))
    await using healed = await openBundles(store.root)
    using pin = healed.pin()
    expect(readFileSync(pin.resolve('a'), 'utf8')).toBe('1')
    expect(await healed.verify()).toMatchObject({ ok: true })
  })
})
