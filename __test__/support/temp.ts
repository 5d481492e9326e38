/**
 * Folders that are gone after the test, on memory and on disk. The removal is repeated because what was killed, or works
 * behind a call (the collection after a publish), may still write.
 */

import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test as base } from 'vitest'

/** An empty folder below `parent`; the caller removes it. */
export function makeTemp(parent: string = tmpdir()): string {
  return mkdtempSync(join(parent, 'warmswap-test-'))
}

/** vitest's `test` with a folder on disk (`disk`) and one on tmpfs (`memory`). */
export const test = base.extend<{ disk: string; memory: string }>({
  disk: async ({}, use) => {
    const path = makeTemp()
    await use(path)
    rmSync(path, { recursive: true, force: true, maxRetries: 10 })
  },
  memory: async ({}, use) => {
    const path = makeTemp('/dev/shm')
    await use(path)
    rmSync(path, { recursive: true, force: true, maxRetries: 10 })
  },
})
