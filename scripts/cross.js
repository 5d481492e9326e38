// node scripts/cross.js prepare|build <platform>   started by scripts/test-platforms.js, concurrently with other work
// Ends with code 3 if this machine does not support the platform.
import { build, platforms, prepare } from './lib/cross.js'
import { Unavailable } from './lib/toolchain.js'

const [what, name] = process.argv.slice(2)
const steps = { prepare, build }
if (!(what in steps) || !(name in platforms)) {
  console.error(`node scripts/cross.js prepare|build <platform>. Expected one of: ${Object.keys(platforms).join(', ')}`)
  process.exit(2)
}
try {
  steps[what](name)
} catch (error) {
  console.error(`warmswap: ${name}: ${error.message}`)
  process.exitCode = error instanceof Unavailable ? 3 : 1
}
