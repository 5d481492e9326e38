// guarantee: restarts/race-leaves-nothing

import { createServer } from 'node:http'
import { createServer as createTcpServer } from 'node:net'
import { once } from 'node:events'
import { expect } from 'vitest'
import { type Instance, test } from 'warmswap/vitest'
import { isAlive } from '../support/alive.js'
import { livingProcesses } from './fixtures/processes.js'
import { ask, serverProgram, startServer } from '../support/race-server.js'

const node = process.execPath

test('a process is ready when it reports so, and its responses carry its nonce', async ({ race }) => {
  const { port, server } = await startServer(race)
  const answer = await ask(port, '/health')
  expect(answer).toMatchObject({ nonce: server.nonce, pid: server.pid, incarnation: 1 })
  expect(server.ready.after).toBeLessThanOrEqual(server.ready.before)
  expect(server.output.stdout).toMatch(/^READY/)
})

test('it can report so with a line, a message, or over HTTP in the body', async ({ race }) => {
  const byLine = await race.start({ command: [node, serverProgram], ready: { line: /^READY/ } })
  const byMessage = await race.start({ command: [node, serverProgram], ready: { ipc: 'ready' } })
  const port = await race.port()
  const byBody = await race.start({
    command: `"${node}" "${serverProgram}"`,
    port,
    ready: { http: `http://127.0.0.1:${port.number}/health` },
    nonceFrom: 'json',
  })
  expect(byMessage.ready.after, "the child's own clock is exact").toBe(byMessage.ready.before)
  for (const { ready } of [byLine, byMessage, byBody]) expect(ready.before).toBeGreaterThanOrEqual(ready.after)
})

test('a restart keeps the port, changes nonce and process, and concurrent operations queue up', async ({ race }) => {
  const { port, server } = await startServer(race)
  const first = { pid: server.pid, nonce: server.nonce }
  const [one, two] = await Promise.all([server.restart(), server.restart('kill')])
  expect(two.after).toBeGreaterThan(one.before)
  expect(server.nonce).not.toBe(first.nonce)
  expect(isAlive(first.pid)).toBe(false)
  expect(await ask(port, '/health')).toMatchObject({ nonce: server.nonce, incarnation: 3 })
})

test('a paused process does not answer, and a stop still ends it', async ({ race }) => {
  const { port, server } = await startServer(race)
  server.pause()
  await expect(ask(port, '/health', AbortSignal.timeout(200))).rejects.toThrow(/timeout|aborted/)
  server.resume()
  await ask(port, '/health')
  server.pause()
  const { pid } = server
  await server.stop()
  expect(isAlive(pid)).toBe(false)
})

test('a process that ignores SIGTERM is killed after the deadline', async ({ race }) => {
  const { server } = await startServer(race, { IGNORE_TERM: '1' })
  const begun = performance.now()
  await server.stop({ deadlineMs: 200 })
  expect(performance.now() - begun).toBeGreaterThanOrEqual(195)
  expect(isAlive(server.pid)).toBe(false)
})

test('exit during start, no sign of readiness, a wrong command: named errors with the output', async ({ race }) => {
  await expect(
    race.start({ command: [node, '-e', 'console.log("about to fail"); process.exit(3)'], ready: { line: /ready/ } }),
  ).rejects.toMatchObject({
    code: 'ERR_WORKER_EXITED',
    message: expect.stringMatching(/exit code 3[\s\S]*about to fail/),
  })
  await expect(race.start({ command: ['/no/such/program'], ready: { line: /ready/ } })).rejects.toMatchObject({
    code: 'ERR_WORKER_EXITED',
    message: expect.stringContaining('ENOENT'),
  })
})

test("a process that is never ready ends with the last observation, before the test's time limit", {
  timeout: 4000,
}, async ({ race }) => {
  const port = await race.port()
  const never = race.start({
    command: [node, '-e', 'setInterval(() => {}, 1000)'],
    port,
    ready: { http: `http://127.0.0.1:${port.number}/` },
  })
  await expect(never).rejects.toMatchObject({ code: 'ERR_NOT_READY', message: expect.stringContaining('ECONNREFUSED') })
})

test('a response of another process is not readiness', { timeout: 4000 }, async ({ race }) => {
  const stranger = createServer((_, response) => response.end('hello')).listen(0, '127.0.0.1')
  await once(stranger, 'listening')
  const url = `http://127.0.0.1:${(stranger.address() as { port: number }).port}/`
  const fooled = race.start({ command: [node, '-e', 'setInterval(() => {}, 1000)'], ready: { http: url, nonce: true } })
  await expect(fooled).rejects.toMatchObject({
    code: 'ERR_NOT_READY',
    message: expect.stringContaining('somebody else'),
  })
  stranger.close()
})

test('a health endpoint that streams without end counts as a response', async ({ race }) => {
  const program = `require('node:http').createServer((q, s) => { s.writeHead(200, { 'x-race-nonce': process.env.WARMSWAP_RACE_NONCE }); setInterval(() => s.write('data: x\\n\\n'), 5) }).listen(process.env.PORT)`
  const port = await race.port()
  const server = await race.start({
    command: [node, '-e', program],
    port,
    ready: { http: `http://127.0.0.1:${port.number}/`, nonce: true },
  })
  expect(server.ready.before).toBeGreaterThan(0)
})

test('a port that is taken while the instance is down: the error names the process that has it', async ({ race }) => {
  const { port, server } = await startServer(race)
  await server.stop()
  const thief = createTcpServer().listen(port.number, '127.0.0.1')
  await once(thief, 'listening')
  await expect(server.restart()).rejects.toMatchObject({
    code: 'ERR_IO',
    message: expect.stringContaining(`port ${port.number} is taken by process ${process.pid}`),
  })
  await new Promise((resolve) => thief.close(resolve))
  await server.restart()
})

test('ports differ from each other, and no other test of this kit gets them', async ({ race }) => {
  const ports = await Promise.all(Array.from({ length: 30 }, () => race.port()))
  expect(new Set(ports.map(({ number }) => number)).size).toBe(30)
  for (const { number } of ports) expect(number).toBeLessThan(32_768)
})

test('nothing leaks while a server runs nor when it has stopped', async ({ race }) => {
  const { server } = await startServer(race)
  await expect(race).toLeakNothing()
  await server.stop()
  await expect(race).toLeakNothing()
})

test('killDetached: false leaves processes that made a session of their own', async ({ race }) => {
  const { server } = await startServer(race, { LEAVE_CHILD: 'detached' }, { killDetached: false })
  const child = livingProcesses(server.pid).pids.filter((pid) => pid !== server.pid)
  expect(child).toHaveLength(1)
  await server.stop()
  await expect(race).toLeakNothing()
  expect(child.map(isAlive)).toEqual([true])
  process.kill(child[0] as number, 'SIGKILL')
})

test('bad options are refused by name', async ({ race }) => {
  const bad = (options: unknown): Promise<Instance> => race.start(options as Parameters<typeof race.start>[0])
  await expect(bad({ command: '', ready: { line: /x/ } })).rejects.toMatchObject({
    code: 'ERR_INVALID_ARGUMENT',
    message: expect.stringContaining('options.command'),
  })
  await expect(bad({ command: 'x', ready: {} })).rejects.toMatchObject({
    message: expect.stringContaining('options.ready'),
  })
  await expect(bad({ command: 'x', ready: { line: /x/ }, envs: {} })).rejects.toMatchObject({
    message: expect.stringContaining('options.envs'),
  })
  expect(() => race.at('', 0)).toThrow(/hit/)
  expect(() => race.at('x').fail('ENOTHING')).toThrow(/ENOTHING/)
})
