// @module-tag system
/** examples/sst-reload: today's method loses the bundle, warmswap does not. */

import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { describe, expect, test } from 'vitest'
import { repository } from '../support/paths.js'

// biome-ignore lint/suspicious/noExplicitAny: the examples are JavaScript.
type Anything = any
const example = (name: string): Promise<Record<string, Anything>> =>
  import(pathToFileURL(join(repository, 'examples/sst-reload', name)).href)

describe('examples/sst-reload', () => {
  test("today's method: overlapping builds leave everything but the bundle, and the server considers it built", async () => {
    const { play } = await example('scenario.js')
    const { createWay } = await example('ways/today.js')
    expect(await play(createWay)).toEqual({
      firstStart: 'hello 1',
      filesAfterOverlap: ['node_modules', 'resource.enc'],
      startAfterOverlap: 'ERR_MODULE_NOT_FOUND',
      runningWorkerAfterFailedBuild: { error: expect.stringMatching(/ERR_MODULE_NOT_FOUND|ENOENT/) },
      startAfterFailedBuild: 'ERR_MODULE_NOT_FOUND',
    })
  })

  test('warmswap: the bundle exists after all of it', async () => {
    const { play } = await example('scenario.js')
    const { createWay } = await example('ways/warmswap.js')
    expect(await play(createWay)).toEqual({
      firstStart: 'hello 1',
      filesAfterOverlap: ['bundle.mjs', 'node_modules', 'resource.enc'],
      startAfterOverlap: 'hello 2',
      runningWorkerAfterFailedBuild: { answer: 'hello 3', cwd: expect.stringMatching(/gens\/\d+\/tree$/) },
      startAfterFailedBuild: 'hello 3',
    })
  })
})
