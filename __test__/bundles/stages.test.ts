/** Calls on one stage exclude one another (bundles/pin-is-complete), and an aborted publish changes nothing (bundles/failed-build-changes-nothing). */

import { join } from 'node:path'
import { describe, expect } from 'vitest'
import { openBundles } from 'warmswap'
import { publish } from '../support/stores.js'
import { test } from '../support/temp.js'

/** A publish has its stage to itself: concurrent writes and discards must not affect the files that were hashed. */
describe('bundles/pin-is-complete: calls on one stage at the same time', () => {
  const many = Object.fromEntries(
    Array.from({ length: 500 }, (_, index) => [`d${index % 10}/${index}`, 'x'.repeat(1000)]),
  )

  test('a discard concurrent with a publish, as when a scope ends on a timeout', async ({ memory }) => {
    await using store = await openBundles(join(memory, 'store'), { keep: 0 })
    for (let round = 0; round < 10; round += 1) {
      const stage = await store.stage()
      await stage.writeAll(
        Object.entries(many).map(([path, text]) => ({ path: join(memory, path), contents: Buffer.from(text) })),
        memory,
      )
      const publishing = stage.publish()
      await stage.discard()
      expect((await publishing).files).toBe(500)
      expect(await store.verify()).toEqual({ ok: true, problems: [] })
    }
  })

  test('writes beside a publish', async ({ memory }) => {
    await using store = await openBundles(join(memory, 'store'), { keep: 0 })
    for (let round = 0; round < 10; round += 1) {
      const stage = await store.stage()
      const writes = Object.entries(many).map(([path, text]) => stage.write(path, text))
      const publishing = stage.publish()
      const late = ['d0/0', 'late'].map((path) =>
        stage.write(path, 'late').then(
          () => 'written',
          (error: { code: string }) => error.code,
        ),
      )
      await Promise.all(writes)
      expect((await publishing).files).toBe(500)
      expect(await Promise.all(late)).toEqual(['ERR_STAGE_CLOSED', 'ERR_STAGE_CLOSED'])
      expect(await store.verify()).toEqual({ ok: true, problems: [] })
    }
  })
})

test('bundles/failed-build-changes-nothing: an aborted publish changes nothing, and the stage can be published later', async ({
  memory,
}) => {
  await using store = await openBundles(join(memory, 'store'))
  await publish(store, { a: '1' })
  await using stage = await store.stage()
  await stage.write('a', '2')
  const reason = new Error('changed my mind')
  await expect(stage.publish({ signal: AbortSignal.abort(reason) })).rejects.toBe(reason)
  expect(store.current()?.number).toBe(1)
  expect((await stage.publish()).number).toBe(2)
})
