/** vitest's `test` with a race and a folder. Both are removed when the test has ended. */

import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, relative } from 'node:path'
import { test as base, type TestAPI } from 'vitest'
import { doneWith, keepFolder } from '../keeper/client.js'
import { combined } from './clean-up.js'
import { addMatchers } from './matchers.js'
import { RunningRace } from './race.js'
import { chooseSeed } from './random.js'
import { writePage } from './report-page.js'
import { describe } from './timeline.js'
import type { Race } from './types.js'

/** The facts about a test that the fixtures need. */
interface TaskFacts {
  name: string
  fullTestName?: string
  timeout: number
  file: { filepath: string }
  result?: { state?: string } | undefined
}

/** vitest's `test` with fixtures that clean up after themselves, in reverse order, also after a failure. */
export const test: TestAPI<{ tempRoot: string; race: Race }> = base.extend<{ tempRoot: string; race: Race }>({
  tempRoot: async ({}, use) => {
    const folder = makeFolder('files')
    keepFolder(folder)
    await use(folder)
    if (process.env.WARMSWAP_RACE_KEEP) console.error(`kept: ${folder}`)
    else rmSync(folder, { recursive: true, force: true })
    doneWith(folder)
  },
  race: async ({ task, signal }, use) => {
    addMatchers()
    const seed = chooseSeed()
    const command = repeatCommand(task, seed)
    const artifacts = artifactsOf(task)
    // A test without a limit still needs one for what it waits for.
    const timeoutMs = task.timeout > 0 && Number.isFinite(task.timeout) ? task.timeout : 300_000
    const race = await RunningRace.open({ seed, folder: makeFolder('race'), signal, timeoutMs, command, artifacts })
    await use(race)
    const passed = task.result?.state !== 'fail'
    const events = race.events()
    const outputs = race.outputs()
    const unreached = race.unreached()
    const errors = await race.close(passed)
    if (!passed || errors.length > 0) await leaveTraces({ artifacts, command, seed, events, outputs, unreached })
    // vitest appends this to the errors of the test, so that the test's own error remains the first.
    if (errors.length > 0) throw combined(errors)
  },
})

function makeFolder(kind: string): string {
  return mkdtempSync(join(tmpdir(), `warmswap-${kind}-`))
}

/** One line that repeats the test with the same seed. */
function repeatCommand(task: TaskFacts, seed: number): string {
  const name = task.name.replaceAll(/[^\w\s-]/g, '.')
  return `WARMSWAP_RACE_SEED=${seed} npx vitest run ${relative(process.cwd(), task.file.filepath)} -t "${name}"`
}

/** A folder whose content may be deleted at any time. The next run of the same test replaces it. */
function artifactsOf(task: TaskFacts): string {
  const slug = `${relative(process.cwd(), task.file.filepath)} ${task.fullTestName ?? task.name}`
    .replaceAll(/[^\w.-]+/g, '-')
    .slice(0, 150)
  return join(process.env.WARMSWAP_RACE_REPORTS ?? join(process.cwd(), 'node_modules/.cache/warmswap/races'), slug)
}

interface Traces {
  artifacts: string
  command: string
  seed: number
  events: ReturnType<RunningRace['events']>
  outputs: ReturnType<RunningRace['outputs']>
  /** vitest's own 'timed out' does not say what the test waited for. */
  unreached: string | undefined
}

/** Writes the files for a failed test: the time line as text and as a page, and the end of every process's output. */
async function leaveTraces({ artifacts, command, seed, events, outputs, unreached }: Traces): Promise<void> {
  mkdirSync(artifacts, { recursive: true })
  writeFileSync(join(artifacts, 'timeline.txt'), `${describe(events, events[0]?.at ?? 0)}\n`)
  for (const { name, stdout, stderr } of outputs)
    writeFileSync(join(artifacts, `${name.replaceAll(/\W+/g, '-')}.log`), `${stdout}\n── standard error\n${stderr}`)
  await writePage(join(artifacts, 'timeline.html'), {
    title: 'A race that failed',
    command,
    seed,
    events,
    summary: '',
    points: [],
    edge: {},
    notes: [],
  })
  console.error(
    `${unreached === undefined ? '' : `${unreached}\n`}time line and output: ${artifacts}\nrepeat it with: ${command}`,
  )
}
