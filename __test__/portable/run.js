// The portable suite: what warmswap guarantees on every platform and runtime, without a test framework.
//   node __test__/portable/run.js [--report FILE] [--jobs N] [text …]
// With texts, only cases whose names contain one of them run. Settings: WARMSWAP_PKG (the folder of the package, default
// this checkout), WARMSWAP_PORTABLE_PLATFORM (name for skips.js). WARMSWAP_PORTABLE_EXEC (JSON array: the command that
// starts this runtime, if process.execPath does not). WARMSWAP_PORTABLE_SLOW (factor for the time limit of a case),
// WARMSWAP_PORTABLE_JOBS (default of --jobs),
// WARMSWAP_PORTABLE_FIXTURES (folders of fixtures, separated as in PATH) and WARMSWAP_PORTABLE_TMP.
import { writeFileSync } from 'node:fs'
import { parseArgs } from 'node:util'
import { skips } from './skips.js'
import { CaseContext, endChildren, platform, warmswap } from './support.js'

const { values, positionals } = parseArgs({
  args: process.argv.slice(2),
  allowPositionals: true,
  options: { report: { type: 'string' }, jobs: { type: 'string', default: process.env.WARMSWAP_PORTABLE_JOBS ?? '4' } },
})

// A case that waits for an event that does not come must not block the run forever.
const limitMs = 60_000 * Number(process.env.WARMSWAP_PORTABLE_SLOW ?? 1)

// Fails with the reason. Without an addon, nearly all cases would fail, each after its time limit.
if (warmswap.stateBackend !== 'native') warmswap.openCache('memory:')

async function load() {
  const all = []
  for (const suite of ['locks', 'bundles', 'archives', 'caches', 'state', 'fixtures']) {
    const { cases } = await import(`./cases/${suite}.js`)
    for (const [name, body] of cases) all.push({ name: `${suite}: ${name}`, body })
  }
  return all
}

/** Runs a case. Resolves with the error, or with undefined. */
async function outcomeOf(body) {
  const context = new CaseContext()
  let timer
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`did not end within ${limitMs / 1000} s`)), limitMs)
  })
  try {
    await Promise.race([body(context), late])
    return undefined
  } catch (error) {
    return error ?? new Error('rejected without an error')
  } finally {
    clearTimeout(timer)
    await context.end()
  }
}

async function runCase({ name, body }, reason) {
  const began = performance.now()
  const error = await outcomeOf(body)
  const ms = Math.round(performance.now() - began)
  const status = error ? (reason ? 'skipped' : 'failed') : reason ? 'passed-though-listed' : 'passed'
  const text = error && `${error.code ? `${error.code} ` : ''}${error.stack ?? error.message ?? error}`
  return { name, status, ms, ...(reason && { reason }), ...(text && { error: text }) }
}

function print({ name, status, ms, reason, error }) {
  const detail = status === 'failed' ? `\n      ${error.split('\n').slice(0, 12).join('\n      ')}` : ''
  if (status !== 'passed' || ms > 10_000)
    console.log(`${status}: ${name} (${ms} ms)${reason ? `: ${reason}` : ''}${detail}`)
}

const all = await load()
const names = new Set(all.map(({ name }) => name))
if (names.size !== all.length) throw new Error('two cases have the same name')
const listed = skips(platform)
const unknown = [...listed.keys()].filter((name) => !names.has(name))
const wanted =
  positionals.length === 0 ? all : all.filter(({ name }) => positionals.some((text) => name.includes(text)))

const began = performance.now()
const queue = wanted.slice()
const results = []
async function work() {
  for (let next = queue.shift(); next; next = queue.shift()) {
    const result = await runCase(next, listed.get(next.name))
    results.push(result)
    print(result)
  }
}
await Promise.all(Array.from({ length: Number(values.jobs) }, work))
await endChildren()

for (const name of unknown)
  results.push({
    name,
    status: 'failed',
    ms: 0,
    error: `skips.js lists "${name}" for ${platform}, but no case has that name`,
  })
const count = (status) => results.filter((each) => each.status === status).length
const seconds = Number(((performance.now() - began) / 1000).toFixed(1))
if (values.report) writeFileSync(values.report, JSON.stringify({ platform, seconds, results }, null, 2))
const unexpected = count('passed-though-listed')
console.log(
  `${platform}: ${count('passed') + unexpected} passed, ${count('skipped')} skipped by the list, ${count('failed')} failed` +
    `${unexpected > 0 ? `, ${unexpected} listed but passed` : ''} (${seconds} s)`,
)
// Not process.exitCode: a failed case can leave a wait behind that keeps the process alive.
process.exit(count('failed') > 0 || wanted.length === 0 ? 1 : 0)
