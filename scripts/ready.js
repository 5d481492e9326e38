import { typescriptSuites } from './lib/capabilities.js'
import { foreignLints, formats, lints, types } from './lib/checks.js'
import { parseCommand } from './lib/cli.js'
import { root, run, useHostTarget } from './lib/process.js'
import { rebuildAll } from './lib/rebuild.js'
import { ensureInstalled, ensureNextest } from './lib/setup.js'

const usage = `npm run ready

What to run before a push: formats, lints and fixes what can be fixed, checks the types and the structure of the code,
and runs the fast tier of the tests. Ends at the first problem.`

parseCommand({ usage, known: typescriptSuites() })
const timings = []
function step(name, work) {
  console.log(`\n── ${name}`)
  const began = performance.now()
  work()
  timings.push(`${name.padEnd(18)} ${((performance.now() - began) / 1000).toFixed(0).padStart(5)} s`)
}

function runAll(commands) {
  for (const [command, args, options] of commands) run(command, args, options)
}

process.chdir(root)
useHostTarget()
ensureInstalled()
step('lints', () => runAll([...formats({ fix: true }), ...lints({ fix: true }), ...foreignLints()]))
step('build', rebuildAll)
step('docs', () => run(process.execPath, ['scripts/docs.js']))
step('types', () => runAll(types()))
step('core', () =>
  run('cargo', [...ensureNextest(), 'run', '--features', 'testing', '--lib', '--tests', '--profile', 'fast']),
)
step('suites', () => run(process.execPath, ['node_modules/vitest/vitest.mjs', 'run', '--project', 'fast']))
console.log(`\n${timings.join('\n')}`)
