// @module-tag storm
// guarantee: restarts/race-finds-the-edge

import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect } from 'vitest'
import { test } from 'warmswap/vitest'
import { answerOf, ask, read, startServer, sweepOf } from '../support/race-server.js'

test("health 200 as ready: the sweep finds the edge, within 10 ms of the server's own measurement", {
  timeout: 120_000,
}, async ({ race, tempRoot }) => {
  const { port, server } = await startServer(race, { UNREADY_MS: '150' })
  const truths: number[] = []
  const report = await race.sweep({
    ...sweepOf(port, server),
    delays: [0, 100, 300],
    repeats: 4,
    edgeMs: 10,
    control: { ...read, name: 'no restart' },
    probes: [
      {
        ...read,
        run: async (target, signal) => {
          const answer = await ask(target, '/data', signal)
          truths.push(answer.readyAt - server.ready.before)
          return answerOf(answer)
        },
      },
    ],
  })
  console.log(String(report))
  const atOnce = report.points.find(({ delayMs }) => delayMs === 0)
  console.log(`health-200-as-ready: detection rate at 0 ms ${(atOnce?.pFail ?? 0) * (atOnce?.n ?? 0)} of ${atOnce?.n}`)
  const { lastFailMs, firstOkMs } = report.edge.read as { lastFailMs: number; firstOkMs: number }
  const [least, most] = [Math.min(...truths), Math.max(...truths)]
  expect(firstOkMs - lastFailMs).toBeLessThanOrEqual(10)
  expect(lastFailMs).toBeLessThanOrEqual(most)
  // A probe that is sent late may find it ready before its delay.
  expect(firstOkMs).toBeGreaterThanOrEqual(least - 10)
  expect(atOnce?.outcomes).toEqual({ 'server-error': 4 })
  expect(report).toSettleWithin(300)
  expect(() => expect(report).toSettleWithin(50)).toThrow(/'read' failed \d+ of \d+ times at 50 ms or later/)
  expect(() => expect(report).toSettleWithin(300, { confidence: 0.99 })).toThrow(/takes 459 samples/)
  expect(() => expect(report).toSettleWithin(301)).toThrow(/was not tried/)
  expect(String(report)).toMatch(/control: \d+ of \d+ ok without a restart/)
  expect(report.command).toBe(
    `WARMSWAP_RACE_SEED=${race.seed} npx vitest run __test__/race-kit/sweep-edge.test.ts -t "health 200 as ready. the sweep finds the edge. within 10 ms of the server.s own measurement"`,
  )

  const file = join(tempRoot, 'report/sweep.html')
  await report.html(file)
  const page = readFileSync(file, 'utf8')
  expect(page).toContain('edge between')
  expect(page.replaceAll(/http:\/\/127[^<"]*/g, ''), 'nothing is loaded from anywhere').not.toMatch(
    /(src|href)=|url\(|https?:/,
  )
})
