/** docs/protocol.md suffices: a reader and a collector in Python, written from its text alone. */

import { execFileSync, spawnSync } from 'node:child_process'
import { existsSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { expect } from 'vitest'
import { type BundleStore, openBundles } from 'warmswap'
import { start } from '../support/children.js'
import { repository } from '../support/paths.js'
import { test } from '../support/temp.js'

const program = join(repository, '__test__/processes/bundles_protocol.py')
const hasPython = spawnSync('python3', ['--version']).status === 0
const why = hasPython ? '' : ' (NOT RUN: python3 is missing)'

async function publish(store: BundleStore, text: string): Promise<void> {
  await using stage = await store.stage()
  await stage.write('a', text)
  await stage.publish()
}

test.skipIf(!hasPython)(`a Python reader holds a generation against our collector${why}`, async ({ memory }) => {
  await using store = await openBundles(join(memory, 'store'), { keep: 0 })
  await publish(store, 'one')
  const reader = start('python3', [program, store.root, 'read'])
  expect(await reader.line(/./)).toBe('1 one')
  await publish(store, 'two')
  expect(await store.collect()).toMatchObject({ pinned: [1] })
  reader.process.stdin?.end()
  expect(await reader.line(/./)).toBe('one')
  await reader.ended
  expect(await store.collect()).toMatchObject({ pinned: [], kept: [2] })
})

test.skipIf(!hasPython)(`a Python collector keeps what we pin and keep, and removes the rest${why}`, async ({ memory }) => {
  await using store = await openBundles(join(memory, 'store'), { keep: 9 })
  for (const text of ['one', 'two', 'three', 'four']) await publish(store, text)
  await using fewer = await openBundles(store.root)
  const pin = store.pin({ generation: 2 })
  await store.close()
  await fewer.collect()
  // Only the setting changes: the collection is Python's.
  execFileSync('sh', ['-c', `printf '{"keep":1,"graceMs":0}' > ${store.root}/config.json`])
  expect(JSON.parse(execFileSync('python3', [program, store.root, 'collect'], { encoding: 'utf8' }))).toEqual([1])
  expect(readdirSync(join(store.root, 'gens'))).toEqual(['000002', '000003', '000004'])
  pin.release()
  expect(JSON.parse(execFileSync('python3', [program, store.root, 'collect'], { encoding: 'utf8' }))).toEqual([2])
  expect(existsSync(join(store.root, 'gens/000002'))).toBe(false)
  expect(await fewer.verify()).toEqual({ ok: true, problems: [] })
  await publish(fewer, 'five')
  expect(fewer.current()?.number).toBe(5)
})
