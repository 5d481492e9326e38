/** How workers follow one another: order, drains, quiet before a build, pauses of broken code, isolation of bad requests. */

import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect } from 'vitest'
import { type CoordinatorOptions, openCoordinator, startProcess } from 'warmswap'
import { child, publishFetchWorker, publishWorker, type Start, thread } from '../support/coordinators.js'
import { ask, publishServer, test } from '../support/served.js'
import { publish } from '../support/stores.js'

test('nuxt#32928, nitro#2735: stop-first: a database that only one process can open is open once, and no request is lost', async ({
  store,
  open,
  serve,
  disk,
}) => {
  const database = join(disk, 'database.lock')
  const log = join(disk, 'log')
  writeFileSync(log, '')
  const exclusive = `import { appendFileSync, rmSync, writeFileSync } from 'node:fs'
    appendFileSync(${JSON.stringify(log)}, 'open\\n')
    writeFileSync(${JSON.stringify(database)}, '', { flag: 'wx' })
    process.on('exit', () => { rmSync(${JSON.stringify(database)}); appendFileSync(${JSON.stringify(log)}, 'close\\n') })`
  const version = async (name: string) =>
    await publishFetchWorker(store, name, 'return new Response(version)', exclusive)
  await version('0')
  const coordinator = open(child, { order: 'stop-first', drain: 2_000 })
  const url = await serve((server) => coordinator.attach(server))
  const answers: [number | undefined, string][] = []
  let isReloading = true
  const clients = [1, 2, 3].map(async () => {
    while (isReloading) {
      const { response, body } = await ask(url, { path: '/', method: 'POST' }, 'x')
      answers.push([response.statusCode, body])
    }
  })
  for (const name of ['1', '2', '3', '4']) {
    await expect.poll(() => answers.at(-1)?.[1], { timeout: 20_000 }).toBe(String(Number(name) - 1))
    await version(name)
    await coordinator.reboot({ observed: coordinator.status().incarnation, reason: 'an edit' })
  }
  isReloading = false
  await Promise.all(clients)
  expect(answers.filter(([status]) => status !== 200)).toEqual([])
  expect(readFileSync(log, 'utf8')).toBe(`${'open\nclose\n'.repeat(4)}open\n`)
})

test('stop-first: beyond the time of a request it is a 503 with Retry-After', async ({ store, open }) => {
  await publishFetchWorker(
    store,
    'one',
    "if (request.url.endsWith('/held')) await new Promise(() => {}); return new Response(version)",
  )
  const coordinator = open(thread, { order: 'stop-first', drain: 1_000 })
  const held = coordinator.fetch(new Request('http://x/held'))
  await coordinator.fetch(new Request('http://x/'))
  const reboot = coordinator.reboot({ observed: 1, reason: 'an edit' })
  reboot.catch(() => {})
  const waiting = await coordinator.fetch(new Request('http://x/'), { timeoutMs: 20 })
  expect([waiting.status, waiting.headers.get('retry-after')]).toEqual([503, '1'])
  expect((await held).status).toBe(502)
  await reboot
  expect((await coordinator.fetch(new Request('http://x/'))).status).toBe(200)
})

test("drain: 'until-quiet': streams outlive reloads, and one more than maxDraining cuts the oldest", async ({
  store,
  open,
  serve,
}) => {
  const body = "if (request.url === '/stream') return void response.write(version); response.end(version)"
  await publishServer(store, '0', body)
  const coordinator = open((context) => startProcess(context, 'server.mjs', { listen: true }), {
    drain: 'until-quiet',
    maxDraining: 2,
  })
  const url = await serve((server) => coordinator.attach(server))
  const streams: { text: Promise<string>; isOver: boolean; cancel: () => void }[] = []
  for (let generation = 0; generation < 4; generation += 1) {
    const leaving = new AbortController()
    const response = await fetch(new URL('/stream', url), { signal: leaving.signal })
    const stream = { text: response.text(), isOver: false, cancel: () => leaving.abort() }
    stream.text.catch(() => {}).finally(() => (stream.isOver = true))
    streams.push(stream)
    if (generation === 3) break
    await publishServer(store, String(generation + 1), body)
    await coordinator.reboot({ observed: coordinator.status().incarnation, reason: 'an edit' })
  }
  // Workers 1, 2 and 3 drain: the first was cut.
  await expect(streams[0]?.text).rejects.toThrow()
  expect(streams.map(({ isOver }) => isOver)).toEqual([true, false, false, false])
  expect((await ask(url, { path: '/' })).body).toBe('3')
  for (const stream of streams) stream.cancel()
  await expect.poll(() => coordinator.status().state, { timeout: 20_000 }).toBe('ready')
})

