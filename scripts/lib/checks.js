// Formatters, linters and types: `npm run ready` fixes what it can, `npm test` only reports.

const clippy = (...args) => ['cargo', ['clippy', ...args, '--', '-D', 'warnings']]

/** What needs neither the addon nor dist. */
export function lints({ fix }) {
  return [
    ['cargo', ['fmt', ...(fix ? [] : ['--check'])]],
    // Without its assists, which would sort the imports of every file.
    ['npx', ['biome', 'check', '--assist-enabled=false', '--error-on-warnings', ...(fix ? ['--write'] : [])]],
    clippy('--all-targets', '--no-default-features', '--features', 'testing'),
    clippy(),
  ]
}

/** What needs the declarations in dist. */
export function types() {
  // What the build generates is committed; a difference means that somebody forgot to build.
  const generated = ['index.d.ts', 'src/js/native/binding.d.cts', 'src/js/native/binding.cjs']
  return [
    ['npx', ['tsc', '--noEmit']],
    ...(process.env.CI ? [['git', ['diff', '--exit-code', '--stat', '--', ...generated]]] : []),
  ]
}
