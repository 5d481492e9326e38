// @module-tag system
/** In-flight rescue: no request fails over a late discovery, on workerd and in plain Vite. */

// guarantee: state/overtaken-requests-are-rescued

import { existsSync, rmSync } from 'node:fs'
import type { AddressInfo, Server } from 'node:net'
import { join } from 'node:path'
import { afterEach, describe, expect, onTestFinished, test } from 'vitest'
import { resetState } from 'warmswap/state'
import * as plugins from 'warmswap/vite'
import { start } from '../support/children.js'
import {
  frames,
  type Outcome,
  REQUESTS,
  requestsOver,
  routesOf,
  virtualRoutes,
  workerPlugin,
  writeInflightApp,
} from '../support/inflight.js'
import { repository } from '../support/paths.js'
import {
  begunBodyIsCut,
  canBeTurnedOff,
  firstAnswerIsDropped,
  handsOff,
  holdsAreBounded,
  http2IsRescued,
  lateAnswers,
  postIsNotReplayed,
  type RescueCheck,
  replayWaitsForTheRunner,
  waitForTheRunnerIsBounded,
} from '../support/rescue-checks.js'
import { makeTemp } from '../support/temp.js'
import { loadVite, loggerInto, type Version, versions } from '../support/vite.js'

const RUNS = 10
const PLAIN_RUNS = 3

afterEach(() => resetState())

describe.each(versions)('$name', (version) => {
  const checks: Record<string, RescueCheck> = {
    'a POST that was overtaken and fails is answered with 503, and handled once': postIsNotReplayed,
    'a body that has begun is cut': begunBodyIsCut,
    'what the first attempt has written is dropped, also its head': firstAnswerIsDropped,
    'holds are bounded in time and bytes': holdsAreBounded,
    'a replay waits for the runner': replayWaitsForTheRunner,
    'requests over HTTP/2 are replayed too': http2IsRescued,
    'a late answer is sent as it is, and replayed if it has failed': lateAnswers,
    'the wait for a runner is bounded': waitForTheRunnerIsBounded,
    'complete answers, event streams, parts and excluded requests are left alone': handsOff,
    'rescue: false turns it off': canBeTurnedOff,
  }
  test.each(Object.entries(checks))('%s', (_, check) => check(plugins, version))

  test(`${PLAIN_RUNS} late discoveries, ${REQUESTS} requests over each, and each answer has its own context`, async () => {
    const { answers, reloads } = await plainRuns(version, plugins, PLAIN_RUNS)
    expect(wrong(answers)).toEqual([])
    expect(answers).toHaveLength(PLAIN_RUNS * REQUESTS)
    expect(reloads).toBe(PLAIN_RUNS)
  })

  test('without warmswap requests fail', async () => {
    const { answers } = await plainRuns(version, undefined, 1)
    expect(wrong(answers).length).toBeGreaterThan(0)
  })
})

// @cloudflare/vite-plugin needs Node 22; where this one is older, the npm package of the Node binary is used.
const node22 =
  Number(process.versions.node.split('.')[0]) >= 22
    ? process.execPath
    : join(repository, 'node_modules/node22-linux-x64/bin/node')
const missing = process.env.CI
  ? []
  : [node22, join(repository, 'node_modules/workerd/package.json')].filter((path) => !existsSync(path))

const workerConfig = (plugins: string): string => `import { cloudflare } from '@cloudflare/vite-plugin'
import warmswap from 'warmswap/vite'
import { virtualRoutes } from './virtual-routes.js'
export default { plugins: [${plugins}virtualRoutes(${JSON.stringify(routesOf(RUNS))}), cloudflare({ inspectorPort: false })] }
`

async function overDiscoveries(plugins: string, runs: number): Promise<{ answers: Outcome[]; reloads: number }> {
  const root = makeTemp()
  writeInflightApp(root, RUNS, workerConfig(plugins))
  onTestFinished(() => rmSync(root, { recursive: true, force: true }))
  const child = start(node22, [join(repository, '__test__/programs/dev-server.mjs'), root])
  const url = (await child.line(/^ready /)).replace('ready ', '').replace(/\/$/, '')
  expect(await (await fetch(`${url}/home?id=warm`)).text()).toBe('id=warm')
  const answers: Outcome[] = []
  for (let run = 1; run <= runs; run += 1) answers.push(...(await requestsOver(url, run)))
  const reloads = child.lines.filter((line) => line.includes('optimized dependencies changed. reloading')).length
  return { answers, reloads }
}

/** The same application in plain Vite, with modules in this process. */
async function plainRuns(
  version: Version,
  warmswap: typeof plugins | undefined,
  runs: number,
): Promise<{ answers: Outcome[]; reloads: number }> {
  const root = makeTemp()
  writeInflightApp(root, RUNS)
  const { createServer } = await loadVite(version)
  const log: string[] = []
  const server = await createServer({
    root,
    configFile: false,
    appType: 'custom',
    customLogger: loggerInto(log),
    server: { host: '127.0.0.1', port: 0, ws: false, watch: null },
    environments: {
      ssr: {
        resolve: { noExternal: true },
        optimizeDeps: { noDiscovery: false, include: frames(RUNS) },
      },
    },
    plugins: [warmswap?.default(), virtualRoutes(routesOf(RUNS)), workerPlugin()],
  })
  onTestFinished(async () => {
    await server.close()
    rmSync(root, { recursive: true, force: true })
  })
  await server.listen()
  const url = `http://127.0.0.1:${((server.httpServer as Server).address() as AddressInfo).port}`
  expect(await (await fetch(`${url}/home?id=warm`)).text()).toBe('id=warm')
  const answers: Outcome[] = []
  for (let run = 1; run <= runs; run += 1) answers.push(...(await requestsOver(url, run)))
  return { answers, reloads: log.filter((line) => line.includes('changed. reloading')).length }
}

const wrong = (answers: Outcome[]): Outcome[] => answers.filter(({ isWrong }) => isWrong)

test.skipIf(missing.length > 0)(
  `workerd: ${RUNS} late discoveries, ${REQUESTS} requests over each, and each answer has its own context`,
  async () => {
    const { answers, reloads } = await overDiscoveries('warmswap(), ', RUNS)
    expect(wrong(answers)).toEqual([])
    expect(answers).toHaveLength(RUNS * REQUESTS)
    expect(reloads).toBe(RUNS)
  },
  180_000,
)

test.skipIf(missing.length > 0)('workerd, without warmswap: requests fail', async () => {
  const { answers } = await overDiscoveries('', 1)
  expect(wrong(answers).length).toBeGreaterThan(0)
})