test('quietMs: 300 changes make one build; maxQuietMs: changes without end do not hold it back', async ({
  store,
  open,
}) => {
  const coordinator = open(thread, { quietMs: 1_500 })
  let runs = 0
  const builds: Promise<unknown>[] = []
  const change = (): void => {
    const build = coordinator.build({ atLeast: coordinator.change() }, async ({ stage }) => {
      runs += 1
      await stage.write('a.txt', String(runs))
    })
    builds.push(build.then(({ pin }) => pin.release()))
  }
  for (let count = 0; count < 300; count += 1) {
    change()
    await new Promise(setImmediate)
  }
  await Promise.all(builds)
  expect(runs).toBe(1)
  const restless = openCoordinator(store, { start: thread, quietMs: 60_000, maxQuietMs: 100 })
  const noise = setInterval(() => restless.change(), 1)
  const { pin } = await restless.build({ atLeast: restless.change() }, ({ stage }) => stage.write('b.txt', ''))
  clearInterval(noise)
  pin.release()
  await restless[Symbol.asyncDispose]()
})

test('code that cannot boot is started after growing pauses; a new build is started at once', async ({
  store,
  open,
}) => {
  await publish(store, { 'worker.mjs': "throw new Error('cannot boot')" })
  let starts = 0
  const coordinator = open((context) => {
    starts += 1
    return thread(context)
  })
  const failed = async (): Promise<unknown> => await coordinator.dispatch('x').catch((error: unknown) => error)
  for (let boot = 1; boot <= 3; boot += 1) {
    await expect(coordinator.reboot({ observed: null, reason: 'again' })).rejects.toThrow('cannot boot')
    expect(starts).toBe(boot)
  }
  const errors = [await failed(), await failed(), await failed()]
  expect(errors).toEqual([coordinator.status().lastError, errors[0], errors[0]])
  expect(starts, 'in the pause requests get the error of the boot, and start nothing').toBe(3)
  const response = await coordinator.fetch(new Request('http://x/'))
  expect([response.status, response.headers.get('retry-after'), await response.text()]).toEqual([
    503,
    '1',
    expect.stringContaining('cannot boot'),
  ])
  await publishWorker(store, 'good', 'return version')
  expect(await coordinator.dispatch('x')).toBe('good')
})

test('a request that ends each worker fails alone: its neighbours are answered', async ({ store, open }) => {
  await publishWorker(
    store,
    'one',
    "if (request === 'bad') process.exit(1); await new Promise((resolve) => setTimeout(resolve, 30)); return request",
  )
  const coordinator = open(thread)
  await coordinator.dispatch('warm')
  const idempotent = { replay: 'idempotent', timeoutMs: 60_000 } as const
  const neighbours = [1, 2, 3, 4, 5].map((number) => coordinator.dispatch(`good ${number}`, idempotent))
  const bad = coordinator.dispatch('bad', idempotent)
  await expect(bad).rejects.toMatchObject({ code: 'ERR_WORKER_EXITED', message: expect.stringContaining('in a row') })
  expect(await Promise.all(neighbours)).toEqual([1, 2, 3, 4, 5].map((number) => `good ${number}`))
})

test("a worker's failure stays in status() until other code runs", async ({ store, open }) => {
  const body =
    "if (request === 'fail') { setImmediate(() => { throw new Error('late') }); await new Promise(() => {}) } return version"
  await publishWorker(store, 'one', body)
  const coordinator = open(thread)
  await expect(coordinator.dispatch('fail')).rejects.toMatchObject({ code: 'ERR_WORKER_EXITED' })
  expect(await coordinator.dispatch('x')).toBe('one')
  expect(coordinator.status()).toMatchObject({ state: 'ready', lastError: { message: 'late' } })
  await publishWorker(store, 'two', body)
  await coordinator.reboot({ observed: coordinator.status().incarnation, reason: 'an edit' })
  expect(coordinator.status().lastError).toBe(undefined)
})

test('impossible options are refused', ({ store }) => {
  const refused: [Partial<CoordinatorOptions<unknown, unknown>>, RegExp][] = [
    [{ order: 'stop-first', drain: 'until-quiet' }, /options\.drain/],
    [{ order: 'stop' as never }, /options\.order/],
    [{ drain: 'quiet' as never }, /options\.drain/],
    [{ drain: -1 }, /options\.drain/],
    [{ drain: 1, drainMs: 1 }, /options\.drainMs/],
    [{ maxDraining: 0 }, /options\.maxDraining/],
    [{ maxQuietMs: -1 }, /options\.maxQuietMs/],
    [{ quietMs: Number.NaN }, /options\.quietMs/],
  ]
  for (const [options, message] of refused)
    expect(() => openCoordinator(store, { start: thread as Start, ...options })).toThrow(message)
})
