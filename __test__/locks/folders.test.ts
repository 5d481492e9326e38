/** locks/user-files-are-kept: every entry point, called with an ordinary folder or with what may be another program's lock: no file of a user is lost. */

import { existsSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect } from 'vitest'
import { acquireLock, inspectLock, prewarm, sweepLocks, tryLock, waitForLock, withLock } from 'warmswap'
import { type Child, start } from '../support/children.js'
import { repository } from '../support/paths.js'
import { test } from '../support/temp.js'

const cli = (...args: string[]): Child => start(process.execPath, [join(repository, 'dist/cli.js'), 'lock', ...args])
/** As good as never. */
const timeoutMs = 600_000

const entryPoints: Record<
  string,
  (path: string, options: { timeoutMs: number; foreignStaleMs: number }) => Promise<unknown>
> = {
  acquireLock: (path, options) => acquireLock(path, options),
  withLock: (path, options) => withLock(path, () => 'ran', options),
  tryLock: (path, { foreignStaleMs }) => tryLock(path, { foreignStaleMs }),
  waitForLock: (path, options) => waitForLock(path, options),
  prewarm: (path, options) => prewarm(path, { isReady: () => undefined, run: () => 'ran' }, options),
}

function project(parent: string): string {
  const path = join(parent, 'project')
  mkdirSync(join(path, 'src'), { recursive: true })
  writeFileSync(join(path, 'src/index.js'), 'export default 1\n')
  writeFileSync(join(path, 'package.json'), '{}\n')
  return path
}

function expectWhole(path: string): void {
  expect(existsSync(join(path, 'src/index.js')) && existsSync(join(path, 'package.json'))).toBe(true)
}

describe.each(Object.entries(entryPoints))('%s', (_name, call) => {
  test('locks/user-files-are-kept: rejects an ordinary folder immediately, with the way out', async ({ memory }) => {
    const path = project(memory)
    const options = { timeoutMs, foreignStaleMs: 50 }
    for (let round = 0; round < 2; round += 1) {
      await expect(call(path, options)).rejects.toMatchObject({
        code: 'ERR_INVALID_ARGUMENT',
        message: expect.stringContaining(`Use '${path}.lock' instead`),
      })
    }
    expectWhole(path)
    expect(readdirSync(memory)).toEqual(['project'])
  })
})

test('locks/user-files-are-kept: lock run rejects an ordinary folder, and lock why and ls warn about it', async ({
  memory,
}) => {
  const path = project(memory)
  const run = cli('run', path, '--', 'true')
  expect((await run.ended).code).not.toBe(0)
  expect(run.stderr()).toContain(`Use '${path}.lock' instead`)
  const why = cli('why', path)
  expect(await why.line(/./)).toContain(`${path} cannot be locked`)
  expect(await inspectLock(path)).toMatchObject({
    held: false,
    holder: null,
    warning: expect.stringContaining('an ordinary directory'),
  })
  expect(await sweepLocks(memory)).toEqual({ removed: [], held: [] })
  expectWhole(path)
})

test('locks/user-files-are-kept: a few files are waited for until timeoutMs, named, and kept', async ({ memory }) => {
  const path = join(memory, 'key.lock')
  mkdirSync(path)
  writeFileSync(join(path, 'pid'), '17')
  const notes: (string | undefined)[] = []
  const wait = acquireLock(path, {
    timeoutMs: 300,
    foreignStaleMs: 50,
    onWait: ({ holder }) => void notes.push(holder?.note),
  })
  await expect(wait).rejects.toMatchObject({
    code: 'ERR_LOCK_TIMEOUT',
    message: expect.stringContaining("contains 'pid'"),
  })
  expect(notes[0]).toContain("contains 'pid'")
  expect(await tryLock(path, { foreignStaleMs: 50 })).toBeNull()
  expect(await cli('why', path).line(/./)).toContain("contains 'pid'")
  expect(readdirSync(path)).toEqual(['pid'])
})
