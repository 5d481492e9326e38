// node scripts/wine.js [argument of __test__/portable/run.js …]   runs the portable suite in Node for Windows, under Wine
// Ends with code 3 if this machine cannot have Wine.
import { join } from 'node:path'
import { attempt, root } from './lib/process.js'
import { build, prepare, runtime, Unavailable } from './lib/wine.js'

try {
  prepare()
  build()
  const { command, env } = runtime()
  const [program, ...args] = [...command, join(root, '__test__/portable/run.js'), ...process.argv.slice(2)]
  process.exitCode = attempt(program, args, { env }).status ?? 1
} catch (error) {
  console.error(`warmswap: win32-x64-wine: ${error.message}`)
  process.exitCode = error instanceof Unavailable ? 3 : 1
}
