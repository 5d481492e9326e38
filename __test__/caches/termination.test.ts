// @module-tag system
/** caches/process-may-exit: a thread or process that ends takes its calls with it: no abort of Node, nothing half done, nothing left. */

import { join } from 'node:path'
import { describe, expect } from 'vitest'
import { start } from '../support/children.js'
import { repository } from '../support/paths.js'
import { test } from '../support/temp.js'

describe('caches/process-may-exit: worker threads are terminated', () => {
  test('50 times in mid-restore and 50 times in mid-snapshot: the target is whole, its stage is gone, the key is whole', {
    timeout: 240_000,
  }, async ({ memory }) => {
    const child = start(process.execPath, [join(repository, '__test__/programs/caches-terminate.mjs'), memory, '50'])
    expect(await child.ended, child.stderr()).toEqual({ code: 0, signal: null })
    const { untouched, kept, restored, last } = JSON.parse(child.lines.at(-1)!)
    expect({ restored, last }).toEqual({ restored: 'restored', last: 'restored' })
    // Half of the rounds cannot have finished.
    expect(untouched).toBeGreaterThanOrEqual(25)
    expect(kept).toBeGreaterThanOrEqual(25)
  })
})

describe('caches/process-may-exit: an exit is not held up', () => {
  test('with a hundred caches that were opened and never closed', async () => {
    const script =
      "import('warmswap').then(({ openCache }) => { for (let index = 0; index < 100; index += 1) openCache('memory:'); console.log('main ends') })"
    const child = start(process.execPath, ['-e', script], { cwd: join(repository, '__test__/programs') })
    await child.line(/^main ends$/)
    const ends = performance.now()
    expect(await child.ended).toEqual({ code: 0, signal: null })
    // 200 ms by the invariant, ten times that on a machine under load. One pause for each cache would be 5 s.
    expect(performance.now() - ends).toBeLessThan(2000)
  })

  test('without a call that runs, it waits for nothing', async () => {
    const exitOf = async (work: string): Promise<number> => {
      const script = `import('warmswap').then(async ({ openCache }) => { ${work}; process.on('exit', () => console.log('ends')) })`
      const child = start(process.execPath, ['-e', script], { cwd: join(repository, '__test__/programs') })
      await child.line(/^ends$/)
      const ends = performance.now()
      expect(await child.ended).toEqual({ code: 0, signal: null })
      return performance.now() - ends
    }
    // It was 50 ms for each process that had opened a cache. The best of several, because the machine may be busy.
    const rounds: { without: number; opened: number; used: number }[] = []
    for (let round = 0; round < 10; round += 1) {
      rounds.push({
        without: await exitOf(''),
        opened: await exitOf("openCache('memory:')"),
        used: await exitOf("await openCache('memory:').inspect('a')"),
      })
    }
    const best = (name: 'without' | 'opened' | 'used'): number => Math.min(...rounds.map((round) => round[name]))
    expect(best('opened')).toBeLessThan(best('without') + 40)
    expect(best('used')).toBeLessThan(best('without') + 40)
  })
})
