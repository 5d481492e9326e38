// @module-tag system
// guarantee: restarts/race-finds-the-edge

import { once } from 'node:events'
import { existsSync } from 'node:fs'
import http, { createServer } from 'node:http'
import { pathToFileURL } from 'node:url'
import { chromium as browsers } from 'playwright-core'
import { expect } from 'vitest'
import { type Port, type Probe, test } from 'warmswap/vitest'
import { answerOf, ask, read, startServer, sweepOf, warm } from '../support/race-server.js'

test('a clean target gives no false alarm: 100 restarts', { timeout: 300_000 }, async ({ race }) => {
  const { port, server } = await startServer(race)
  const report = await race.sweep({ ...sweepOf(port, server), delays: [0, 5, 10, 20], repeats: 25, probes: [read] })
  expect(report.points.reduce((sum, { n }) => sum + n, 0)).toBe(100)
  expect(report).toSettleWithin(0, { confidence: 0.95 })
  expect(report.edge.read).toEqual({ lastFailMs: null, firstOkMs: 0 })
})

test('outcomes: refused, reset, hang, stranger and an old incarnation are distinguished', async ({ race }) => {
  const { port, server } = await startServer(race)
  const nonces: string[] = []
  const closed = await race.port()
  const outcome = (name: string, run: Probe<Port>['run']): Probe<Port> => ({
    name,
    sideEffects: 'none',
    timeoutMs: 300,
    run,
  })
  const fail = (code: string) => async (): Promise<never> =>
    Promise.reject(Object.assign(new Error(code), { cause: { code } }))
  const report = await race.sweep({
    target: async () => {
      nonces.push(server.nonce)
      return port
    },
    restart: () => server.restart('kill'),
    delays: [0],
    repeats: 1,
    probes: [
      outcome('good', async (target, signal) => answerOf(await ask(target, '/data', signal))),
      outcome('refused', async (_, signal) => void (await ask(closed, '/', signal)) as never),
      outcome('reset', fail('ECONNRESET')),
      outcome('hang', () => new Promise(() => {})),
      outcome('stranger', async () => ({ nonce: 'nobody' })),
      outcome('old', async () => ({ nonce: nonces[0] as string })),
      outcome('declared', async () =>
        Promise.reject(Object.assign(new Error('old key'), { outcome: 'wrong-generation' })),
      ),
      outcome('error', async () => ({ nonce: server.nonce, value: { status: 503 } })),
    ],
  })
  const found = Object.fromEntries(report.points.map(({ probe, outcomes }) => [probe, Object.keys(outcomes)[0]]))
  expect(found).toEqual({
    good: 'ok',
    refused: 'refused',
    reset: 'reset',
    hang: 'hang',
    stranger: 'stranger',
    old: 'wrong-generation',
    declared: 'wrong-generation',
    error: 'server-error',
  })
  expect(String(report), 'and what the last one said').toMatch(/^declared failed last, at 0 ms, with: old key$/m)
})

test('each sample has a target of its own, and probes with side effects have restarts of their own', async ({
  race,
}) => {
  const { server } = await startServer(race)
  const used: number[] = []
  let [restarts, disposed] = [0, 0]
  const probe = (name: string, sideEffects: Probe<{ sample: number }>['sideEffects']): Probe<{ sample: number }> => ({
    name,
    sideEffects,
    timeoutMs: 1000,
    run: async ({ sample }) => {
      used.push(sample)
      return {}
    },
  })
  await race.sweep({
    target: async (sample) => ({ sample, [Symbol.dispose]: () => void ++disposed }),
    restart: () => {
      restarts += 1
      return server.restart('kill')
    },
    delays: [0, 1],
    repeats: 2,
    probes: [probe('read', 'none'), probe('list', 'none'), probe('write', 'write')],
  })
  expect(new Set(used).size).toBe(used.length)
  expect([used.length, disposed, restarts]).toEqual([12, 12, 8])
})

test('order comes from the seed; the budget ends it in time; voids are counted', { timeout: 120_000 }, async ({
  race,
}) => {
  const { port, server } = await startServer(race)
  const begun = performance.now()
  let attempts = 0
  const report = await race.sweep({
    target: async () => {
      attempts += 1
      if (attempts === 1) throw new Error('not warm yet')
      return warm(port)
    },
    restart: () => server.restart('kill'),
    delays: [0, 50],
    repeats: 1000,
    budgetMs: 1500,
    probes: [read],
  })
  expect(performance.now() - begun).toBeLessThan(6000)
  expect(String(report)).toMatch(/the time was up/)
  expect(String(report)).toMatch(/1 samples void/)
})

test('an error in the test itself is not a finding', async ({ race }) => {
  const { port, server } = await startServer(race)
  const sweep = (given: object) =>
    race.sweep({ ...sweepOf(port, server), delays: [0], repeats: 1, probes: [read], ...given })
  await expect(
    sweep({ probes: [{ ...read, run: async () => (undefined as unknown as { x: () => void }).x() }] }),
  ).rejects.toThrow(TypeError)
  await expect(sweep({ target: () => Promise.reject(new Error('cold')) })).rejects.toThrow('cold')
  await expect(sweep({ delays: [] })).rejects.toMatchObject({ code: 'ERR_INVALID_ARGUMENT' })
  await expect(sweep({ delays: [-1] })).rejects.toThrow(/Invalid options.delays\[0\]: -1/)
  await expect(sweep({ probes: [read, read] })).rejects.toThrow(/name/)
  await expect(sweep({ restart: async () => undefined })).rejects.toThrow(
    /Invalid result of options\.restart\(\): undefined/,
  )
  await expect(sweep({ pauses: 3 })).rejects.toThrow(/options.pauses/)
})

