// Windows without Wine: lints for the targets of MSVC and for arm64, the link of the addon for arm64, and a check of what an
// addon needs where it is loaded. No emulator here runs programs of Windows on arm64.
import { chmodSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { delimiter, join } from 'node:path'
import { readPe } from './pe.js'
import { root } from './process.js'
import { addRustTarget, must, releasedFeatures, zigbuild } from './toolchain.js'

const home = join(root, '.cache/cross/windows')
const EXPORT = 'napi_register_module_v1'
/** Both are needed: windows-11-arm loads what MSVC makes, and zig links for the GNU ABI. */
const ARM64 = ['aarch64-pc-windows-gnullvm', 'aarch64-pc-windows-msvc']
const MSVC = 'x86_64-pc-windows-msvc'

/** The libraries of Windows 10 that an addon may need, apart from those whose names begin with `api-ms-win-`. */
const LIBRARIES = new Set(
  `advapi32 bcrypt bcryptprimitives combase crypt32 kernel32 msvcrt ntdll shell32 userenv ws2_32`
    .split(' ')
    .map((name) => `${name}.dll`),
)

/** The names that Windows 10 has for parts of them. */
const API_SETS = /^api-ms-win-(core-synch-l1-2-0|crt-[a-z]+-l1-1-0)\.dll$/

/** The platform's entry for scripts/lib/cross.js: the addon for arm64. */
export const arm64 = {
  summary:
    'types and lints are right for both ABIs, the addon links, and Windows 10 has its libraries; nothing here can run it',
  prepare() {
    zigbuild()
    for (const target of ARM64) addRustTarget(target)
  },
  build() {
    const bin = zigbuild()
    const [linked, shipped] = ARM64
    const env = { PATH: `${bin}${delimiter}${process.env.PATH}`, LIBNODE_PATH: writeLibnode(bin) }
    const options = ['--lib', '--profile', 'cross', '--target', linked]
    must('cargo-zigbuild', ['clippy', '--no-default-features', ...options, '--', '-D', 'warnings'], { env })
    // Without a list, zig exports each of 103 000 names, and a library can have 65 535. It ignores the list of rustc.
    const list = join(home, 'exports.def')
    writeFileSync(list, `EXPORTS\n    ${EXPORT}\n`)
    const features = releasedFeatures()
    must('cargo-zigbuild', ['rustc', ...options, ...features, '--', '-C', `link-arg=${list}`], { env })
    checkAddon(join(process.env.CARGO_TARGET_DIR ?? join(root, 'target'), linked, 'cross/warmswap.dll'), 'arm64')
    lintMsvc(shipped, [])
  },
}

/** The lints for the ABI that ships for x64. Wine runs the addon for the GNU ABI. */
export const msvc = {
  summary: 'types and lints are right; Wine runs the same code with the GNU ABI',
  prepare: () => addRustTarget(MSVC),
  build() {
    lintMsvc(MSVC, [])
    lintMsvc(MSVC, ['--no-default-features', '--features', 'testing'])
  },
}

function lintMsvc(target, features) {
  const options = ['--lib', '--profile', 'cross', ...features, '--target', target]
  must('cargo', ['clippy', ...options, '--', '-D', 'warnings'], { env: msvcEnvironment() })
}

/** napi-build needs a library of Node to link with, but uses nothing of it. */
function writeLibnode(bin) {
  const folder = join(home, 'libnode')
  mkdirSync(folder, { recursive: true })
  const [source, object] = [join(home, 'libnode.c'), join(home, 'libnode.o')]
  writeFileSync(source, 'int warmswap_unused;\n')
  // It asks for the one name, and the linker takes the other one.
  writeFileSync(join(folder, 'libnode.dll'), '')
  const zig = (...args) => must(join(bin, 'python'), ['-m', 'ziglang', ...args])
  zig('cc', '-target', 'aarch64-windows-gnu', '-c', '-o', object, source)
  zig('ar', 'rcs', join(folder, 'libnode.a'), object)
  return folder
}

/**
 * The environment in which Cargo checks the code for MSVC. The headers of MSVC are not in any registry, so the C code of
 * the dependencies is not compiled: clippy reads no compiled code. Programs in place of the C compiler, the assembler and
 * the archiver only create the files that they are asked for. The C code is compiled for the GNU ABI.
 */
export function msvcEnvironment() {
  const folder = join(home, 'no-compiler')
  mkdirSync(folder, { recursive: true })
  const [clang, archiver] = [join(folder, 'clang'), join(folder, 'llvm-ar')]
  // ring calls it by this name, and the build script of blake3 calls ml64.exe.
  for (const path of [clang, join(folder, 'ml64.exe')]) writeProgram(path, compiler)
  writeProgram(archiver, '[ -e "$2" ] || printf \'!<arch>\\n\' > "$2"')
  const variables = [MSVC, ARM64[1]].flatMap((target) => {
    const name = target.replaceAll('-', '_')
    return [
      [`CC_${name}`, 'clang'],
      [`AR_${name}`, archiver],
    ]
  })
  return { ...Object.fromEntries(variables), PATH: `${folder}${delimiter}${process.env.PATH}` }
}

// With -E the crate cc asks which compiler it is.
const compiler = `for each; do
  [ "$each" != -E ] || { echo clang; exit 0; }
  [ "$last" != -o ] || : > "$each"
  case $each in -Fo*|/Fo*) : > "\${each#?Fo}";; esac
  last=$each
done`

function writeProgram(path, script) {
  writeFileSync(path, `#!/bin/sh\n${script}\nexit 0\n`)
  chmodSync(path, 0o755)
}

/** Fails unless Windows 10 on this processor loads the file. */
export function checkAddon(path, cpu) {
  const file = readPe(readFileSync(path))
  const libraries = [...new Set(file.imports.map(({ library }) => library.toLowerCase()))]
  const problems = [
    file.cpu === cpu || `it is for ${file.cpu}`,
    file.isLibrary || 'it is no library',
    Number(file.minimum) <= 10 || `it needs Windows ${file.minimum}`,
    file.exports.includes(EXPORT) || `${EXPORT} is not exported`,
    // An addon that needs no function of kernel32 was not read right.
    libraries.includes('kernel32.dll') || 'it imports nothing of kernel32.dll',
    ...libraries.map((name) => LIBRARIES.has(name) || API_SETS.test(name) || `it needs the library ${name}`),
  ].filter((each) => each !== true)
  if (problems.length > 0) throw new Error(`${path}\n${problems.map((each) => `  ${each}`).join('\n')}`)
  console.log(`warmswap: Windows 10 has the ${libraries.length} libraries of the ${file.imports.length} imports`)
}
