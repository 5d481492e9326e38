// Rebuilds files that are older than their sources, so that a test run after a small change is fast.
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { root, run } from './process.js'

const RUST_SOURCES = ['src/core', 'src/addon', 'src/lib.rs', 'crates', 'Cargo.toml', 'Cargo.lock', 'build.rs']
const SCRIPT_SOURCES = ['src/js', 'tsdown.config.ts', 'scripts/build.js']

/** Time of the last change below these paths. */
function newest(paths, accepts = () => true) {
  return Math.max(
    0,
    ...paths
      .map((path) => join(root, path))
      .filter((path) => existsSync(path))
      .flatMap((path) =>
        statSync(path).isDirectory()
          ? readdirSync(path, { recursive: true, withFileTypes: true })
              .filter((entry) => entry.isFile() && accepts(entry.name))
              .map((entry) => statSync(join(entry.parentPath, entry.name)).mtimeMs)
          : [statSync(path).mtimeMs],
      ),
  )
}

const changed = (path) => (existsSync(path) ? statSync(path).mtimeMs : 0)

const addonIn = (folder) => {
  const path = join(root, folder)
  const name = existsSync(path) && readdirSync(path).find((file) => file.endsWith('.node'))
  return name ? join(path, name) : join(path, 'missing')
}

/** Whether a test of this folder of __test__ uses something whose name matches. */
function uses(suite, pattern) {
  const folder = join(root, '__test__', suite)
  return readdirSync(folder, { recursive: true })
    .filter((file) => /\.(ts|m?js)$/.test(file))
    .some((file) => pattern.test(readFileSync(join(folder, file), 'utf8')))
}

/**
 * Rebuilds what the TypeScript tests of `suite` use, if it is out of date: the addon, the addon with fault points,
 * child programs, dist.
 */
export function rebuild(suite) {
  rebuildAddon()
  if (uses(suite, /testing: true|testingAddon|TESTING_ADDON|build\/testing|rustChild\(/)) rebuildTesting()
  rebuildScripts()
}

/** Rebuilds everything that tests use, if it is out of date. */
export function rebuildAll() {
  rebuildAddon()
  rebuildTesting()
  rebuildScripts()
}

function rebuildAddon() {
  if (newest(RUST_SOURCES) > changed(addonIn('dist')))
    run(process.execPath, ['scripts/build.js', '--dev', '--addon-only'])
}

/** The addon with fault points and the Rust programs that tests start. */
function rebuildTesting() {
  const sources = newest([...RUST_SOURCES, '__test__/programs'], (name) => name.endsWith('.rs'))
  if (sources > changed(addonIn('build/testing'))) run(process.execPath, ['scripts/build.js', '--testing'])
}

function rebuildScripts() {
  // Files that the build of the addon writes there are not sources.
  const sources = newest(SCRIPT_SOURCES, (name) => !name.startsWith('binding.'))
  if (sources > changed(join(root, 'dist/index.js'))) run(process.execPath, ['scripts/build.js', '--js-only'])
}
