/** I14: no request is lost or answered twice across restarts of every kind. */

import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect } from 'vitest'
import { start } from '../support/children.js'
import { repository } from '../support/paths.js'
import { test } from '../support/temp.js'

const program = join(repository, '__test__/processes/coordinator-restarts.mjs')
const restarts = Number(process.env.WARMSWAP_RESTARTS ?? 50)

async function run(memory: string, count: number, requests: number): Promise<{ sent: number; answered: number; exited: number; other: string[]; wrongId: number; backwards: number; carriedOut: Map<number, number> }> {
  const log = join(memory, 'work.log')
  writeFileSync(log, '')
  const child = start(process.execPath, [program, join(memory, 'store'), log, String(count), String(requests)], { testing: true })
  try {
    const result = JSON.parse(await child.line(/^\{"sent"/))
    await child.ended
    const carriedOut = new Map<number, number>()
    for (const line of readFileSync(log, 'utf8').split('\n').filter(Boolean)) {
      const id = Number(line.split(' ')[0])
      carriedOut.set(id, (carriedOut.get(id) ?? 0) + 1)
    }
    return { ...result, carriedOut }
  } finally {
    child.signal('SIGKILL')
  }
}

describe('requests over restarts', () => {
  test(`I14: ${restarts * 10} numbered requests over ${restarts} restarts (graceful, SIGKILL, SIGSTOP, publish)`, { timeout: 240_000 }, async ({ memory }) => {
    const { sent, answered, exited, other, wrongId, backwards, carriedOut } = await run(memory, restarts, restarts * 10)
    expect(other).toEqual([])
    expect({ wrongId, backwards }).toEqual({ wrongId: 0, backwards: 0 })
    expect(answered + exited).toBe(sent)
    // Only requests that were declared idempotent (the even ones) may have been carried out more than once.
    expect([...carriedOut].filter(([id, times]) => id % 2 === 1 && times > 1)).toEqual([])
    // Most of what is not idempotent survives too: it is sent again when no worker had begun it.
    expect(answered / sent).toBeGreaterThan(0.5)
  })
})
