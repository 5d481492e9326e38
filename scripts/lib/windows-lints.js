// Targets of Windows that no program here runs: types and lints. zig compiles the C parts of the dependencies, with the
// headers of mingw. Nothing is linked, so the objects need not fit the target's C library.
import { chmodSync, mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { root } from './process.js'
import { addRustTarget, must, zigbuild } from './toolchain.js'

const home = join(root, '.cache/cross/windows-lints')

/** Options of the C compiler that zig does not accept for its own name of the target. */
const cc = (triple) => `#!/bin/sh
for argument; do
  shift
  case $argument in
    --target=*) ;;
    *) set -- "$@" "$argument" ;;
  esac
done
exec '${join(zigbuild(), 'python')}' -m ziglang cc -target ${triple} "$@"
`

/** `llvm-ar` by name: the crate cc uses the options of another archiver otherwise. */
const ar = () => `#!/bin/sh
exec '${join(zigbuild(), 'python')}' -m ziglang ar "$@"
`

function script(name, text) {
  const path = join(home, name)
  writeFileSync(path, text)
  chmodSync(path, 0o755)
  return path
}

/** The platform's entry for scripts/lib/cross.js. */
export function windowsLints(target) {
  const arch = target.split('-')[0]
  return {
    summary: 'types and lints are right; nothing here links or runs it',
    prepare() {
      zigbuild()
      addRustTarget(target)
    },
    build() {
      mkdirSync(home, { recursive: true })
      const suffix = target.replaceAll('-', '_')
      const env = {
        [`CC_${suffix}`]: script(`${arch}-clang`, cc(`${arch}-windows-gnu`)),
        [`AR_${suffix}`]: script('llvm-ar', ar()),
      }
      const options = ['--no-default-features', '--lib', '--profile', 'cross', '--target', target]
      must('cargo', ['clippy', ...options, '--', '-D', 'warnings'], { env })
    },
  }
}
