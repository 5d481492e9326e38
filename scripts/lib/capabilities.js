// The test suites in the repository: the folders of __test__ and the test targets of Cargo.toml.
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { root } from './process.js'

/** The Rust test targets, and `unit` for the tests inside src/core. */
export function rustSuites() {
  const manifest = readFileSync(join(root, 'Cargo.toml'), 'utf8')
  return ['unit', ...[...manifest.matchAll(/^\[\[test\]\]\s*name = "([^"]+)"/gm)].map(([, name]) => name)]
}

/** Suites that test with programs of other projects. `npm run test:platforms` runs them, with the addon that ships. */
export const PLATFORM_SUITES = ['install']

/** The folders of __test__ that have TypeScript tests. */
export function typescriptSuites() {
  return readdirSync(join(root, '__test__')).filter((name) => testFiles(name).length > 0)
}

/** The test files of a folder of __test__, relative to the repository's root. */
export function testFiles(suite) {
  const folder = join(root, '__test__', suite)
  if (!existsSync(join(folder, '.'))) return []
  return readdirSync(folder, { recursive: true })
    .filter((file) => /\.test\.ts$/.test(file))
    .map((file) => `__test__/${suite}/${file}`)
}
