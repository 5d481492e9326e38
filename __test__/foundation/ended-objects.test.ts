/** Calls on objects that were released or closed are errors that say so. */

// guarantee: library/bad-input-is-refused

import { join } from 'node:path'
import { Worker } from 'node:worker_threads'
import { acquireLock, handOver, inspectLock, openBundles, openCoordinator } from 'warmswap'
import { expect } from 'vitest'
import { publish } from '../support/stores.js'
import { test } from '../support/temp.js'

test('a released pin gives out no path and no URL, and is not handed over', async ({ memory }) => {
  await using store = await openBundles(join(memory, 'store'))
  await publish(store, { 'main.mjs': '' })
  const pin = store.pin()
  pin.release()
  pin.release()
  const released = expect.objectContaining({
    code: 'ERR_CLOSED',
    message: expect.stringMatching(/generation 1 was released/),
  })
  expect(() => pin.url('main.mjs')).toThrow(released)
  expect(() => pin.resolve('main.mjs')).toThrow(released)
  const worker = new Worker('setInterval(() => {}, 1e6)', { eval: true })
  await expect(handOver(worker, pin)).rejects.toEqual(released)
  await worker.terminate()
})

test('progress() of a released lock is an error, and the next holder keeps its own', async ({ memory }) => {
  const path = join(memory, 'key.lock')
  const first = await acquireLock(path)
  first.release()
  using second = await acquireLock(path)
  second.progress('mine')
  expect(() => first.progress('late')).toThrow(
    expect.objectContaining({ code: 'ERR_LOCK_LOST', message: expect.stringMatching(/it was released/) }),
  )
  await expect.poll(async () => (await inspectLock(path)).holder?.progress?.phase).toBe('mine')
})

test('openCoordinator() refuses a store that was closed', async ({ memory }) => {
  const store = await openBundles(join(memory, 'store'))
  await store.close()
  expect(() => openCoordinator(store, { start: () => expect.unreachable() })).toThrow(
    expect.objectContaining({ code: 'ERR_CLOSED', message: expect.stringMatching(/store '.*' was closed/) }),
  )
})
