// @module-tag storm
/** A disk that stalls for real: an ext4 image whose writes are held by fsfreeze. */

import { execFileSync, spawnSync } from 'node:child_process'
import { mkdirSync, readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { openCache, type Progress } from 'warmswap'
import { describe, expect } from 'vitest'
import { startFaultServer } from '../support/fault-server.js'
import { makeTemp, removeTemp, test as base } from '../support/temp.js'
import { digest, makeTree, noise } from '../support/trees.js'

const run = (...command: string[]): string =>
  execFileSync(command[0]!, command.slice(1), { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] })

/** A filesystem that can be frozen, or undefined where it cannot be mounted. */
function mounted(): { path: string; freeze(): void; thaw(): void; remove(): void } | undefined {
  const folder = makeTemp()
  const [image, path] = [join(folder, 'image'), join(folder, 'mount')]
  mkdirSync(path)
  const isDone = (...command: string[]): boolean =>
    spawnSync(command[0]!, command.slice(1), { stdio: 'ignore' }).status === 0
  if (
    !isDone('truncate', '-s', '192M', image) ||
    !isDone('mkfs.ext4', '-q', image) ||
    !isDone('mount', '-o', 'loop', image, path)
  ) {
    removeTemp(folder)
    return undefined
  }
  let isFrozen = false
  const thaw = (): void => {
    if (isFrozen) run('fsfreeze', '--unfreeze', path)
    isFrozen = false
  }
  return {
    path,
    thaw,
    freeze: () => {
      run('fsfreeze', '--freeze', path)
      isFrozen = true
    },
    remove: () => {
      thaw()
      // A thread of ours may still hold a directory of it for a moment.
      for (let attempt = 0; attempt < 50 && !isDone('umount', path); attempt += 1) spawnSync('sleep', ['0.1'])
      removeTemp(folder)
    },
  }
}

const probe = mounted()
probe?.remove()
const test = base.extend<{ slow: NonNullable<ReturnType<typeof mounted>> }>({
  slow: async ({}, use) => {
    const disk = mounted()
    if (disk === undefined) throw new Error('no image can be mounted here: root and a loop device are needed')
    await use(disk)
    disk.remove()
  },
})

const DEADLINE_MS = 2000
/** The invariant says 100 ms; ten times that on a machine under load. */
const LATE_MS = 1000

describe.skipIf(probe === undefined && process.env.CI === undefined)(
  `caches/deadline-is-absolute, archives/no-late-commit: a disk that stalls${probe === undefined ? ' (NOT RUN: needs root and a loop device)' : ''}`,
  () => {
    test.for(['before the call', 'while it unpacks'])(
      '%s: a restore settles at its deadline, and nothing is committed when the disk is back',
      async (phase, { slow, memory }) => {
        const tree = makeTree(join(memory, 'tree'))
        for (let index = 1; index <= 8; index += 1) writeFileSync(join(tree, `noise-${index}`), noise(8 << 20, index))
        const into = join(slow.path, 'into')
        mkdirSync(into)
        writeFileSync(join(into, 'mine'), 'mine')
        const before = digest(into)
        const server = await startFaultServer()
        const cache = openCache(server.store())
        expect(await cache.snapshot({ key: 'site', from: tree })).toMatchObject({ outcome: 'uploaded' })
        // Two parts of 8 MiB each half second: when the first file is there the last ones are not.
        server.bytesPerSecond = 16 << 20
        let isFrozen = false
        const freeze = (): void => {
          if (isFrozen) return
          isFrozen = true
          slow.freeze()
        }
        if (phase === 'before the call') freeze()
        const onProgress = ({ bytes }: Progress): void => void (bytes > 0 && freeze())
        const started = performance.now()
        const result = await cache.restore({
          key: 'site',
          into,
          mode: 'replace',
          concurrency: 2,
          deadlineMs: DEADLINE_MS,
          onProgress,
        })
        const ms = performance.now() - started
        expect(isFrozen, 'the disk was stalled during the call').toBe(true)
        expect(result).toMatchObject({ ok: false, outcome: 'timeout' })
        expect(ms).toBeLessThan(DEADLINE_MS + LATE_MS)
        slow.thaw()
        // The work resumes, finds that its call has ended, and cleans up.
        await expect
          .poll(() => readdirSync(slow.path).filter((name) => name !== 'lost+found'), { timeout: 20_000 })
          .toEqual(['into'])
        expect(digest(into)).toEqual(before)
        await cache.close()
        await server.stop()
      },
    )

    test('under a snapshot into a folder: it settles at its deadline, and readers see the old generation', async ({
      slow,
      memory,
    }) => {
      const tree = makeTree(join(memory, 'tree'))
      const store = `file://${join(slow.path, 'store')}`
      const cache = openCache(store)
      const first = await cache.snapshot({ key: 'site', from: tree })
      writeFileSync(join(tree, 'more'), noise(1 << 20))
      slow.freeze()
      const started = performance.now()
      expect(await cache.snapshot({ key: 'site', from: tree, deadlineMs: DEADLINE_MS })).toMatchObject({
        ok: false,
        outcome: 'timeout',
      })
      expect(performance.now() - started).toBeLessThan(DEADLINE_MS + LATE_MS)
      slow.thaw()
      await cache.close()
      expect(await cache.inspect('site').catch(() => openCache(store).inspect('site'))).toMatchObject({
        generation: first.generation,
      })
    })
  },
)