/** A restart that takes `ms` and restarts nothing. */
const noRestart =
  (ms = 0) =>
  async () => {
    await new Promise((resolve) => setTimeout(resolve, ms))
    const now = Number(process.hrtime.bigint()) / 1e6
    return { after: now, before: now }
  }
const failing: Probe<object> = {
  name: 'bad',
  sideEffects: 'write',
  timeoutMs: 300,
  run: () => Promise.reject(Object.assign(new Error('x'), { code: 'ECONNREFUSED' })),
}
const working: Probe<object> = { name: 'good', sideEffects: 'none', timeoutMs: 300, run: async () => ({}) }

test('without samples nothing is proven: a sweep without time, a probe or a delay without a turn, a control that fails are not green', async ({
  race,
}) => {
  const empty = await race.sweep({
    delays: [0, 50],
    budgetMs: 0,
    target: async () => ({}),
    restart: noRestart(),
    probes: [failing],
  })
  expect(() => expect(empty).toSettleWithin(0)).toThrow(/'bad' was not tried at 0, 50 ms: the time was up/)
  expect(String(empty)).toMatch(/bad: was not tried/)
  const cut = await race.sweep({
    delays: [0],
    repeats: 4,
    order: 'given',
    budgetMs: 200,
    target: async () => ({}),
    restart: noRestart(150),
    probes: [working, failing],
  })
  expect(() => expect(cut).toSettleWithin(0)).toThrow(/'bad' was not tried at 0 ms/)
  const rig = await race.sweep({
    delays: [0],
    repeats: 1,
    target: async () => ({}),
    restart: noRestart(),
    probes: [working],
    control: { ...failing, name: 'control' },
  })
  expect(() => expect(rig).toSettleWithin(0)).toThrow(/the control failed 1 of 1 times without a restart \(refused\)/)
})

test('a status of 400 and above is a failure, unless the probe expects it', async ({ race }) => {
  const get = async (): Promise<{ value: Response }> => ({ value: new Response('', { status: 404 }) })
  const report = await race.sweep({
    delays: [0],
    repeats: 1,
    target: async () => ({}),
    restart: noRestart(),
    probes: [
      { ...working, run: get },
      { ...working, name: 'wanted', status: 404, run: get },
      { ...working, name: 'other', status: 200, run: get },
    ],
  })
  expect(Object.fromEntries(report.points.map(({ probe, outcomes }) => [probe, Object.keys(outcomes)[0]]))).toEqual({
    good: 'server-error',
    wanted: 'ok',
    other: 'server-error',
  })
})

test("every probe has a socket of its own, through the user's own dispatcher, which is kept", async ({ race }) => {
  const server = createServer((request, response) => response.end(String(request.socket.remotePort))).listen(
    0,
    '127.0.0.1',
  )
  await once(server, 'listening')
  const url = `http://127.0.0.1:${(server.address() as { port: number }).port}`
  await fetch(url).then((response) => response.text())
  const scope = globalThis as Record<symbol, unknown>
  const key = Symbol.for('undici.globalDispatcher.1')
  const nodes = scope[key] as { dispatch(options: object, handler: unknown): boolean }
  let through = 0
  // Like undici's ProxyAgent: it cannot be created again without the user's arguments.
  class Users {
    constructor(uri: string) {
      if (!uri) throw new Error('Proxy URI is mandatory')
    }
    dispatch(options: object, handler: unknown): boolean {
      through += 1
      return nodes.dispatch(options, handler)
    }
  }
  const users = new Users('x')
  scope[key] = users
  const agent = http.globalAgent
  try {
    const sockets: string[] = []
    const probe: Probe<object> = {
      ...working,
      run: async (_, signal) => ({ value: sockets.push(await (await fetch(url, { signal })).text()) }),
    }
    await race.sweep({ delays: [0], repeats: 5, target: async () => ({}), restart: noRestart(), probes: [probe] })
    expect(new Set(sockets).size).toBe(5)
    expect(through).toBe(5)
    expect([scope[key] === users, http.globalAgent === agent]).toEqual([true, true])
  } finally {
    scope[key] = nodes
    server.close()
  }
})

const chromium = ['/usr/bin/chromium', '/usr/bin/google-chrome'].find(existsSync)
if (chromium === undefined) console.warn('chromium is not installed: the page of a sweep is not opened in it')

test('every sweep leaves its page, which a browser shows without loading anything', async ({ race }) => {
  const { port, server } = await startServer(race)
  const report = await race.sweep({ ...sweepOf(port, server), delays: [0], repeats: 1, probes: [read] })
  const page = /page: (.*)/.exec(String(report))?.[1] as string
  expect(existsSync(page)).toBe(true)
  if (chromium === undefined) return
  const browser = await browsers.launch({ executablePath: chromium, args: ['--no-sandbox'] })
  try {
    const tab = await browser.newPage()
    const [requests, errors]: [string[], string[]] = [[], []]
    tab.on('request', (request) => requests.push(request.url()))
    tab.on('pageerror', (error) => errors.push(error.message))
    tab.on('console', (message) => errors.push(message.text()))
    await tab.goto(pathToFileURL(page).href)
    expect(requests).toEqual([pathToFileURL(page).href])
    expect(errors).toEqual([])
    expect(await tab.locator('svg').count()).toBe(2)
    expect(await tab.locator('svg rect title').allTextContents()).toContainEqual(
      expect.stringMatching(/^race-server \(2\) is ready/),
    )
  } finally {
    await browser.close()
  }
})
