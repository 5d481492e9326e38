// macOS on another machine: types, lints, the link of the addon, and a check of what the file needs where it is loaded.
// No emulator runs programs of macOS. zig has the C headers and the list of the C library's symbols.
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { delimiter, dirname, join } from 'node:path'
import { readMachO } from './mach-o.js'
import { attempt, root } from './process.js'
import { addRustTarget, must, releasedFeatures, zigbuild } from './toolchain.js'

/** The oldest macOS that the addon is for, as in .github/workflows/release.yml. */
const OLDEST = '11.0'
const home = join(root, '.cache/cross/macos')
const stubs = join(home, 'stubs')
const cpus = { aarch64: 'arm64', x86_64: 'x64' }

/** The frameworks that the addon is linked with, and how their names begin. zig has no list of the names. */
const FRAMEWORKS = {
  CoreFoundation: /^_k?CF[A-Z]/,
  CoreServices: /^_FSEvent/,
  Security: /^_(k?Sec|SSL|CMS|Authorization)[A-Z]/,
}

/** The headers that declare what the addon imports from the C library. */
const HEADERS = `
  crt_externs.h copyfile.h dirent.h dispatch/dispatch.h dlfcn.h errno.h fcntl.h grp.h libkern/OSCacheControl.h libproc.h mach-o/dyld.h
  mach/mach.h mach/mach_time.h math.h netdb.h poll.h pthread.h pwd.h sched.h setjmp.h signal.h spawn.h stdio.h
  stdlib.h string.h strings.h sys/attr.h sys/clonefile.h sys/event.h sys/file.h sys/ioctl.h sys/mman.h sys/mount.h
  sys/random.h sys/resource.h sys/select.h sys/socket.h sys/stat.h sys/statvfs.h sys/sysctl.h sys/time.h sys/uio.h sys/un.h sys/utsname.h
  sys/wait.h termios.h time.h unistd.h unwind.h utime.h CommonCrypto/CommonRandom.h
`
  .trim()
  .split(/\s+/)

/** Names that the headers of zig do not declare. Each is in every macOS since 10.15. */
const UNDECLARED = new Set(
  `
  dyld_stub_binder _availability_version_check __bzero _Unwind_GetDataRelBase _Unwind_GetTextRelBase
  fgetxattr flistxattr fremovexattr fsetxattr getxattr listxattr removexattr setxattr
`
    .trim()
    .split(/\s+/),
)

/** A function of macOS 15.4: the check is of no use if the compiler accepts it. */
const NEWER = 'strchrnul'

/** The platform's entry for scripts/lib/cross.js. */
export function macos(target) {
  const arch = target.split('-')[0]
  return {
    summary: 'types and lints are right, the addon links, and macOS 11 has its C functions; nothing here can run it',
    prepare() {
      zigbuild()
      addRustTarget(target)
    },
    build() {
      writeStubs()
      const env = { PATH: `${zigbuild()}${delimiter}${process.env.PATH}`, MACOSX_DEPLOYMENT_TARGET: OLDEST }
      // One profile for both, so that the programs of the build are compiled once.
      const common = ['--lib', '--profile', 'cross', '--target', target]
      must('cargo-zigbuild', ['clippy', '--no-default-features', ...common, '--', '-D', 'warnings'], { env })
      must('cargo-zigbuild', ['rustc', ...common, ...releasedFeatures(), '--', '-C', `link-arg=-F${stubs}`], { env })
      const folder = process.env.CARGO_TARGET_DIR ?? join(root, 'target')
      checkAddon(join(folder, target, 'cross/libwarmswap.dylib'), arch)
    },
  }
}

/**
 * Writes a file without names for each framework: the linker needs one. napi-build lets the linker accept names that no
 * file has.
 */
function writeStubs() {
  for (const name of Object.keys(FRAMEWORKS)) {
    const path = `${name}.framework`
    writeStub(`${path}/${name}.tbd`, `/System/Library/Frameworks/${path}/Versions/A/${name}`)
  }
}

