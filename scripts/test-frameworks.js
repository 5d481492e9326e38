// npm run test:frameworks [-- <framework> …]   real frameworks, installed from npm: no request fails over a late discovery
//   --runs N   late discoveries with warmswap (default 10)
//   --long     also the other frameworks, and builds with --watch
//   --report   writes the results into bench/RESULTS.md
// Each framework runs with warmswap and without: without it requests must fail, otherwise the test proves nothing.
import { cpSync, existsSync, mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { report } from '../bench/lib/report.js'
import { builds, checkBuilds } from '../__test__/frameworks/builds.js'
import { checkExamples, examples } from '../__test__/frameworks/example.js'
import { checkPages, pages } from '../__test__/frameworks/hmr.js'
import { checkHosts, hosts, serve } from '../__test__/frameworks/hosts.js'
import { framesModule, lateModule, writePackages } from '../__test__/frameworks/packages.js'
import { root, run } from './lib/process.js'
import { ensureInstalled, ensureNpm } from './lib/setup.js'

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    runs: { type: 'string', default: '10' },
    long: { type: 'boolean', default: false },
    report: { type: 'boolean', default: false },
  },
})
const RUNS = Number(values.runs)
const RUNS_WITHOUT = 2
const REQUESTS = 36
const CONCURRENT = 6
/** A run that sees no reload within this number of requests has failed. */
const MOST_REQUESTS = 600

const frameworks = {
  rwsdk: { program: ['vite/bin/vite.js', '--strictPort'], path: '' },
  astro: { program: ['astro/bin/astro.mjs', 'dev'], path: '' },
}
const all = Object.entries({ ...frameworks, ...hosts, ...builds, ...pages, ...examples }).filter(
  ([, { isLong }]) => values.long || !isLong,
)
const named = positionals.length > 0 ? positionals : all.map(([name]) => name)
const names = named.filter((name) => frameworks[name] !== undefined)
const hostNames = named.filter((name) => hosts[name] !== undefined)
const buildNames = named.filter((name) => builds[name] !== undefined)
const exampleNames = named.filter((name) => examples[name] !== undefined)
const pageNames = named.filter((name) => pages[name] !== undefined)
// @cloudflare/vite-plugin and Astro need Node 22 or later.
const node =
  Number(process.versions.node.split('.')[0]) >= 22
    ? process.execPath
    : join(root, 'node_modules/node22-linux-x64/bin/node')

const totals = { passed: 0, failed: 0, skipped: 0 }
/** Rows of bench/RESULTS.md. */
const rows = []

const exampleFolder = join(root, 'examples/redwood')

/** The folder with the lock file of a fixture. For RedwoodSDK it is the example. */
const packagesOf = (name) => (name === 'rwsdk' ? exampleFolder : join(root, '__test__/frameworks', name))
const packages = (name) => ensureNpm(`frameworks/${name}`, packagesOf(name))

/** Creates the application, with its packages as a user has them. Returns its folder. */
function prepare(name, count) {
  const home = copyFiles(name)
  cpSync(join(root, '__test__/frameworks', name), home, { recursive: true })
  writePackages(home, count)
  writeFileSync(join(home, 'src/frames.js'), framesModule(count))
  writeFileSync(join(home, 'src/late.js'), lateModule(0))
  return home
}

function copyFiles(name) {
  const home = packages(name)
  for (const entry of ['src', '.warmswap', '.wrangler', '.astro', 'node_modules/.vite', 'node_modules/.cache'])
    rmSync(join(home, entry), { recursive: true, force: true })
  const isInstalled = (path) => path.startsWith(join(exampleFolder, 'node_modules'))
  cpSync(packagesOf(name), home, { recursive: true, filter: (path) => !isInstalled(path) })
  installWarmswap(join(home, 'node_modules/warmswap'))
  return home
}

/** A real directory, as npm creates it: Vite treats a linked package differently. */
function installWarmswap(home) {
  rmSync(home, { recursive: true, force: true })
  mkdirSync(home, { recursive: true })
  for (const entry of ['package.json', 'index.d.ts']) cpSync(join(root, entry), join(home, entry))
  cpSync(join(root, 'dist'), join(home, 'dist'), { recursive: true })
}

async function get(url, id) {
  try {
    const response = await fetch(`${url}/?id=${id}`, { signal: AbortSignal.timeout(120_000) })
    const text = await response.text()
    const isRight =
      response.status === 200 &&
      (text.includes(`[id=${id};late=none]`) || text.includes(`[id=${id};late=${id}]`)) &&
      text.includes('</html>')
    return { isRight, status: response.status, text }
  } catch (error) {
    return { isRight: false, status: 0, text: String(error.cause ?? error) }
  }
}

