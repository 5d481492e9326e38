// The steps of a release (.github/workflows/release.yml). Each can be repeated after a partial failure.
//   node scripts/release.js check              the tag, the version and the repository field agree with the run
//   node scripts/release.js try FOLDER         installs the packed tarballs into an empty folder and uses every capability;
//                                              with --portable, it also runs __test__/portable with what is installed
//   node scripts/release.js publish FOLDER     publishes the platform packages, waits until the registry has each of them,
//                                              then publishes the root package under the tag `next`
//   node scripts/release.js verify             installs this version from the registry and uses every capability
//   node scripts/release.js promote            moves the tag `latest` to this version
// Options: --registry URL, --provenance (for publish), --userconfig FILE.
import { createHash } from 'node:crypto'
import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import { attempt, root } from './lib/process.js'

const { values: options, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    registry: { type: 'string' },
    userconfig: { type: 'string' },
    provenance: { type: 'boolean', default: false },
    portable: { type: 'boolean', default: false },
    'wait-minutes': { type: 'string', default: '10' },
  },
})
const [verb, folder] = positionals
const main = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'))
// On Windows, npm is a script that only a shell finds.
const shell = process.platform === 'win32'
const flags = [
  ...(options.registry ? ['--registry', options.registry] : []),
  ...(options.userconfig ? ['--userconfig', options.userconfig] : []),
]

function fail(message) {
  console.error(`warmswap release: ${message}`)
  process.exit(1)
}

function npm(args, settings = {}) {
  return attempt('npm', [...args, ...flags], { shell, encoding: 'utf8', ...settings })
}

/** Runs npm and ends this script if it fails. */
function mustNpm(args, settings) {
  const { status } = npm(args, settings)
  if (status !== 0) fail(`'npm ${args.join(' ')}' ended with exit code ${status}`)
}

/** The sha512 that the registry has for a version, or undefined if it does not have the version. */
function published(name, version) {
  const { status, stdout } = npm(['view', `${name}@${version}`, 'dist.integrity', '--json', '--prefer-online'], {
    stdio: ['ignore', 'pipe', 'ignore'],
  })
  return status === 0 && stdout.trim() !== '' ? JSON.parse(stdout) : undefined
}

/** The tarballs of a folder, the root package last. */
function tarballs() {
  if (folder === undefined) fail(`'${verb}' needs the folder with the tarballs`)
  const suffix = `-${main.version}.tgz`
  const files = readdirSync(folder).filter((file) => file.endsWith(suffix))
  const packed = files.map((file) => ({ name: file.slice(0, -suffix.length), path: resolve(folder, file) }))
  if (!packed.some(({ name }) => name === main.name)) fail(`there is no ${main.name}${suffix} in ${folder}`)
  if (packed.length < 2) fail(`there is no platform package in ${folder}`)
  return packed.sort((one, other) => Number(one.name === main.name) - Number(other.name === main.name))
}

function check() {
  const repository = main.repository?.url ?? main.repository
  if (!repository) fail('package.json has no repository field. Fill in the repository that runs this workflow')
  const { GITHUB_REPOSITORY: running, GITHUB_REF_NAME: tag } = process.env
  if (running === undefined) fail('GITHUB_REPOSITORY is not set: this check runs in the release workflow')
  const named = /github(?:\.com)?[/:]([^/]+\/[^/]+?)(?:\.git)?$/.exec(repository)?.[1]
  if (named !== running)
    fail(`the repository field names '${named ?? repository}', but this workflow runs in '${running}'`)
  if (tag !== `v${main.version}`) fail(`the tag is '${tag}', but package.json has version ${main.version}`)
  console.log(`warmswap release: ${main.name} ${main.version} from ${running}`)
}

