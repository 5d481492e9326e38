// Runs the portable suite on other platforms and runtimes, and adds up its results.
import { existsSync, mkdirSync, readFileSync, rmSync } from 'node:fs'
import { delimiter, join } from 'node:path'
import { addonOf, platforms, runtime } from './cross.js'
import { phase } from './phases.js'
import { root } from './process.js'

const suite = join(root, '__test__/portable')
const script = (...args) => [process.execPath, ['scripts/cross.js', ...args]]
const lastLine = (output) => output.trim().split('\n').at(-1)

/** One line of the table at the end. */
const rows = []

/**
 * Runs the suite on each of these platforms. Addons are compiled one after the other; a suite runs while the next addon
 * is compiled. `addon` is the addon of this machine.
 */
export async function runPortable(names, { addon, results }) {
  let last = Promise.resolve()
  for (const name of names) {
    const ready = await phase(`${name} build`, (context) => makeReady(name, context))
    const before = last
    last = before.then(() => ready && phase(name, (context) => runSuite(name, { addon, results, ...context })))
    // Awaited below, after the builds.
    last.catch(() => {})
    if (!ready) addMissing(name, results)
  }
  await last
  const folders = names.map(written).filter((folder) => existsSync(join(folder, 'facts.json')))
  if (folders.length > 0) await phase('read back', (context) => readBack(folders, { results, ...context }))
}

export const printPortable = () => console.log(`${rows.join('\n')}\n`)

const missing = new Map()

async function makeReady(name, { attempt, log }) {
  const { target, own } = platforms[name]
  for (const step of target || own ? ['prepare', 'build'] : ['prepare']) {
    const [program, args] = script(step, name)
    const { status, output } = await attempt(program, args)
    if (status === 0) continue
    const why = lastLine(output)
    missing.set(name, { why, unavailable: status === 3 })
    log(why)
    return false
  }
  return true
}

/** In CI, an untested platform is a failure, unless the machine does not support it. */
function addMissing(name, results) {
  const { why, unavailable } = missing.get(name)
  rows.push(`${name.padEnd(18)} NOT RUN: ${why}`)
  if (unavailable || !process.env.CI) results.skipped += 1
  else {
    results.failed += 1
    results.failures.push(`${name}: ${why}`)
  }
}

async function runSuite(name, { addon, results, attempt }) {
  if (platforms[name].own?.summary) {
    rows.push(`${name.padEnd(18)} ${platforms[name].own.summary}`)
    results.passed += 1
    return
  }
  const report = join(root, `build/reports/portable-${name}.json`)
  const { command, env } = runtime(name, platforms[name].target ? addonOf(name) : addon)
  const [program, ...args] = command
  await runReport(name, report, results, () =>
    attempt(program, [...args, join(suite, 'run.js'), '--report', report], { env }),
  )
  if (!platforms[name].target) return
  rmSync(written(name), { recursive: true, force: true })
  const { status } = await attempt(program, [...args, join(suite, 'fixtures.js'), written(name)], { env })
  if (status === 0) return
  results.failed += 1
  results.failures.push(`${name}: fixtures.js failed`)
}

const written = (name) => join(root, 'build/portable', name)

/** Stores that the other platforms wrote are read on this one. */
function readBack(folders, { results, attempt }) {
  const report = join(root, 'build/reports/portable-read-back.json')
  const env = { WARMSWAP_PORTABLE_FIXTURES: folders.join(delimiter) }
  const args = [join(suite, 'run.js'), '--report', report, 'fixtures: ']
  return runReport('read back', report, results, () => attempt(process.execPath, args, { env }))
}

async function runReport(name, report, results, run) {
  mkdirSync(join(root, 'build/reports'), { recursive: true })
  rmSync(report, { force: true })
  const { status } = await run()
  if (!existsSync(report)) {
    rows.push(`${name.padEnd(18)} ended without a report`)
    results.failed += 1
    results.failures.push(`${name}: the portable suite ended with ${status} and wrote no report`)
    return
  }
  const { seconds, results: cases } = JSON.parse(readFileSync(report, 'utf8'))
  const count = (...statuses) => cases.filter((each) => statuses.includes(each.status)).length
  const [passed, skipped, failed] = [count('passed', 'passed-though-listed'), count('skipped'), count('failed')]
  rows.push(`${name.padEnd(18)} ${passed} passed, ${skipped} skipped by the list, ${failed} failed, ${seconds} s`)
  results.passed += passed
  results.skipped += skipped
  results.failed += failed
  for (const { status: each, name: title, error } of cases)
    if (each === 'failed')
      results.failures.push(`${name}: ${title}\n      ${error.split('\n').slice(0, 4).join('\n      ')}`)
  if (status === 0 || failed > 0) return
  results.failed += 1
  results.failures.push(`${name}: the portable suite ended with ${status}`)
}