/** Waits for the first right answer: the cold start has discoveries and reloads of its own. */
async function warmUp(server) {
  const deadline = Date.now() + 300_000
  let inARow = 0
  while (inARow < 5) {
    if (server.child.exitCode !== null || Date.now() > deadline) throw new Error(`it does not start:\n${server.output}`)
    const { isRight } = await get(server.url, 'warm')
    inARow = isRight ? inARow + 1 : 0
    if (!isRight) await new Promise((resolve) => setTimeout(resolve, 200))
  }
}

/** Sends requests while a source file starts to import the late dependency. Resolves with the wrong answers. */
async function discover(server, home, n) {
  const wrong = []
  let sent = 0
  let after = 0
  const reloaded = () => {
    const at = server.output.indexOf(`late-${n}`)
    return at >= 0 && server.output.includes('optimized dependencies changed. reloading', at)
  }
  writeFileSync(join(home, 'src/late.js'), lateModule(n))
  const client = async () => {
    while (sent < MOST_REQUESTS && (sent < REQUESTS || after < CONCURRENT)) {
      sent += 1
      const id = `${n}-${sent}`
      const answer = await get(server.url, id)
      if (!answer.isRight) wrong.push({ id, ...answer })
      if (reloaded()) after += 1
    }
  }
  await Promise.all(Array.from({ length: CONCURRENT }, client))
  if (after === 0) throw new Error(`no late discovery of late-${n} in ${sent} requests:\n${server.output.slice(-3000)}`)
  return { wrong, sent }
}

async function attempt(name, runs, env) {
  const home = prepare(name, Math.max(runs, RUNS_WITHOUT))
  const server = await serve(node, home, home, { ...frameworks[name], env })
  try {
    await warmUp(server)
    const wrong = []
    let sent = 0
    for (let n = 1; n <= runs; n += 1) {
      const result = await discover(server, home, n)
      wrong.push(...result.wrong)
      sent += result.sent
      console.log(`  ${name}, discovery ${n}: ${result.wrong.length} of ${result.sent} wrong`)
    }
    return { wrong, sent, output: server.output }
  } finally {
    await server.stop()
    if (process.env.WARMSWAP_SHOW) console.log(server.output)
  }
}

function record(what, isRight, detail) {
  totals[isRight ? 'passed' : 'failed'] += 1
  rows.push({ what, ours: isRight ? 'passed' : 'failed' })
  console.log(`${isRight ? '✓' : '×'} ${what}${isRight ? '' : `\n${detail}`}`)
}

function skip(count, reason) {
  totals.skipped += count
  console.log(`skipped: ${reason}`)
}

async function check(name, runs, env, what, judge) {
  try {
    const result = await attempt(name, runs, env)
    const example = result.wrong[0]
    const counts = `${result.wrong.length} of ${result.sent} requests wrong`
    record(
      `${name}: ${what} (${counts})`,
      judge(result),
      `${counts}, such as ${JSON.stringify(example)?.slice(0, 600)}`,
    )
  } catch (error) {
    record(`${name}: ${what}`, false, error.stack)
  }
}

ensureInstalled()
if (!existsSync(join(root, 'dist/vite.js'))) run(process.execPath, ['scripts/build.js'])
if (existsSync(node)) {
  for (const name of names) {
    await check(name, RUNS, {}, `no request fails over ${RUNS} late discoveries`, ({ wrong }) => wrong.length === 0)
    await check(
      name,
      RUNS_WITHOUT,
      { WITHOUT_WARMSWAP: '1' },
      'without warmswap requests fail',
      ({ wrong }) => wrong.length > 0,
    )
  }
  await checkHosts(hostNames, { root, node, packages, installWarmswap, record })
  await checkBuilds(buildNames, { root, node, packages, prepare, installWarmswap, record, isLong: values.long })
  await checkExamples(exampleNames, { node, prepareExample: () => copyFiles('rwsdk'), record })
  await checkPages(pageNames, { root, node, packages, prepare, installWarmswap, record, skip })
} else {
  totals.skipped =
    names.length * 2 + hostNames.length * 4 + buildNames.length + pageNames.length * 2 + exampleNames.length
  console.log(`skipped: ${node} is not installed, and these frameworks need Node 22`)
}
if (values.report) report('frameworks', rows, [], `npm run test:frameworks -- ${process.argv.slice(2).join(' ')}`)
console.log(`${totals.passed} passed, ${totals.failed} failed, ${totals.skipped} skipped`)
process.exit(totals.failed > 0 ? 1 : 0)
