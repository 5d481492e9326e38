// npm run storm -- <capability> [--minutes N]   the storms of a capability's core, N minutes each (1)
import { attempt, hostTarget } from './lib/process.js'

const args = process.argv.slice(2)
const at = args.indexOf('--minutes')
const minutes = at < 0 ? 1 : Number(args[at + 1])
const [capability] = at < 0 ? args : [...args.slice(0, at), ...args.slice(at + 2)]
if (capability === undefined || !(minutes > 0)) {
  console.error('npm run storm -- <capability> [--minutes N]')
  process.exit(2)
}
process.env.CARGO_BUILD_TARGET ??= hostTarget()
process.env.WARMSWAP_STORM_SECONDS = String(Math.round(minutes * 60))
const { status } = attempt('cargo', [
  'test',
  '--no-default-features',
  '--features',
  'testing',
  '--test',
  capability,
  '--',
  'storm',
  '--nocapture',
  '--test-threads=2',
])
process.exitCode = status ?? 1
