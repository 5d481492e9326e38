/** S3 starts a response with 200 before a multipart upload is complete, and can report an error in the body. */

// guarantee: caches/dialects-are-understood

import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { openCache } from 'warmswap'
import { afterAll, beforeAll, describe, expect } from 'vitest'
import { type FaultServer, startFaultServer } from '../support/fault-server.js'
import { test } from '../support/temp.js'
import { noise } from '../support/trees.js'

let server: FaultServer
beforeAll(async () => {
  server = await startFaultServer()
})
afterAll(() => server.stop())

/** Answers the first `times` completions with an error in the body. */
function fail(code: string, times: number): () => number {
  let count = 0
  server.intercept = ({ method, url }, response) => {
    if (method !== 'POST' || !/[?&]uploadId=/.test(url!) || count >= times) return false
    count += 1
    response
      .writeHead(200, { 'content-type': 'application/xml' })
      .end(
        `<?xml version="1.0" encoding="UTF-8"?>\n\n<Error><Code>${code}</Code><Message>We encountered an internal error.</Message></Error>`,
      )
    return true
  }
  return () => count
}

describe('a completion that is answered 200 with an error inside', () => {
  test('is sent again; a lasting error is the outcome, not the result of the clean-up', { timeout: 60_000 }, async ({
    memory,
  }) => {
    const tree = join(memory, 'tree')
    mkdirSync(tree)
    writeFileSync(join(tree, 'noise'), noise(9 << 20))
    let site = 0
    const snapshot = () =>
      openCache(server.store('completion')).snapshot({ key: `site-${++site}`, from: tree, deadlineMs: 20_000 })
    for (const code of ['InternalError', 'SlowDown']) {
      const once = fail(code, 1)
      expect(await snapshot(), code).toMatchObject({ outcome: 'uploaded' })
      expect(once()).toBe(1)
      const always = fail(code, Infinity)
      expect(await snapshot(), code).toMatchObject({
        outcome: 'unavailable',
        reason: expect.stringContaining(`200 ${code}`),
      })
      expect(always(), 'as often as attempts says').toBe(3)
    }
    // An error that repetition does not fix.
    const invalid = fail('InvalidPart', Infinity)
    expect(await snapshot()).toMatchObject({
      outcome: 'unavailable',
      reason: expect.stringContaining('200 InvalidPart'),
    })
    expect(invalid()).toBe(1)
  })
})