function writeStub(path, library) {
  mkdirSync(dirname(join(stubs, path)), { recursive: true })
  const targets = '[ x86_64-macos, arm64-macos ]'
  writeFileSync(
    join(stubs, path),
    `--- !tapi-tbd\ntbd-version: 4\ntargets: ${targets}\ninstall-name: '${library}'\n...\n`,
  )
}

/** Fails unless a macOS of version OLDEST loads the file. */
function checkAddon(path, arch) {
  const file = readMachO(readFileSync(path))
  const problems = [
    file.cpu === cpus[arch] || `it is for ${file.cpu}`,
    ['dylib', 'bundle'].includes(file.kind) || 'it is no library',
    file.platform === 1 || `LC_BUILD_VERSION names platform ${file.platform}, which is not macOS`,
    (file.minimum !== undefined && !isNewer(file.minimum, OLDEST)) || `LC_BUILD_VERSION needs macOS ${file.minimum}`,
    // macOS on arm64 starts nothing without one.
    arch !== 'aarch64' || file.isSigned || 'it has no signature',
    file.exports.includes('_napi_register_module_v1') || '_napi_register_module_v1 is not exported',
    ...file.libraries.map((name) => isOfSystem(name) || `it needs the library ${name}`),
    ...checkFrameworks(file.imports),
    ...checkVersions(file.imports, arch),
  ].filter((each) => each !== true)
  if (problems.length > 0) throw new Error(`${path}\n${problems.map((each) => `  ${each}`).join('\n')}`)
  console.log(`warmswap: macOS ${OLDEST} has the C functions among the ${file.imports.length} imports`)
}

const isOfSystem = (name) => /^\/(usr\/lib|System\/Library\/Frameworks)\//.test(name)

const isOfCLibrary = ({ library }) => library?.startsWith('/usr/lib/')

/** Refuses imports of other libraries. zig's linker keeps those of code that nothing calls. */
function checkFrameworks(imports) {
  const known = Object.values(FRAMEWORKS)
  const others = imports.filter((each) => !isOfCLibrary(each) && !known.some((pattern) => pattern.test(each.name)))
  return others.map(({ name }) => `${name} is of no library that scripts/lib/macos.js lists`)
}

/**
 * Asks the compiler for the imports of the C library that are newer than OLDEST: its headers have the version of each. What
 * may be missing (a weak import) is left out.
 */
function checkVersions(imports, arch) {
  const needed = imports.filter((each) => isOfCLibrary(each) && !each.isOptional)
  // Variants have the name in the headers and a suffix, such as _fstat$INODE64.
  const names = new Set(
    needed.map(({ name }) => name.replace(/^_/, '').split('$')[0]).filter((name) => !UNDECLARED.has(name)),
  )
  const uses = [...names, NEWER].map((name) => `  use((void *)&${name});`)
  const source = join(home, 'imports.c')
  writeFileSync(
    source,
    `${HEADERS.map((each) => `#include <${each}>`).join('\n')}\nvoid use(void *);\nvoid all(void) {\n${uses.join('\n')}\n}\n`,
  )
  const flags = ['-fblocks', '-ferror-limit=0', '-Werror=unguarded-availability', '-c', '-o', `${source}.o`]
  const args = ['-m', 'ziglang', 'cc', '-target', `${arch}-macos.${OLDEST}`, ...flags, source]
  const { stderr } = attempt(join(zigbuild(), 'python'), args, {
    encoding: 'utf8',
    stdio: ['ignore', 'ignore', 'pipe'],
  })
  const errors = stderr
    .split('\n')
    .filter((line) => /\berror: /.test(line))
    .map((line) => line.replace(/^.*?error: /, ''))
  const refused = errors.filter((line) => line.includes(`'${NEWER}'`))
  if (refused.length === 0) throw new Error(`the compiler accepts ${NEWER} for macOS ${OLDEST}:\n${stderr}`)
  return errors.filter((line) => !refused.includes(line))
}

/** Whether a version such as '10.15' is newer than another one. */
function isNewer(one, other) {
  const [left, right] = [one, other].map((each) => each.split('.').map(Number))
  return left[0] === right[0] ? (left[1] ?? 0) > (right[1] ?? 0) : left[0] > right[0]
}
