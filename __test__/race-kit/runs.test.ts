// @module-tag system
// Whole vitest runs as children: what they leave behind, and that pools and parallel files do not matter.
// guarantee: restarts/race-leaves-nothing

import { existsSync, readFileSync, readdirSync } from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { expect } from 'vitest'
import { type Race, test } from 'warmswap/vitest'
import { repository } from '../support/paths.js'
import { isAlive } from '../support/alive.js'
import type { Traces } from './fixtures/traces.js'

const fixtures = join(repository, '__test__/race-kit/fixtures')

interface Run {
  tests: { title: string; status: string; messages: string[] }[]
  traces: Traces[]
  output: string
}

async function startRun(
  race: Race,
  tempRoot: string,
  args: string[],
  ready: RegExp,
): Promise<Awaited<ReturnType<Race['start']>>> {
  return await race.start({
    command: [
      process.execPath,
      join(repository, 'node_modules/vitest/vitest.mjs'),
      'run',
      '--root',
      fixtures,
      ...args,
      '--reporter=default',
      '--reporter=json',
      `--outputFile.json=${tempRoot}/report.json`,
    ],
    env: { TRACES: `${tempRoot}/traces`, WARMSWAP_RACE_REPORTS: `${tempRoot}/races` },
    ready: { line: ready },
  })
}

async function run(race: Race, tempRoot: string, args: string[]): Promise<Run> {
  const vitest = await startRun(race, tempRoot, args, /Duration/)
  await expect.poll(() => existsSync(`${tempRoot}/report.json`) && !isAlive(vitest.pid), { timeout: 30_000 }).toBe(true)
  const { testResults } = JSON.parse(readFileSync(`${tempRoot}/report.json`, 'utf8')) as {
    testResults: { assertionResults: { title: string; status: string; failureMessages: string[] }[] }[]
  }
  const tests = testResults.flatMap(({ assertionResults }) =>
    assertionResults.map(({ title, status, failureMessages }) => ({ title, status, messages: failureMessages })),
  )
  return { tests, traces: tracesOf(tempRoot), output: vitest.output.stdout + vitest.output.stderr }
}

function tracesOf(tempRoot: string): Traces[] {
  return readFileSync(`${tempRoot}/traces`, 'utf8')
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as Traces)
}

async function expectNothingLeft(traces: Traces[]): Promise<void> {
  expect(traces.length).toBeGreaterThan(0)
  for (const { pids, tempRoot, raceFolder, port } of traces) {
    expect(pids.length).toBeGreaterThan(0)
    await expect
      .poll(() => [...pids.filter(isAlive), ...[tempRoot, raceFolder].filter(existsSync)], { timeout: 10_000 })
      .toEqual([])
    const server = createServer()
    await new Promise<void>((resolve, reject) => server.once('error', reject).listen(port, '127.0.0.1', resolve))
    await new Promise((resolve) => server.close(resolve))
  }
}

test('a failing test leaves no process, port or folder; its own error comes first; leaks and idle plans fail a test', {
  timeout: 120_000,
}, async ({ race, tempRoot }) => {
  const { tests, traces, output } = await run(race, tempRoot, ['failing'])
  await expectNothingLeft(traces)
  const [failing, leak, idle] = tests
  expect(tests.map(({ status }) => status)).toEqual(['failed', 'failed', 'failed', 'failed'])
  expect(failing?.messages[0]).toContain('the first error')
  expect(failing?.messages[1]).toMatch(/left behind, and killed now: process \d+ .* left its group/)
  expect(leak?.messages[0]).toMatch(/left behind, and killed now: 'race-server' left \d+ /)
  expect(idle?.messages[0]).toMatch(
    /planned and never reached: kill at 'work' hit 1, fail at 'wrok' hit 1; reached were 'before-listen' 1 times/,
  )
  expect(output).toMatch(/planned and never reached: hold at 'wrok' hit 1; reached were 'before-listen' 1 times/)
  expect(output).toMatch(
    /repeat it with: WARMSWAP_RACE_SEED=\d+ npx vitest run \S*failing.race.ts -t "fails with processes/,
  )
  const kept = readdirSync(`${tempRoot}/races`).map((name) => readdirSync(`${tempRoot}/races/${name}`).sort())
  expect(kept).toContainEqual(['race-server.log', 'timeline.html', 'timeline.txt'])
})

test('a run that is killed as a whole leaves nothing either', { timeout: 120_000 }, async ({ race, tempRoot }) => {
  const vitest = await startRun(race, tempRoot, ['hanging'], /HANGING/)
  const traces = tracesOf(tempRoot)
  expect(traces[0]?.pids.filter(isAlive).length).toBeGreaterThanOrEqual(2)
  await vitest.kill()
  await expectNothingLeft(traces)
})

// 'busy' never lets its event loop turn.
for (const fixture of ['hanging', 'busy']) {
  test(`when only vitest's main process is killed, pool forks leaves nothing: ${fixture}`, {
    timeout: 120_000,
  }, async ({ race, tempRoot }) => {
    const vitest = await startRun(race, tempRoot, [fixture, '--pool', 'forks'], /RUN/)
    // The file exists before its first line is complete.
    const hasLine = (): boolean =>
      existsSync(`${tempRoot}/traces`) && readFileSync(`${tempRoot}/traces`, 'utf8').endsWith('\n')
    await expect.poll(hasLine, { timeout: 60_000 }).toBe(true)
    const [trace] = tracesOf(tempRoot) as [Traces]
    expect(trace.runner).not.toBe(vitest.pid)
    process.kill(vitest.pid, 'SIGKILL')
    await expectNothingLeft([trace])
    await expect.poll(() => isAlive(trace.runner)).toBe(false)
  })
}

for (const pool of ['forks', 'threads']) {
  test(`pool ${pool} with parallel files: every race has its own ports, points and seed`, { timeout: 120_000 }, async ({
    race,
    tempRoot,
  }) => {
    const { tests, traces, output } = await run(race, tempRoot, [
      'pool',
      '--pool',
      pool,
      '--maxWorkers',
      '4',
      '--fileParallelism',
    ])
    expect(
      tests.filter(({ status }) => status !== 'passed'),
      output,
    ).toEqual([])
    expect(tests).toHaveLength(12)
    await expectNothingLeft(traces)
  })
}
