// npm test [-- <capability> …]   installs what is missing, builds, runs the checks and every suite
//   --long          the longer forms as well (WARMSWAP_LONG=1)
//   --checks-only   only format, lints and types
// Each capability is one folder of __test__ and one file of __test__/rust.
import { existsSync, mkdirSync, readFileSync, readdirSync, rmSync } from 'node:fs'
import { join, relative } from 'node:path'
import { attempt, hostTarget, root, run } from './lib/process.js'
import { ensureCrate, ensureInstalled, ensureNpm, ensurePrograms, ensurePython } from './lib/setup.js'

const flags = process.argv.slice(2).filter((arg) => arg.startsWith('--'))
const wanted = process.argv.slice(2).filter((arg) => !arg.startsWith('--'))
const all = ['foundation', 'bundles', 'locks', 'archives', 'caches', 'state', 'restarts', 'race-kit', 'install']
const capabilities = wanted.length > 0 ? wanted : all
if (flags.includes('--long')) process.env.WARMSWAP_LONG = '1'

// The napi CLI builds for a named target; so does everything here, else Cargo keeps two copies of all dependencies.
process.env.CARGO_BUILD_TARGET ??= hostTarget()

const timings = []
const totals = { passed: 0, failed: 0, skipped: 0 }
// Told once more at the end, with the reason: a log is often kept by its tail only.
const failures = []

function phase(name, work) {
  console.log(`\n── ${name}`)
  const started = performance.now()
  work()
  timings.push([name, (performance.now() - started) / 1000])
}

function checks() {
  run('cargo', ['fmt', '--check'])
  run('cargo', ['clippy', '--all-targets', '--no-default-features', '--features', 'testing', '--', '-D', 'warnings'])
  run('cargo', ['clippy', '--', '-D', 'warnings'])
}

function types() {
  run('npx', ['tsc', '--noEmit'])
  // What the build generates is committed; a difference means that somebody forgot to build.
  const generated = ['index.d.ts', 'src/js/native/binding.d.cts', 'src/js/native/binding.cjs']
  if (process.env.CI) run('git', ['diff', '--exit-code', '--stat', '--', ...generated])
}

function cargoTests() {
  const args = ['test', '--no-default-features', '--features', 'testing', '--no-fail-fast', '--lib', '--bins']
  for (const name of capabilities) if (existsSync(join(root, `__test__/rust/${name}.rs`))) args.push('--test', name)
  const result = attempt('cargo', [...args, '--', '--test-threads=2'], {
    stdio: ['ignore', 'pipe', 'inherit'],
    encoding: 'utf8',
    maxBuffer: 1 << 28,
  })
  process.stdout.write(result.stdout)
  for (const [, passed, failed, ignored] of result.stdout.matchAll(
    /test result: \w+\. (\d+) passed; (\d+) failed; (\d+) ignored/g,
  )) {
    totals.passed += Number(passed)
    totals.failed += Number(failed)
    totals.skipped += Number(ignored)
  }
  for (const [, name] of result.stdout.matchAll(/^test (\S+) \.\.\. FAILED$/gm))
    failures.push(`core: ${name}${reason(panicOf(result.stdout, name))}`)
  if (result.status !== 0 && failures.length === 0) failures.push('core: cargo test did not end well')
  if (result.status !== 0) totals.failed ||= 1
}

function vitest(name) {
  const folder = join(root, '__test__', name)
  if (!existsSync(folder) || readdirSync(folder, { recursive: true }).every((file) => !/\.test\.ts$/.test(file))) return
  const report = join(root, 'build/reports', `${name}.json`)
  mkdirSync(join(root, 'build/reports'), { recursive: true })
  rmSync(report, { force: true })
  const result = attempt(
    'npx',
    ['vitest', 'run', `__test__/${name}/`, '--reporter=verbose', '--reporter=json', `--outputFile.json=${report}`],
    { stdio: ['ignore', 'inherit', 'inherit'] },
  )
  if (!existsSync(report)) {
    totals.failed += 1
    failures.push(`${name}: vitest wrote no report`)
    return
  }
  const { numPassedTests, numFailedTests, numFailedTestSuites, numPendingTests, numTodoTests, testResults } =
    JSON.parse(readFileSync(report, 'utf8'))
  failures.push(...failedTests(testResults))
  totals.passed += numPassedTests
  totals.skipped += numPendingTests + numTodoTests
  // A file that fails outside its tests counts too, and so does an error that vitest saw after them.
  totals.failed += numFailedTests || numFailedTestSuites || (result.status === 0 ? 0 : 1)
}

/** What a Rust test said when it failed. */
function panicOf(output, name) {
  const [, said = ''] = output.split(`---- ${name} stdout ----\n`)
  return said.split(/\n---- |\nfailures:/)[0]
}

/** The first lines of a message, indented. */
function reason(message) {
  const lines = message.trim().split('\n').slice(0, 8)
  return lines.map((line) => `\n      ${line.slice(0, 400)}`).join('')
}

/** A file that fails outside its tests is named too. */
function failedTests(files) {
  return files.flatMap(({ name, status, message, assertionResults }) => {
    const failed = assertionResults
      .filter((test) => test.status === 'failed')
      .map(
        ({ fullName, failureMessages }) => `${relative(root, name)}: ${fullName}${reason(failureMessages.join('\n'))}`,
      )
    return status === 'failed' && failed.length === 0 ? [`${relative(root, name)}: ${message}`] : failed
  })
}

phase('install', () => {
  ensureInstalled()
  const missing = ensurePrograms({
    strace: 'strace',
    chromium: 'chromium',
    bsdtar: 'libarchive-tools',
    'mkfs.xfs': 'xfsprogs',
    'mkfs.btrfs': 'btrfs-progs',
    zstd: 'zstd',
    pigz: 'pigz',
    openssl: 'openssl',
  })
  if (missing.length > 0)
    console.log(
      `warmswap: not installed, and the tests that need them will say that they are skipped: ${missing.join(', ')}`,
    )
  if (capabilities.includes('install') && !flags.includes('--checks-only'))
    ensureNpm('install-tools', join(root, '__test__/install/tools'))
  // The S3 servers of the caches' suite: here, so that no test waits for a compiler.
  if (capabilities.includes('caches') && !flags.includes('--checks-only')) {
    ensureCrate('s3s-fs', '0.14.1', 'binary')
    ensurePython('moto', ['moto[s3,server]==5.2.*'])
  }
})
phase('format and lints', checks)
if (!flags.includes('--checks-only')) {
  phase('build', () => {
    run(process.execPath, ['scripts/build.js'])
    run(process.execPath, ['scripts/build.js', '--testing'])
    run('cargo', ['build', '--quiet', '--no-default-features', '--features', 'testing', '--bins'])
  })
  phase('types', types)
  phase('core', cargoTests)
  for (const name of capabilities) phase(name, () => vitest(name))
}

console.log(
  `\n${timings.map(([name, seconds]) => `${name.padEnd(18)} ${seconds.toFixed(0).padStart(5)} s`).join('\n')}\n`,
)
if (!flags.includes('--checks-only')) {
  if (failures.length > 0) console.log(`failed:\n${failures.map((each) => `  ${each}`).join('\n')}\n`)
  console.log(`${totals.passed} passed, ${totals.failed} failed, ${totals.skipped} skipped`)
  process.exitCode = totals.failed > 0 || totals.passed === 0 ? 1 : 0
}
