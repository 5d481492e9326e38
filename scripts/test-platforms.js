import { cpSync, mkdirSync, readdirSync, rmSync } from 'node:fs'
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
const addonsIn = (folder) => readdirSync(folder).filter((name) => name.endsWith('.node'))

try {
  await phase('install', async ({ run }) => {
    for (const what of ['npm', 'install-tools']) await run(...script('setup', what))
  })
  await phase('build release', async ({ run }) => {
    await run(...script('build', '--addon-only', '--out', addon))
    // The tests of bundlers use the checkout as the package.
    if (addonsIn(join(root, 'dist')).length === 0)
      for (const file of addonsIn(addon)) cpSync(join(addon, file), join(root, 'dist', file))
  })
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
