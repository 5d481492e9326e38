import { rustSuites } from './lib/capabilities.js'
import { parseCapability } from './lib/cli.js'
import { attempt, useHostTarget } from './lib/process.js'
import { ensureNextest } from './lib/setup.js'

const usage = `npm run rs -- <capability> [filter …]

Runs Rust tests with cargo nextest. Builds no addon and needs no Node package.
A filter is part of a test's name. 'unit' has the tests inside src/core.

  npm run rs -- locks                     all tests of the locks
  npm run rs -- locks stale               those with 'stale' in their name
  npm run rs -- unit core::locks          the unit tests of src/core/locks
  npm run rs -- locks stale --nocapture   with their output, one at a time`

const { capability, rest, values } = parseCapability({
  usage,
  known: rustSuites(),
  options: { nocapture: { type: 'boolean', default: false } },
})
useHostTarget()
const { status } = attempt('cargo', [
  ...ensureNextest(),
  'run',
  '--no-default-features',
  '--features',
  'testing',
  ...(capability === 'unit' ? ['--lib'] : ['--test', capability]),
  ...(values.nocapture ? ['--no-capture'] : []),
  ...rest,
])
process.exitCode = status ?? 1
