// npm run test:vite-latest [-- <version or tag> …]   the tests of state and rescue with newer versions of Vite
//   Without arguments: `latest`, and `beta` if npm has a newer one under that tag.
// Neither package.json nor the lock file changes: each version is installed into .cache/vite, and the tests load it from
// there (WARMSWAP_VITE). vitest itself, and the tests of workerd, use the Vite of the lock file.
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { attempt, root, run } from './lib/process.js'
import { ensureInstalled } from './lib/setup.js'

const TESTS = [
  'vite-discoveries',
  'vite-inflight',
  'vite-inflight-graphs',
  'vite-links',
  'vite-recovery',
  'vite-registry',
  'vite-trouble',
].map((name) => `__test__/state/${name}.test.ts`)

const { positionals } = parseArgs({ allowPositionals: true })

/** The value that npm prints, or undefined. */
function ask(...args) {
  const { status, stdout } = attempt('npm', ['view', ...args, '--json'], {
    stdio: ['ignore', 'pipe', 'ignore'],
    encoding: 'utf8',
  })
  return status === 0 && stdout.trim() !== '' ? JSON.parse(stdout) : undefined
}

function wanted() {
  if (positionals.length > 0) return positionals
  const { latest, beta } = ask('vite', 'dist-tags') ?? {}
  if (latest === undefined) throw new Error('npm does not answer: npm view vite dist-tags')
  const order = (version) => version.split(/[.-]/).slice(0, 3).map(Number)
  const isNewer = (one, other) => {
    const [left, right] = [order(one), order(other)]
    const index = left.findIndex((number, at) => number !== right[at])
    return index >= 0 && left[index] > right[index]
  }
  return beta !== undefined && isNewer(beta, latest) ? [latest, beta] : [latest]
}

/** Installs this Vite into a folder of its own. Returns its version and its package folder. */
function install(wish) {
  const home = join(root, '.cache/vite', wish)
  rmSync(home, { recursive: true, force: true })
  mkdirSync(home, { recursive: true })
  writeFileSync(join(home, 'package.json'), JSON.stringify({ private: true, type: 'module' }))
  run('npm', ['install', `vite@${wish}`, '--no-audit', '--no-fund', '--no-package-lock', '--loglevel=error'], {
    cwd: home,
  })
  const folder = join(home, 'node_modules/vite')
  return { folder, version: JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8')).version }
}

ensureInstalled()
run(process.execPath, ['scripts/build.js', '--js-only'])
const failed = []
for (const wish of wanted()) {
  const { folder, version } = install(wish)
  console.log(`\nVite ${version} (${wish})`)
  const { status } = attempt(
    process.execPath,
    // The names of tests for each Vite version contain it. The other tests are in `npm test`.
    [join(root, 'node_modules/vitest/vitest.mjs'), 'run', '--reporter=dot', '--silent', '-t', 'Vite \\d', ...TESTS],
    { stdio: 'inherit', env: { ...process.env, WARMSWAP_VITE: folder } },
  )
  if (status !== 0) failed.push(version)
  console.log(`Vite ${version}: ${status === 0 ? 'all tests pass' : 'tests fail'}`)
}
console.log(failed.length === 0 ? 'vite-latest: ok' : `vite-latest: failed with Vite ${failed.join(', ')}`)
process.exitCode = failed.length === 0 ? 0 : 1
