// Checks of ports while the same process starts others: pool `threads` runs tests concurrently.
// guarantee: restarts/race-ports-are-reserved

import { once } from 'node:events'
import { createServer } from 'node:net'
import { networkInterfaces } from 'node:os'
import { Worker } from 'node:worker_threads'
import { expect } from 'vitest'
import { test } from 'warmswap/vitest'
import { isFree, staysBusy } from '../../src/js/race-kit/ports.js'

/** A thread of this process that starts one process after the other. */
const storm = `
  const { spawn } = require('node:child_process')
  const { parentPort } = require('node:worker_threads')
  const next = () => spawn('true', [], { stdio: 'ignore' }).once('exit', () => next()).once('spawn', () => parentPort.postMessage('started'))
  next()`

test('a free port is free while another thread starts processes: the check does not bind', async ({ race }) => {
  const { number } = await race.port()
  const thread = new Worker(storm, { eval: true })
  let started = 0
  thread.on('message', () => ++started)
  let [looks, found] = [0, 0]
  // In turn with the starts, so that the two do meet.
  for (; started < 50; looks += 1) {
    if (!(await isFree(number))) found += 1
    await new Promise(setImmediate)
  }
  await expect(race).toLeakNothing()
  await thread.terminate()
  expect(found, `of ${looks} looks`).toBe(0)
})

const hasIpv6 = Object.values(networkInterfaces()).some((addresses) =>
  addresses?.some(({ family }) => family === 'IPv6'),
)

for (const host of ['127.0.0.1', '0.0.0.0', ...(hasIpv6 ? ['::1', '::'] : [])]) {
  test(`a port that somebody listens on at ${host} is taken, until nobody does`, async ({ race }) => {
    const { number } = await race.port()
    const server = createServer().listen(number, host)
    await once(server, 'listening')
    expect([await isFree(number), await staysBusy(number)]).toEqual([false, true])
    const settled = staysBusy(number)
    await new Promise((resolve) => server.close(resolve))
    expect(await settled, 'closed while it was looked at').toBe(false)
  })
}
