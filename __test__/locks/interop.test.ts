// @module-tag system
/** locks/mkdir-locks-are-respected: the mkdir locks of one program's three generations as opposing processes, both ways. */

import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect } from 'vitest'
import { acquireLock, inspectLock, tryLock } from 'warmswap'
import { type Child, start } from '../support/children.js'
import { repository } from '../support/paths.js'
import { test } from '../support/temp.js'

const theirs = (version: string, verb: string, path: string, options: object = {}): Child =>
  start(process.execPath, [
    join(repository, '__test__/programs/mkdir-locks.js'),
    version,
    verb,
    path,
    JSON.stringify(options),
  ])
const ours = (
  verb: string,
  path: string,
  options: object = {},
  more: { env?: Record<string, string>; testing?: boolean } = {},
): Child =>
  start(
    process.execPath,
    [join(repository, '__test__/programs/locks-child.js'), verb, path, JSON.stringify(options)],
    more,
  )
const codeOf = (promise: Promise<unknown>): Promise<string> =>
  promise.then(
    () => 'nothing',
    (error: { code?: string }) => error.code ?? String(error),
  )
/** Longer than their poll of 250 ms and a start of Node on a busy machine. */
const SOON_MS = 10_000

describe.each(['v0', 'liveness', 'intents'])('mkdir lock, %s', (version) => {
  test.for(['kernel', 'lease'] as const)(
    'locks/mkdir-locks-are-respected: it waits behind our holder and gets in after us, in %s mode',
    async (mode, { memory }) => {
      const path = join(memory, 'key.lock')
      const lock = await acquireLock(path, { mode })
      const waiter = theirs(version, 'once', path)
      await waiter.line(/^waiting/)
      lock.assertHeld()
      expect(waiter.lines).toEqual(['waiting'])
      lock.release()
      await waiter.line(/^held/)
      expect(await waiter.line(/^released/)).toBe('released')
      ;(await acquireLock(path, { mode, timeoutMs: SOON_MS })).release()
    },
  )

  test('locks/mkdir-locks-are-respected: it waits behind a holder that is older than what it calls stale: our heartbeat keeps the directory young', async ({
    memory,
  }) => {
    const path = join(memory, 'key.lock')
    const heldBy = async (env: Record<string, string>): Promise<Child> => {
      const holder = ours('hold', path, { leaseTtlMs: 600 }, { testing: true, env })
      await holder.line(/^held/)
      return holder
    }
    // Half an hour of theirs against 30 s of ours, both a thousandth: their rule is by age alone, so it is the only thing that speaks.
    const staleMs = 1800
    const holder = await heldBy({})
    const waiter = theirs(version, 'once', path, { staleMs })
    await waiter.line(/^waiting/)
    expect(await codeOf(acquireLock(path, { timeoutMs: 3 * staleMs }))).toBe('ERR_LOCK_TIMEOUT')
    expect(waiter.lines).toEqual(['waiting'])
    holder.say('release')
    await waiter.line(/^released/)
    if (version !== 'v0') return
    // Without a heartbeat the same holder is robbed: the check can fail.
    await heldBy({ WARMSWAP_MUTANT: 'lock-no-native-heartbeat' })
    await theirs(version, 'once', path, { staleMs }).line(/^held/)
  })

  test('locks/mkdir-locks-are-respected: we wait behind its living holder, and get in when it gives the lock back', async ({
    memory,
  }) => {
    const path = join(memory, 'key.lock')
    const holder = theirs(version, 'hold', path)
    await holder.line(/^held/)
    expect((await inspectLock(path)).holder).toMatchObject({ pid: holder.pid, format: 'owner-json' })
    expect(await tryLock(path)).toBeNull()
    const wait = acquireLock(path, { timeoutMs: SOON_MS, onWait: () => holder.say('release') })
    const lock = await wait
    expect(lock.tookOverFrom).toBeNull()
    await holder.line(/^released/)
    lock.assertHeld()
    expect(JSON.parse(readFileSync(join(path, 'owner.json'), 'utf8'))).toMatchObject({ token: lock.token })
    lock.release()
  })

  test('locks/mkdir-locks-are-respected: a killed holder of its is followed: on proof at once, without one after its window', async ({
    memory,
  }) => {
    const path = join(memory, 'key.lock')
    const holder = theirs(version, 'hold', path)
    await holder.line(/^held/)
    holder.signal('SIGKILL')
    await holder.ended
    // An owner without a hostname is of this machine: its filesystem is.
    const lock = await acquireLock(path, { timeoutMs: SOON_MS })
    expect(lock.tookOverFrom).toMatchObject({ pid: holder.pid, format: 'owner-json' })
    lock.release()
  })

  test('locks/mkdir-locks-are-respected: killed between its two steps it leaves a directory without an owner, which heals', async ({
    memory,
  }) => {
    const path = join(memory, 'key.lock')
    mkdirSync(path)
    const waiter = theirs(version, 'once', path)
    await waiter.line(/^waiting/)
    // Otherwise it could acquire the lock between our removal of the directory and our acquisition.
    waiter.signal('SIGSTOP')
    const lock = await acquireLock(path, { timeoutMs: SOON_MS, foreignStaleMs: 500 })
    expect(lock.tookOverFrom).toMatchObject({ format: 'ownerless' })
    waiter.signal('SIGCONT')
    lock.assertHeld()
    lock.release()
    await waiter.line(/^released/)
  })

  test('locks/mkdir-locks-are-respected: it follows our killed holder in its own way, and we wait for it', async ({
    memory,
  }) => {
    const path = join(memory, 'key.lock')
    const dead = ours('hold', path)
    await dead.line(/^held/)
    dead.signal('SIGKILL')
    await dead.ended
    // v0 knows no liveness: by age.
    const follower = theirs(version, 'hold', path, version === 'v0' ? { staleMs: 500 } : {})
    await follower.line(/^held/)
    expect(await tryLock(path)).toBeNull()
    const wait = acquireLock(path, { timeoutMs: SOON_MS, onWait: () => follower.say('release') })
    ;(await wait).release()
    await follower.line(/^released/)
    expect(existsSync(path)).toBe(false)
  })

  test('locks/mkdir-locks-are-respected: an owner that only its own program understands keeps us out', async ({
    memory,
  }) => {
    const path = join(memory, 'key.lock')
    mkdirSync(path)
    writeFileSync(
      join(path, 'owner.json'),
      JSON.stringify({
        createdAt: new Date().toISOString(),
        hostname: 'another-machine',
        pid: process.pid,
        token: 'x',
        phase: { new: 'field' },
      }),
    )
    expect(await tryLock(path)).toBeNull()
    expect((await inspectLock(path)).liveness).toBe('unknown')
  })
})
