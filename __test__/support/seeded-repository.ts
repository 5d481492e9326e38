/**
 * A copy of the repository whose package was built with the seeded bugs of src/js, for tests that prove that the suites
 * detect them.
 */

import { execFileSync } from 'node:child_process'
import { cpSync, mkdirSync, rmSync, symlinkSync } from 'node:fs'
import { join } from 'node:path'
import { repository } from './paths.js'

const COPIED = ['__test__', 'dist', 'examples', 'src/js', 'package.json', 'tsdown.config.ts', 'vitest.config.ts']
const LINKED = ['node_modules', 'build/testing', 'target']

/** Creates build/seeded and returns its path. WARMSWAP_MUTANT turns on a bug in programs that run there. */
export function seededRepository(): string {
  const folder = join(repository, 'build/seeded')
  rmSync(folder, { recursive: true, force: true })
  mkdirSync(join(folder, 'build'), { recursive: true })
  // Node looks for a package from the real path of a file, so that links to files would lead to the package without bugs.
  for (const name of COPIED) cpSync(join(repository, name), join(folder, name), { recursive: true })
  for (const name of LINKED) symlinkSync(join(repository, name), join(folder, name))
  execFileSync(process.execPath, ['node_modules/tsdown/dist/run.mjs'], {
    cwd: folder,
    env: { ...process.env, WARMSWAP_TESTING: '1' },
    stdio: ['ignore', 'ignore', 'pipe'],
  })
  return folder
}