/** Runs the user's program of the install test in a folder where warmswap is installed. */
function use(project) {
  cpSync(join(root, '__test__/install/consumer.mjs'), join(project, 'consumer.mjs'))
  const { status, stdout } = attempt(process.execPath, ['consumer.mjs'], {
    cwd: project,
    stdio: ['ignore', 'pipe', 'inherit'],
    encoding: 'utf8',
  })
  const { imports, done } =
    status === 0
      ? JSON.parse(stdout.trim().split('\n').at(-1))
      : fail(`the user's program ended with exit code ${status}`)
  const failed = Object.entries({ ...imports, ...done }).filter(([, outcome]) => outcome !== 'ok')
  for (const [what, outcome] of failed) console.error(`${what}: ${JSON.stringify(outcome)}`)
  if (failed.length > 0) fail('the installed package does not work')
  console.log(
    `warmswap release: ${Object.keys(imports).length} entry points imported, ${Object.keys(done).length} capabilities used on ${process.platform} ${process.arch}, Node ${process.version}`,
  )
}

/** Runs the portable suite with the package that is installed in a folder. */
function runPortable(project) {
  const { status } = attempt(process.execPath, ['__test__/portable/run.js'], {
    env: { WARMSWAP_PKG: join(project, 'node_modules', main.name) },
  })
  if (status !== 0) fail(`the portable suite ended with exit code ${status}`)
}

/** Creates an empty project, installs warmswap into it with `install`, and uses it. */
function inEmptyFolder(install) {
  const project = mkdtempSync(join(tmpdir(), 'warmswap-release-'))
  try {
    writeFileSync(join(project, 'package.json'), JSON.stringify({ name: 'app', private: true, type: 'module' }))
    install(project)
    use(project)
    if (options.portable) runPortable(project)
  } finally {
    rmSync(project, { recursive: true, force: true })
  }
}

async function publish() {
  const packages = tarballs()
  const rootPackage = packages.pop()
  for (const each of packages) publishOne(each, 'latest')
  for (const each of packages) await visible(each)
  publishOne(rootPackage, 'next')
  await visible(rootPackage)
}

function publishOne({ name, path }, tag) {
  const integrity = `sha512-${createHash('sha512').update(readFileSync(path)).digest('base64')}`
  const there = published(name, main.version)
  if (there === integrity) return console.log(`warmswap release: ${name} ${main.version} is already published`)
  if (there !== undefined) fail(`${name} ${main.version} is in the registry with other bytes. Raise the version`)
  mustNpm(['publish', path, '--access', 'public', '--tag', tag, ...(options.provenance ? ['--provenance'] : [])])
}

/** Waits until the registry returns a version: its caches can take minutes. */
async function visible({ name }) {
  const end = Date.now() + Number(options['wait-minutes']) * 60_000
  while (published(name, main.version) === undefined) {
    if (Date.now() > end)
      fail(
        `${name} ${main.version} was published but is not visible after ${options['wait-minutes']} minutes. Run this step again`,
      )
    await sleep(2000)
  }
}

switch (verb) {
  case 'check':
    check()
    break
  case 'try': {
    const packages = tarballs()
    const cpuAndSystem = `${main.name}-${process.platform}-${process.arch}`
    const fitting = packages.filter(({ name }) => name === main.name || name.startsWith(cpuAndSystem))
    inEmptyFolder((project) => {
      // npm skips the platform package of the other libc only if it is optional.
      const dependencies = Object.fromEntries(
        fitting.filter(({ name }) => name === main.name).map(({ name, path }) => [name, `file:${path}`]),
      )
      const optionalDependencies = Object.fromEntries(
        fitting.filter(({ name }) => name !== main.name).map(({ name, path }) => [name, `file:${path}`]),
      )
      writeFileSync(
        join(project, 'package.json'),
        JSON.stringify({
          name: 'app',
          private: true,
          type: 'module',
          dependencies,
          optionalDependencies,
          overrides: optionalDependencies,
        }),
      )
      mustNpm(['install', '--no-audit', '--no-fund', '--ignore-scripts'], { cwd: project })
    })
    break
  }
  case 'publish':
    await publish()
    break
  case 'verify':
    inEmptyFolder((project) =>
      mustNpm(['install', '--no-audit', '--no-fund', '--ignore-scripts', `${main.name}@${main.version}`], {
        cwd: project,
      }),
    )
    break
  case 'promote':
    mustNpm(['dist-tag', 'add', `${main.name}@${main.version}`, 'latest'])
    break
  default:
    fail('expected one of: check, try, publish, verify, promote')
}
