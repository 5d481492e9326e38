// @module-tag system
/** restarts/no-request-lost-or-answered-twice: no request is lost or answered twice across restarts of every kind. */

import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect } from 'vitest'
import { type Race, test } from 'warmswap/vitest'
import { isAlive } from '../support/alive.js'
import { repository, testingAddon } from '../support/paths.js'

const program = join(repository, '__test__/programs/coordinator-restarts.mjs')
const restarts = Number(process.env.WARMSWAP_RESTARTS ?? 50)

interface Outcomes {
  sent: number
  answered: number
  exited: number
  other: string[]
  wrongId: number
  backwards: number
}

/** With how often each request was carried out. */
async function run(
  race: Race,
  folder: string,
  requests: number,
): Promise<Outcomes & { carriedOut: Map<number, number> }> {
  const log = join(folder, 'work.log')
  writeFileSync(log, '')
  const host = await race.start({
    command: [process.execPath, program, join(folder, 'store'), log, String(restarts), String(requests)],
    env: { NAPI_RS_NATIVE_LIBRARY_PATH: testingAddon },
    ready: { line: /^\{"sent"/ },
  })
  const [outcomes = ''] = /^\{"sent".*/m.exec(host.output.stdout) ?? []
  await expect.poll(() => isAlive(host.pid), { timeout: 10_000 }).toBe(false)
  await expect(race, 'no worker of any restart').toLeakNothing()
  const carriedOut = new Map<number, number>()
  for (const line of readFileSync(log, 'utf8').split('\n').filter(Boolean)) {
    const id = Number(line.split(' ')[0])
    carriedOut.set(id, (carriedOut.get(id) ?? 0) + 1)
  }
  return { ...(JSON.parse(outcomes) as Outcomes), carriedOut }
}

describe('requests over restarts', () => {
  test(`restarts/no-request-lost-or-answered-twice: ${restarts * 10} numbered requests over ${restarts} restarts (graceful, SIGKILL, SIGSTOP, publish)`, {
    timeout: 240_000,
  }, async ({ race, tempRoot }) => {
    const { sent, answered, exited, other, wrongId, backwards, carriedOut } = await run(race, tempRoot, restarts * 10)
    expect(other).toEqual([])
    expect({ wrongId, backwards }).toEqual({ wrongId: 0, backwards: 0 })
    expect(answered + exited).toBe(sent)
    // Only requests that were declared idempotent (the even ones) may have been carried out more than once.
    expect([...carriedOut].filter(([id, times]) => id % 2 === 1 && times > 1)).toEqual([])
    // Most of what is not idempotent survives too: it is sent again when no worker had begun it.
    expect(answered / sent).toBeGreaterThan(0.5)
  })
})
