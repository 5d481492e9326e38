// @module-tag system
/** Cells over worker threads that come, go and are terminated: child processes whose ends can be looked at. */

import { execFileSync, spawnSync } from 'node:child_process'
import { readFileSync, renameSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect } from 'vitest'
import { start } from '../support/children.js'
import { repository, testingAddon } from '../support/paths.js'
import { test } from '../support/temp.js'

const stateModule = join(repository, 'dist/state.js')
const program = (name: string): string => join(repository, '__test__/programs', name)

/** Runs a program on the addon with seeded bugs and returns the JSON of its last line. */
async function run<T>(
  name: string,
  args: string[],
  mutant = 'none',
  env: Record<string, string> = {},
): Promise<T & { stderr: string }> {
  const child = start(
    process.execPath,
    [
      '--expose-gc',
      '--experimental-vm-modules',
      '--no-warnings=ExperimentalWarning',
      program(name),
      stateModule,
      ...args,
    ],
    { testing: true, env: { WARMSWAP_MUTANT: mutant, ...env } },
  )
  const { code, signal } = await child.ended
  if (code !== 0) throw new Error(`${name} ended with ${signal ?? code}\n${child.lines.join('\n')}\n${child.stderr()}`)
  return { ...(JSON.parse(child.lines.at(-1) as string) as T), stderr: child.stderr() }
}

describe('state/cells-lose-no-write: eight workers, 10 000 increments each, and then they are gone', () => {
  const increment = (mutant?: string): Promise<{ value: number; version: number }> =>
    run('state-increment.mjs', ['8', '10000'], mutant)

  test('a ninth worker reads 80 000, though the main thread never loaded the addon', async () => {
    expect(await increment()).toMatchObject({ value: 80_000, version: 80_000 })
  })

  test('the check detects a compare-and-set that does not compare', async () => {
    expect((await increment('state-cas-without-compare')).value).toBeLessThan(80_000)
  })
})

// glibc unloads images, and refuses a mutex that was destroyed, on which libuv aborts; musl does neither.
const isGlibc = 'glibcVersionRuntime' in (process.report.getReport() as { header: object }).header
// In CI a compiler has to be there.
const hasCompiler = isGlibc && (process.env.CI !== undefined || spawnSync('cc', ['--version']).status === 0)
const needs = hasCompiler ? '' : ' (skipped: needs glibc and cc)'

const compile = (disk: string, source: string): string => {
  const output = join(disk, `${source}.so`)
  execFileSync('cc', ['-shared', '-fPIC', '-o', output, program(source), '-ldl'])
  return output
}

describe.skipIf(!hasCompiler)(
  `state/cells-lose-no-write: the image of the addon stays when the last worker that loaded it has gone${needs}`,
  () => {
    /** A copy of the addon whose ELF flags do not say `nodelete` (DT_FLAGS_1 with DF_1_NODELETE). */
    function withoutFlag(disk: string): string {
      const image = readFileSync(testingAddon)
      const flags = image.indexOf(Buffer.from('fbffff6f00000000', 'hex')) + 8
      expect(image.readBigUInt64LE(flags) & 8n).toBe(8n)
      image.writeBigUInt64LE(image.readBigUInt64LE(flags) & ~8n, flags)
      const copy = join(disk, 'unflagged.node')
      writeFileSync(copy, image)
      return copy
    }

    /** Runs three workers one after the other on an image that is pinned in these ways. */
    async function threeWorkers(
      disk: string,
      { flag, reference }: { flag: boolean; reference: boolean },
    ): Promise<unknown> {
      const env: Record<string, string> = { NAPI_RS_NATIVE_LIBRARY_PATH: flag ? testingAddon : withoutFlag(disk) }
      if (!reference) env.LD_PRELOAD = compile(disk, 'unpinned.c')
      const addon = join(disk, 'empty.node')
      renameSync(compile(disk, 'empty-addon.c'), addon)
      const child = start(process.execPath, [program('state-last-worker.mjs'), stateModule, addon], { env })
      const { code } = await child.ended
      expect([code, child.stderr()]).toEqual([0, ''])
      return JSON.parse(child.lines.at(-1) as string)
    }

    const kept = { values: [1, 2, 3], mapped: [true, true, true] }
    test.for([
      { how: 'as it is built', flag: true, reference: true },
      { how: 'by the linker flag alone', flag: true, reference: false },
      { how: 'by the reference of retain_current_module_for_unload_safety alone', flag: false, reference: true },
    ])('$how', async (pins, { disk }) => {
      expect(await threeWorkers(disk, pins)).toEqual(kept)
    })

    test('the check detects an image without any pin: it is unloaded, and each worker counts from one', async ({
      disk,
    }) => {
      expect(await threeWorkers(disk, { flag: false, reference: false })).toEqual({
        values: [1, 1, 1],
        mapped: [false, false, false],
      })
    })
  },
)

