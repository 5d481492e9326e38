/**
 * Folders that are removed after the test, in memory and on disk. The removal is repeated, because processes that were
 * killed, and work in the background (the collection after a publish), may still write.
 */

import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test as base } from 'vitest'

/** An empty folder below `parent`; the caller removes it. */
export function makeTemp(parent: string = tmpdir()): string {
  return mkdtempSync(join(parent, 'warmswap-test-'))
}

/**
 * Removes a folder and everything in it. Node's own retries do not list the folder again, so files written between its
 * listing and its end would be kept.
 */
export function removeTemp(path: string): void {
  for (let attempt = 1; ; attempt += 1) {
    try {
      return void rmSync(path, { recursive: true, force: true })
    } catch (error) {
      if (attempt === 50) throw error
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 100)
    }
  }
}

/** vitest's `test` with a folder on disk (`disk`) and one on tmpfs (`memory`). */
export const test = base.extend<{ disk: string; memory: string }>({
  disk: async ({}, use) => {
    const path = makeTemp()
    await use(path)
    removeTemp(path)
  },
  memory: async ({}, use) => {
    const path = makeTemp('/dev/shm')
    await use(path)
    removeTemp(path)
  },
})
