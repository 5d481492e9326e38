import { mkdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { PLATFORM_SUITES, rustSuites, typescriptSuites } from './lib/capabilities.js'
import { formats, lints, types } from './lib/checks.js'
import { expectKnown, parseCommand } from './lib/cli.js'
import { addTiming, giveUp, phase, printTimings } from './lib/phases.js'
import { root, useHostTarget } from './lib/process.js'
import { Results } from './lib/results.js'
import { ensureNextest, missingPrograms } from './lib/setup.js'

const usage = `npm test [-- <capability> …] [--long] [--yes]

Installs what is missing, builds, and runs the lints and the tests. With capabilities, only their tests.
'npm run test:platforms' runs the tests of ${PLATFORM_SUITES.join(', ')}, and this command does if you name them.

  --long   also the longer forms of the tests (WARMSWAP_LONG=1)
  --yes    installs missing Debian packages without a question`

const known = [...new Set([...rustSuites(), ...typescriptSuites()])]
const command = { usage, known, options: { long: { type: 'boolean' }, yes: { type: 'boolean' } } }
const { values, positionals } = parseCommand(command)
expectKnown(positionals, command)
const wanted = positionals.length > 0 ? positionals : known.filter((name) => !PLATFORM_SUITES.includes(name))
const rust = rustSuites().filter((name) => name === 'unit' || wanted.includes(name))
const typescript = typescriptSuites().filter((name) => wanted.includes(name))
if (values.long) process.env.WARMSWAP_LONG = '1'

const results = new Results()
const core = ['--features', 'testing', '--lib']
for (const name of rust.filter((each) => each !== 'unit')) core.push('--test', name)
const script = (name, ...args) => [process.execPath, [`scripts/${name}.js`, ...args]]

async function runAll(run, commands) {
  for (const [program, args] of commands) await run(program, args)
}

/** Installs what single suites need. It downloads and compiles while the rest is built. */
async function installTools({ run }, missing) {
  if (missing.install) await run(...script('setup', 'programs', ...missing.programs))
  if (typescript.includes('install')) await run(...script('setup', 'install-tools'))
  if (!typescript.includes('caches')) return
  await run(...script('setup', 'azurite'))
  await run(...script('setup', 'fake-gcs-server'))
  await run(...script('setup', 'moto'))
  await run(...script('setup', 's3s-fs'))
}

/**
 * Builds the addon of `dist`, then the artifacts that the Rust tests share with the addon with fault points. The order
 * matters: a cdylib has one file for all sets of features, so that each change of the features compiles the crate again
 * (100 s in CI).
 */
async function buildAll() {
  await phase('install', ({ run }) => run(...script('setup', 'npm')))
  // First, so that a run with a wrong format ends before the compilation.
  await phase('formats', ({ run }) => runAll(run, formats({ fix: false })))
  await phase('build', ({ run }) => run(...script('build', '--dev', '--addon-only')))
  await Promise.all([
    phase('types', ({ run }) => runAll(run, [script('build', '--js-only'), ...types()])),
    phase('lints', ({ run }) => runAll(run, lints({ fix: false }))),
  ])
  await phase('build testing', async ({ run }) => {
    await run(...script('build', '--testing'))
    await run('cargo', [...nextest, 'run', '--no-run', ...core])
  })
}

async function testCore({ attempt }) {
  const report = join(process.env.CARGO_TARGET_DIR ?? join(root, 'target'), 'nextest/ci/junit.xml')
  rmSync(report, { force: true })
  results.addNextest(report, await attempt('cargo', [...nextest, 'run', '--profile', 'ci', ...core]))
}

async function testTypescript({ attempt }) {
  const report = join(root, 'build/reports/vitest.json')
  mkdirSync(join(root, 'build/reports'), { recursive: true })
  rmSync(report, { force: true })
  const ended = await attempt(process.execPath, [
    'node_modules/vitest/vitest.mjs',
    'run',
    ...typescript.map((name) => `__test__/${name}/`),
    '--reporter=verbose',
    '--reporter=json',
    `--outputFile.json=${report}`,
  ])
  return results.addVitest(report, ended)
}

const missing = await missingPrograms({ yes: values.yes })
useHostTarget()
const nextest = ensureNextest()
try {
  await Promise.all([phase('tools', (context) => installTools(context, missing)), buildAll()])
  await phase('core', testCore)
  if (typescript.length > 0) {
    const seconds = await phase('suites', testTypescript)
    // Files that ran at the same time count in full.
    for (const [name, each] of Object.entries(seconds)) addTiming(`  ${name}`, each)
  }
  printTimings()
  results.print()
  process.exitCode = results.failed > 0 || results.passed === 0 ? 1 : 0
} catch (error) {
  giveUp(error)
}