describe('state/terminated-threads-are-safe: workers are terminated in mid-call', () => {
  const terminate = (
    count: string,
    mutant?: string,
  ): Promise<{ grownBytes: number; waiting: number; stderr: string }> => run('state-terminate.mjs', [count], mutant)

  test('200 times: nothing aborts, nothing is printed, memory does not grow, no wait is left, and the process ends by itself', {
    // 44 s on 2 quiet cores.
    timeout: 300_000,
  }, async () => {
    const { grownBytes, waiting, stderr } = await terminate('200')
    expect(stderr).toBe('')
    expect(waiting).toBe(0)
    expect(grownBytes).toBeLessThan(10 * 2 ** 20)
  })

  test('the check detects waits that outlive their thread', async () => {
    expect((await terminate('3', 'state-wait-outlives-its-thread')).waiting).toBeGreaterThan(0)
  })
})

describe.skipIf(!hasCompiler)(
  `state/terminated-threads-are-safe: workers are terminated while our threads settle their waits, slowly${needs}`,
  () => {
    /** With the window between the last use of a callback and its release made wide. */
    const terminate = (disk: string, mutant?: string): Promise<{ terminated: number; stderr: string }> => {
      return run('state-terminate-settling.mjs', ['20'], mutant, { LD_PRELOAD: compile(disk, 'slow-mutexes.c') })
    }

    test('20 times with 100 waits each: nothing aborts, nothing is printed', async ({ disk }) => {
      expect(await terminate(disk)).toEqual({ terminated: 20, stderr: '' })
    })

    test('the check detects a callback that is released while its environment ends', async ({ disk }) => {
      await expect(terminate(disk, 'listener-released-outside-the-lock')).rejects.toThrow(/ended with SIG/)
    })
  },
)

describe('a write in a worker wakes the main thread', () => {
  const wake = (timeoutMs: string, mutant?: string): Promise<{ ended: string }> =>
    run('state-wake.mjs', [timeoutMs], mutant)

  test('which reads what was written', async () => {
    expect(await wake('50000')).toMatchObject({ ended: 'hello' })
  })

  test('the check detects a write that wakes no waiter', async () => {
    expect(await wake('3000', 'state-write-wakes-nobody')).toMatchObject({ ended: 'ERR_TIMEOUT' })
  })
})

test('state/repeated-registration-is-safe: a hundred registrations, also from a vm context, abort nothing and find the same root', async () => {
  expect(await run('state-realms.mjs', ['registrations'])).toMatchObject({
    registrations: 100,
    sameRealm: true,
    sameCell: true,
    stderr: '',
  })
})

test('state/vm-contexts-share: a vm context reads the object that the main realm defined', async () => {
  expect(await run('state-realms.mjs', ['context'])).toMatchObject({
    isOtherRealm: true,
    identical: true,
    definedThere: true,
    realmScopesDiffer: true,
  })
})
