// Formatters, linters and types: `npm run ready` fixes what it can, `npm test` only reports.

import { existsSync } from 'node:fs'
import { delimiter, join } from 'node:path'
import { attempt, root } from './process.js'
import { has } from './toolchain.js'
import { msvcEnvironment } from './windows.js'

const clippy = (...args) => ['cargo', ['clippy', ...args, '--', '-D', 'warnings']]

/** Checks that need no build, and end within seconds. */
export function formats({ fix }) {
  return [
    ['cargo', ['fmt', ...(fix ? [] : ['--check'])]],
    [process.execPath, ['scripts/check-structure.js']],
    // Without its assists, which would sort the imports of every file.
    ['npx', ['biome', 'check', '--assist-enabled=false', '--error-on-warnings', ...(fix ? ['--write'] : [])]],
  ]
}

/** The prose of all texts; clippy over all targets, and over the addon. */
export function lints({ fix }) {
  return [
    [process.execPath, ['scripts/lint-prose.js']],
    clippy('--all-targets', '--no-default-features', '--features', 'testing'),
    // With the same features as the build of the addon, Cargo would run the build script again, without napi's variables,
    // and each `npm run ready` would compile the crate again.
    clippy(...(fix ? ['--features', 'testing'] : [])),
  ]
}

/** Clippy for the other systems whose Rust target and C compiler are installed. `npm run test:platforms` installs them. */
export function foreignLints() {
  // Where `npm run test:platforms` has installed it.
  const zigbuild = join(root, '.cache/zigbuild/bin')
  if (existsSync(zigbuild)) process.env.PATH = `${zigbuild}${delimiter}${process.env.PATH}`
  const printed = attempt('rustup', ['target', 'list', '--installed'], { stdio: 'pipe', encoding: 'utf8' }).stdout ?? ''
  const lint = (target) => ['clippy', '--no-default-features', '--lib', '--target', target, '--', '-D', 'warnings']
  const compilers = {
    'aarch64-unknown-linux-musl': ['cargo-zigbuild', 'cargo-zigbuild'],
    'aarch64-apple-darwin': ['cargo-zigbuild', 'cargo-zigbuild'],
    'x86_64-pc-windows-gnu': ['x86_64-w64-mingw32-gcc', 'cargo'],
    // These compile no C code.
    'x86_64-pc-windows-msvc': ['cargo', 'cargo', msvcEnvironment],
    'aarch64-pc-windows-msvc': ['cargo', 'cargo', msvcEnvironment],
  }
  return Object.entries(compilers)
    .filter(([target, [compiler]]) => printed.includes(target) && has(compiler))
    .map(([target, [, cargo, environment]]) => [cargo, lint(target), { env: environment?.() }])
}

/** Checks that need the declarations in dist. */
export function types() {
  // Generated files are committed. A difference means that the build was not run before the commit.
  const generated = ['index.d.ts', 'src/js/native/binding.d.cts', 'src/js/native/binding.cjs']
  return [
    ['npx', ['tsc', '--noEmit']],
    ...(process.env.CI ? [['git', ['diff', '--exit-code', '--stat', '--', ...generated]]] : []),
  ]
}
