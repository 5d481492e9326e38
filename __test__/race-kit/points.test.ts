import { expect } from 'vitest'
import { test } from 'warmswap/vitest'
import { isAlive } from '../support/alive.js'
import { ask, startServer } from '../support/race-server.js'

test('hold: the process waits at the n-th hit until it is released', async ({ race }) => {
  const { port } = await startServer(race)
  const held = race.at('work', 2).hold()
  expect((await ask(port, '/work')).status).toBe(200)
  let answered = false
  const answer = ask(port, '/work').then((value) => {
    answered = true
    return value
  })
  const point = await held
  expect((await ask(port, '/work')).status, 'the third hit passes').toBe(200)
  expect(answered).toBe(false)
  point.release()
  expect((await answer).status).toBe(200)
})

test('kill: the process dies at the point itself; the count of hits continues across a restart', async ({ race }) => {
  const { port, server } = await startServer(race)
  race.at('work', 2).kill()
  race.at('work', 3).delay(50)
  await ask(port, '/work')
  await expect(ask(port, '/work')).rejects.toThrow()
  await server.restart()
  const begun = performance.now()
  await ask(port, '/work')
  expect(performance.now() - begun).toBeGreaterThanOrEqual(49)
})

test('fail: racePoint throws the errno; kill of a held process', async ({ race }) => {
  const { port, server } = await startServer(race)
  race.at('work').fail('ENOSPC')
  expect((await ask(port, '/work')).status).toBe(507)
  const held = race.at('work', 2).hold()
  const lost = ask(port, '/work').catch((error: Error) => error)
  const { pid } = server
  ;(await held).kill()
  expect(await lost).toBeInstanceOf(Error)
  await expect.poll(() => isAlive(pid)).toBe(false)
})

test('a point during start: two plans for one hit are refused', async ({ race }) => {
  const held = race.at('before-listen').hold()
  expect(() => race.at('before-listen').kill()).toThrow(/has one/)
  const started = startServer(race)
  ;(await held).release()
  await started
})

test('rendezvous: another program waits for its response, and can be killed there', async ({ race }) => {
  const commit = await race.rendezvous('before-commit')
  const program = `fetch(${JSON.stringify(commit.url)}).then(() => console.log('COMMITTED'), () => {}); console.log('ASKED'); setInterval(() => {}, 1000)`
  const first = commit.reached()
  const one = await race.start({ command: [process.execPath, '-e', program], ready: { line: /ASKED/ } })
  const held = await first
  expect(one.output.stdout).not.toContain('COMMITTED')
  held.release()
  await expect.poll(() => one.output.stdout).toContain('COMMITTED')
  const two = await race.start({ command: [process.execPath, '-e', program], ready: { line: /ASKED/ } })
  ;(await commit.reached()).kill()
  await expect.poll(() => isAlive(two.pid)).toBe(false)
})

test('heartbeat: gaps are numbers', async ({ race }) => {
  const { port, server } = await startServer(race)
  const beat = race.heartbeat({ every: 10, beat: async (signal) => void (await ask(port, '/health', signal)) })
  await expect.poll(() => beat.gaps.length).toBeLessThanOrEqual(1)
  server.pause()
  const paused = performance.now()
  await new Promise((resolve) => setTimeout(resolve, 300))
  server.resume()
  const lasted = performance.now() - paused
  await expect.poll(() => beat.gaps.some(({ from, to }) => to - from >= lasted * 0.8)).toBe(true)
  beat.stop()
})
