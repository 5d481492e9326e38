import { mkdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { parseCommand } from './lib/cli.js'
import { giveUp, phase, printTimings } from './lib/phases.js'
import { root, useHostTarget } from './lib/process.js'
import { Results } from './lib/results.js'

const usage = `npm run test:platforms

Builds the addon that ships for this machine, and runs the tests of the packed packages with it.`

parseCommand({ usage, known: [] })
useHostTarget()
const addon = join(root, 'build/release')
const report = join(root, 'build/reports/platforms.json')
const results = new Results()
const script = (name, ...args) => [process.execPath, [`scripts/${name}.js`, ...args]]

try {
  await phase('install', async ({ run }) => {
    for (const what of ['npm', 'install-tools']) await run(...script('setup', what))
  })
  await phase('build release', ({ run }) => run(...script('build', '--addon-only', '--out', addon)))
  await phase('types', ({ run }) => run(...script('build', '--js-only')))
  await phase('packages', async ({ attempt }) => {
    mkdirSync(join(root, 'build/reports'), { recursive: true })
    rmSync(report, { force: true })
    const vitest = [
      'node_modules/vitest/vitest.mjs',
      'run',
      '__test__/install/',
      '--reporter=verbose',
      '--reporter=json',
    ]
    const env = { WARMSWAP_RELEASE_ADDON: addon }
    results.addVitest(report, await attempt(process.execPath, [...vitest, `--outputFile.json=${report}`], { env }))
  })
  printTimings()
  results.print()
  process.exitCode = results.failed > 0 || results.passed === 0 ? 1 : 0
} catch (error) {
  giveUp(error)
}
