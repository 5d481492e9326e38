import { cpSync, mkdirSync, readdirSync, rmSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { expectKnown, parseCommand } from './lib/cli.js'
import { platforms } from './lib/cross.js'
import { giveUp, phase, printTimings } from './lib/phases.js'
import { printPortable, runPortable } from './lib/portable.js'
import { root, useHostTarget } from './lib/process.js'
import { Results } from './lib/results.js'

const longNames = Object.keys(platforms).filter((name) => platforms[name].isLong)
const usage = `npm run test:platforms [-- <what> …] [--long]

Builds the addon that ships for this machine and runs the tests of the packed packages with it. Then it runs the portable
suite in other runtimes, and on other platforms in emulation. What these need is downloaded into .cache/cross. With names,
only these run, and the addon that ships is built only if one of them uses it: packages, ${Object.keys(platforms).join(', ')}.

  --long   also the platforms that take long: ${longNames.join(', ')}`

const known = ['packages', ...Object.keys(platforms)]
const command = { usage, known }
const { values, positionals } = parseCommand({ usage, known: [], options: { long: { type: 'boolean' } } })
expectKnown(positionals, command)
const usual = values.long ? known : known.filter((name) => !longNames.includes(name))
const wanted = positionals.length > 0 ? positionals : usual
useHostTarget()
const addon = join(root, 'build/release')
const report = join(root, 'build/reports/platforms.json')
const results = new Results()
const script = (name, ...args) => [process.execPath, [`scripts/${name}.js`, ...args]]
/** Platforms without a target run with this machine's addon. */
const needsRelease = wanted.some((name) => name === 'packages' || (!platforms[name].target && !platforms[name].own))
/** The addon for Linux x64 has 8.96 MB. The rest is for changes of dependencies and of the core. */
const MOST_BYTES = 9.2e6
const addonsIn = (folder) => readdirSync(folder).filter((name) => name.endsWith('.node'))

async function testPackages({ attempt }) {
  mkdirSync(join(root, 'build/reports'), { recursive: true })
  rmSync(report, { force: true })
  const vitest = ['node_modules/vitest/vitest.mjs', 'run', '__test__/install/', '--reporter=verbose', '--reporter=json']
  const env = { WARMSWAP_RELEASE_ADDON: addon }
  results.addVitest(report, await attempt(process.execPath, [...vitest, `--outputFile.json=${report}`], { env }))
}

const buildRelease = () =>
  phase('build release', async ({ run }) => {
    await run(...script('build', '--addon-only', '--out', addon))
    for (const file of addonsIn(addon)) {
      const { size } = statSync(join(addon, file))
      if (size > MOST_BYTES) throw new Error(`${file} has ${size} bytes, and ${MOST_BYTES} are allowed`)
    }
    // The tests of bundlers use the checkout as the package.
    if (addonsIn(join(root, 'dist')).length === 0)
      for (const file of addonsIn(addon)) cpSync(join(addon, file), join(root, 'dist', file))
  })

try {
  await phase('install', async ({ run }) => {
    for (const what of ['npm', 'install-tools']) await run(...script('setup', what))
  })
  if (needsRelease) await buildRelease()
  await phase('types', ({ run }) => run(...script('build', '--js-only')))
  if (wanted.includes('packages')) await phase('packages', testPackages)
  const names = wanted.filter((name) => name !== 'packages')
  if (names.length > 0) await runPortable(names, { addon: join(addon, 'warmswap.linux-x64-gnu.node'), results })
  printTimings()
  if (names.length > 0) printPortable()
  results.print()
  process.exitCode = results.failed > 0 || results.passed === 0 ? 1 : 0
} catch (error) {
  giveUp(error)
}
