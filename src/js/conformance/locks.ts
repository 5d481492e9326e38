/** Cases of the lock format: docs/protocol/locks.md. */

import { mkdirSync, readFileSync, readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { acquireLock, inspectLock, tryLock, withLock } from '../locks/index.js'
import { type CaseContext, check, numbered, same } from './cases.js'

const WAIT_MS = 20_000

const lockIn = (folder: string): string => join(folder, 'build.lock')

const cases = [
  {
    title: 'an acquired lock is held for every other process, and names its holder',
    needs: ['locks/acquire'],
    run: async ({ folder, program }: CaseContext) => {
      const path = lockIn(folder)
      await program.expect('locks/acquire', { path, waitMs: 0 })
      const { held, holder, liveness } = await inspectLock(path)
      same('"held"', held, true)
      same('"liveness"', liveness, 'alive')
      check(Number.isInteger(holder?.pid), 'the record has no pid')
      same('tryLock()', await tryLock(path), null)
    },
  },
  {
    title: 'a released lock is free when the release was answered',
    needs: ['locks/acquire', 'locks/release'],
    run: async ({ folder, program }: CaseContext) => {
      const path = lockIn(folder)
      const { lock } = await program.expect('locks/acquire', { path, waitMs: 0 })
      await program.expect('locks/release', { lock })
      const next = await tryLock(path)
      check(next !== null, 'tryLock() returned null after the release')
      next.release()
    },
  },
  {
    title: 'the lock of a killed holder is taken over',
    needs: ['locks/acquire'],
    run: async ({ folder, program }: CaseContext) => {
      const path = lockIn(folder)
      await program.expect('locks/acquire', { path, waitMs: 0 })
      await program.kill()
      const lock = await acquireLock(path, { timeoutMs: WAIT_MS })
      lock.release()
    },
  },
  {
    title: 'a held lock is busy',
    needs: ['locks/acquire'],
    run: async ({ folder, program }: CaseContext) => {
      const path = lockIn(folder)
      await withLock(path, () => program.refuses('busy', 'locks/acquire', { path, waitMs: 0 }))
    },
  },
  {
    title: 'each acquisition has a higher generation, the fencing token',
    needs: ['locks/acquire', 'locks/release'],
    run: async ({ folder, program }: CaseContext) => {
      const path = lockIn(folder)
      const first = await acquireLock(path)
      first.release()
      const { lock, generation } = await program.expect('locks/acquire', { path, waitMs: 0 })
      check(Number(generation) > first.generation, `generation ${generation} is not above ${first.generation}`)
      await program.expect('locks/release', { lock })
      const third = await acquireLock(path)
      check(third.generation > Number(generation), `generation ${third.generation} is not above ${generation}`)
      third.release()
    },
  },
  {
    title: 'two processes that add 1 to a number under the lock lose no addition',
    needs: ['locks/acquire', 'locks/release'],
    run: async ({ folder, program }: CaseContext) => {
      const path = lockIn(folder)
      const counter = join(folder, 'counter')
      writeFileSync(counter, '0')
      const add = (): void => writeFileSync(counter, String(Number(readFileSync(counter, 'utf8')) + 1))
      const ours = async (): Promise<void> => {
        for (let turn = 0; turn < 30; turn += 1) await withLock(path, add, { timeoutMs: WAIT_MS })
      }
      const theirs = async (): Promise<void> => {
        for (let turn = 0; turn < 30; turn += 1) {
          const { lock } = await program.expect('locks/acquire', { path, waitMs: WAIT_MS })
          add()
          await program.expect('locks/release', { lock })
        }
      }
      await Promise.all([ours(), theirs()])
      same('the number', readFileSync(counter, 'utf8'), '60')
    },
  },
  {
    title: 'an ordinary folder at the path of a lock is refused, and keeps its files',
    needs: ['locks/acquire'],
    run: async ({ folder, program }: CaseContext) => {
      const path = lockIn(folder)
      mkdirSync(join(path, 'src'), { recursive: true })
      writeFileSync(join(path, 'src/index.js'), 'work')
      await program.refuses('refused', 'locks/acquire', { path, waitMs: 0 })
      same('the folder', readdirSync(path, { recursive: true }).sort(), ['src', 'src/index.js'])
    },
  },
  {
    title: 'an inspection reports the holder, and no holder after the release',
    needs: ['locks/inspect'],
    run: async ({ folder, program }: CaseContext) => {
      const path = lockIn(folder)
      const found = await withLock(path, () => program.expect('locks/inspect', { path }))
      same('the answer while it is held', found, { held: true, pid: process.pid })
      same('"held" after the release', (await program.expect('locks/inspect', { path })).held, false)
    },
  },
]

export const locks = numbered('locks', cases)
