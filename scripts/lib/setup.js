// What a fresh machine lacks is installed here, so that `npm test` and `npm run demo` are the only commands.
import { cpSync, existsSync, mkdirSync, rmSync, statSync, utimesSync } from 'node:fs'
import { join } from 'node:path'
import { attempt, root, run } from './process.js'

const isNewer = (one, other) => !existsSync(other) || statSync(one).mtimeMs > statSync(other).mtimeMs

/** Installs the npm dependencies if they are missing or the lock file has changed. */
export function ensureInstalled(directory = root) {
  const marker = join(directory, 'node_modules/.package-lock.json')
  if (!isNewer(join(directory, 'package-lock.json'), marker)) return
  run('npm', ['ci', '--ignore-scripts', '--no-audit', '--no-fund', '--loglevel=error'], { cwd: directory })
  // The alias node22-linux-x64 is for the tests that need another Node; as .bin/node it would become everybody's.
  rmSync(join(directory, 'node_modules/.bin/node'), { force: true })
  utimesSync(marker, new Date(), new Date())
}

/** The packages of a folder's lock file, installed once into .cache. Returns the folder. */
export function ensureNpm(name, source) {
  const home = join(root, '.cache', name)
  mkdirSync(home, { recursive: true })
  const marker = join(home, 'node_modules/.package-lock.json')
  if (!isNewer(join(source, 'package-lock.json'), marker)) return home
  for (const file of ['package.json', 'package-lock.json']) cpSync(join(source, file), join(home, file))
  run('npm', ['ci', '--ignore-scripts', '--no-audit', '--no-fund', '--loglevel=error'], { cwd: home })
  utimesSync(marker, new Date(), new Date())
  return home
}

/** Installs Debian packages whose programs are missing. Returns the programs that are still missing. */
export function ensurePrograms(wanted) {
  const isMissing = ([program]) => attempt('sh', ['-c', `command -v ${program}`], { stdio: 'ignore' }).status !== 0
  const missing = Object.entries(wanted).filter(isMissing)
  if (
    missing.length > 0 &&
    process.getuid?.() === 0 &&
    attempt('sh', ['-c', 'command -v apt-get'], { stdio: 'ignore' }).status === 0
  ) {
    console.log(`warmswap: installing ${missing.map(([, name]) => name).join(' ')}`)
    attempt(
      'sh',
      [
        '-c',
        `apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq ${missing.map(([, name]) => name).join(' ')}`,
      ],
      { stdio: 'ignore' },
    )
  }
  return missing.filter(isMissing).map(([program]) => program)
}

/** A Python environment of our own with these packages. Returns its bin folder, or undefined if it cannot be made. */
export function ensurePython(name, packages) {
  const home = join(root, '.cache', name)
  const done = join(home, '.installed')
  if (existsSync(done)) return join(home, 'bin')
  mkdirSync(join(root, '.cache'), { recursive: true })
  const made =
    attempt('python3', ['-m', 'venv', home], { stdio: 'ignore' }).status === 0 &&
    attempt(join(home, 'bin/pip'), ['install', '-q', ...packages], { stdio: 'ignore' }).status === 0
  if (!made) return undefined
  attempt('touch', [done])
  return join(home, 'bin')
}

/** The program of a crate, compiled once into .cache. Returns its path, or undefined if it cannot be made. */
export function ensureCrate(name, version, features) {
  const home = join(root, '.cache', `${name}-${version}`)
  const program = join(home, 'bin', name)
  if (existsSync(program)) return program
  console.log(`warmswap: compiling ${name} ${version}`)
  const target = join(home, 'target')
  const made =
    attempt(
      'cargo',
      [
        'install',
        name,
        '--version',
        version,
        '--features',
        features,
        '--locked',
        '--root',
        home,
        '--target-dir',
        target,
      ],
      { stdio: 'ignore' },
    ).status === 0
  rmSync(target, { recursive: true, force: true })
  return made ? program : undefined
}
