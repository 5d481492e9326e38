import { typescriptSuites } from './lib/capabilities.js'
import { parseCapability } from './lib/cli.js'
import { attempt, useHostTarget } from './lib/process.js'
import { rebuild } from './lib/rebuild.js'
import { ensureInstalled } from './lib/setup.js'

const usage = `npm run ts -- <capability> [name filter]

Rebuilds what is older than its sources (the addon in the dev profile, dist/*.js), then runs TypeScript tests.
The name filter is a regular expression for vitest's -t.

  npm run ts -- locks                      all tests of __test__/locks
  npm run ts -- locks "event loop"         those with 'event loop' in their name
  npm run ts -- locks --file folders       one file`

const { capability, rest, values } = parseCapability({
  usage,
  known: typescriptSuites(),
  options: { file: { type: 'string' } },
})
useHostTarget()
ensureInstalled()
rebuild(capability)
const filter = rest.length > 0 ? ['-t', rest.join(' ')] : []
const files = `__test__/${capability}/${values.file ?? ''}`
const { status } = attempt(process.execPath, ['node_modules/vitest/vitest.mjs', 'run', files, ...filter])
process.exitCode = status ?? 1
