/** Data that any program of this machine can send to a race: it is ignored, and the race continues. */

import { connect } from 'node:net'
import { join } from 'node:path'
import { expect } from 'vitest'
import { test } from 'warmswap/vitest'
import { RacePoints } from '../../src/js/race-kit/race-points.js'
import { runProbe } from '../../src/js/race-kit/probes.js'
import { Timeline } from '../../src/js/race-kit/timeline.js'
import { watched } from '../support/uncaught.js'

/** Sends bytes and resolves when the other side has closed the connection. */
function send(to: { path: string } | { port: number; host: string }, bytes: string): Promise<void> {
  return new Promise((resolve) => {
    const socket = connect(to, () => socket.write(bytes))
    socket.on('error', () => {})
    socket.on('close', () => resolve())
    socket.resume()
  })
}

test('invalid lines on the socket of race points close their connection', async ({ tempRoot }) => {
  const stop = new AbortController()
  const points = await RacePoints.open(tempRoot, new Timeline(), stop.signal)
  const path = join(tempRoot, 'socket')
  const lines = [
    'no JSON\n',
    'null\n',
    '5\n',
    '[]\n',
    '{"name":1,"hit":{},"pid":-1}\n',
    '{"name":"a","hit":1,"pid":0}\n',
    `${'x'.repeat(100_000)}`,
  ]
  const seen = await watched(async () => {
    for (const line of lines) await send({ path }, line)
    const held = points.at('work').hold()
    const waiting = send({ path }, `${JSON.stringify({ name: 'work', hit: 1, pid: process.pid })}\n`)
    ;(await held).release()
    await waiting
  })
  expect(seen.uncaught).toEqual([])
  stop.abort()
  await points.close()
})

test('a rendezvous accepts requests whose target is not a URL, and may be released twice', async ({ race }) => {
  const rendezvous = await race.rendezvous('here')
  const { port } = new URL(rendezvous.url)
  const seen = await watched(async () => {
    for (const target of ['//', 'http://[', '/\\\\', '*']) {
      const answered = send(
        { port: Number(port), host: '127.0.0.1' },
        `GET ${target} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n`,
      )
      const held = await rendezvous.reached()
      held.release()
      held.release()
      await answered
    }
  })
  expect(seen.uncaught).toEqual([])
})

test('a beat and a probe that throw before their first await leave no unhandled rejection', async ({ race }) => {
  const outer = new AbortController()
  const fail = (): never => {
    throw Object.assign(new Error('refused'), { code: 'ECONNREFUSED' })
  }
  const seen = await watched(async () => {
    const heartbeat = race.heartbeat({ every: 5, beat: fail })
    const probe = { name: 'p', sideEffects: 'none' as const, timeoutMs: 1_000, run: fail }
    expect(await runProbe(probe, undefined, () => 'current', outer.signal)).toMatchObject({ outcome: 'refused' })
    await new Promise((resolve) => setTimeout(resolve, 50))
    heartbeat.stop()
    outer.abort(new Error('the race is over'))
  })
  expect(seen.uncaught).toEqual([])
})
