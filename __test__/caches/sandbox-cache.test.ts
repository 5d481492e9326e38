// @module-tag system
/** examples/sandbox-cache: deco-cx/deco#1182 on a real S3 server. Today's method loses data, warmswap does not. */

import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { repository } from '../support/paths.js'
import { s3sProgram } from '../support/s3.js'

// biome-ignore lint/suspicious/noExplicitAny: the examples are JavaScript.
type Anything = any
const example = (name: string): Promise<Record<string, Anything>> =>
  import(pathToFileURL(join(repository, 'examples/sandbox-cache', name)).href)
const isThere = s3sProgram() !== undefined

describe.skipIf(!isThere && process.env.CI === undefined)(
  `examples/sandbox-cache${isThere ? '' : ' (NOT RUN: s3s-fs could not be installed)'}`,
  () => {
    let server: { stop(): Promise<void> }
    beforeAll(async () => {
      server = await (await example('server.js')).startServer()
    })
    afterAll(() => server?.stop())

    const played = async (
      way: string,
    ): Promise<Record<string, { outcome: string; modules?: string; seconds: number }>> =>
      (await example('scenario.js')).play(server, await example(`ways/${way}.js`))
    // Where the line is cut between two files none is torn.
    const some = { modules: expect.stringMatching(/^\d+ of 304(, \d+ torn)?$/) as unknown as string }

    test("today's way: half a cache after an outage and a damaged object, no end on a stalled stream, the good cache replaced by a few modules and by none", {
      timeout: 180_000,
    }, async () => {
      expect(await played('today')).toMatchObject({
        'first wake-up': { outcome: 'failed (NoSuchKey)', modules: 'none' },
        'snapshot when ready': { outcome: 'ok' },
        'second wake-up': { outcome: 'ok', modules: 'all' },
        'outage during restore': some,
        'stalled stream': { outcome: 'hangs', ...some },
        'wake-up after that outage': { outcome: 'ok', modules: 'all' },
        'damaged object': some,
        'snapshot over it': { outcome: 'ok' },
        'wake-up after that': { outcome: 'ok', modules: 'all' },
        'premature snapshot': { outcome: 'ok' },
        'wake-up after the few': { outcome: 'ok', modules: '3 of 304' },
        'empty snapshot': { outcome: 'ok' },
        'wake-up after the empty one': { outcome: 'ok', modules: 'none' },
      })
    })

    test('warmswap: all of the modules or none, in time, and the good cache is kept', {
      timeout: 180_000,
    }, async () => {
      const seen = await played('warmswap')
      expect(seen).toMatchObject({
        'first wake-up': { outcome: 'miss', modules: 'none' },
        'snapshot when ready': { outcome: 'uploaded' },
        'second wake-up': { outcome: 'restored', modules: 'all' },
        'outage during restore': { outcome: 'unavailable', modules: 'none' },
        'stalled stream': { outcome: 'timeout', modules: 'none' },
        'outage during snapshot': { outcome: 'unavailable' },
        'wake-up after that outage': { outcome: 'restored', modules: 'all' },
        'damaged object': { outcome: 'corrupt', modules: 'none' },
        'snapshot over it': { outcome: 'uploaded' },
        'wake-up after that': { outcome: 'restored', modules: 'all' },
        'premature snapshot': { outcome: 'shrunk' },
        'wake-up after the few': { outcome: 'restored', modules: 'all' },
        'snapshot when ready again': { outcome: 'unchanged' },
        'empty snapshot': { outcome: 'empty' },
        'wake-up after the empty one': { outcome: 'restored', modules: 'all' },
      })
      // Its deadlines are 5 s for a restore and 30 s for a snapshot; nothing here comes near them.
      for (const [step, { outcome }] of Object.entries(seen)) expect(outcome, step).not.toBe('hangs')
    })
  },
)
