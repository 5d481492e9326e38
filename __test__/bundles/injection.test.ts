/**
 * I6, I7 from outside: strace kills the process, or fails the call, at system calls of the addon as it is shipped,
 * without any help of ours inside. The full sweep is __test__/rust/bundles/faults.rs; this proves that its points are
 * where the kernel is entered.
 */

import { spawnSync } from 'node:child_process'
import { existsSync, readFileSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect } from 'vitest'
import { type BundleStore, openBundles } from 'warmswap'
import { repository } from '../support/paths.js'
import { test } from '../support/temp.js'

const publisher = join(repository, '__test__/processes/bundles-publisher.mjs')

/** The variants of one call that a libc or rustix may choose. */
const calls = {
  flock: 'flock',
  open: 'open,openat',
  rename: 'rename,renameat,renameat2',
  symlink: 'symlink,symlinkat',
  unlink: 'unlink,unlinkat',
  write: 'write,pwrite64',
}

/** Where in the store each is struck, and at which call of this name there: generation 3 is published, generation 1 collected. */
const points: { call: keyof typeof calls; at: string; count?: number }[] = [
  { call: 'open', at: 'writer.lock' },
  { call: 'open', at: 'writer.lock', count: 2 },
  { call: 'flock', at: 'writer.lock' },
  { call: 'write', at: 'writer.lock' },
  { call: 'open', at: 'pins/000003' },
  { call: 'write', at: 'pins/000003' },
  { call: 'rename', at: 'gens/000003' },
  { call: 'open', at: 'current.json.tmp' },
  { call: 'write', at: 'current.json.tmp' },
  { call: 'symlink', at: 'current.tmp' },
  { call: 'rename', at: 'current.tmp' },
  { call: 'rename', at: 'current.json' },
  { call: 'flock', at: 'pins/000001' },
  { call: 'unlink', at: 'pins/000001' },
  { call: 'rename', at: 'gens/000001' },
]

async function publish(store: BundleStore): Promise<number> {
  await using stage = await store.stage()
  await stage.write('a.txt', 'next')
  return (await stage.publish()).number
}

const traces = canTrace()

function canTrace(): boolean {
  return spawnSync('strace', ['-qq', '-e', 'inject=getuid:error=EIO', '-e', 'trace=getuid', 'true'], { stdio: 'ignore' }).status === 0
}

describe.skipIf(!traces)(`I6, I7 from outside${traces ? '' : ' (NOT RUN: needs strace and the right to trace)'}`, () => {
  const cases = points.flatMap(({ count = 1, ...point }) => ['signal=KILL', 'error=EIO'].map((what) => ({ ...point, count, what })))
  test.for(cases)('$what at $call $count of $at: the next open and publish succeed and leave nothing', async ({ call, at, count, what }, { memory }) => {
    const root = join(memory, 'store')
    const before = await openBundles(root)
    await publish(before)
    await publish(before)
    await before.close()

    const log = join(memory, 'log')
    spawnSync('strace', ['-f', '-qq', '-o', log, '-P', join(root, at), '-e', `trace=${calls[call]}`, '-e', `inject=${calls[call]}:${what}:when=${count}`, process.execPath, publisher, root], { cwd: repository, timeout: 30_000, killSignal: 'SIGKILL' })
    expect(readFileSync(log, 'utf8'), 'it was struck').toMatch(what === 'error=EIO' ? /EIO .*\(INJECTED\)/ : /killed by SIGKILL/)

    await using store = await openBundles(root)
    expect([2, 3]).toContain(store.current()?.number)
    expect(await store.verify()).toEqual({ ok: true, problems: [] })
    const number = await publish(store)
    await store.collect()
    expect(store.current()?.number).toBe(number)
    for (const folder of ['owners', 'stage', 'trash']) expect(readdirSync(join(root, folder)), folder).toEqual([])
    expect(readdirSync(join(root, 'gens'))).toEqual(readdirSync(join(root, 'pins')))
    expect(readdirSync(join(root, 'gens')).length).toBe(2)
    expect(readdirSync(root).filter((name) => name.endsWith('.tmp'))).toEqual([])
    expect(existsSync(join(root, 'current/a.txt'))).toBe(true)
  })
})
