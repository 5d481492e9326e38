// Builds the addon and the JavaScript face.
//   node scripts/build.js            the release addon into dist/, then dist/*.js and index.d.ts
//   node scripts/build.js --js-only  only dist/*.js and index.d.ts
//   node scripts/build.js --testing  the addon with fault points and mutants into build/testing/
//   node scripts/build.js -- FLAGS   passes these flags on to `napi build`, such as --target x86_64-unknown-linux-musl -x
import { cpSync, mkdirSync, readdirSync, rmSync } from 'node:fs'
import { parseArgs } from 'node:util'
import { root, run } from './lib/process.js'

process.chdir(root)
const { values, positionals: napiFlags } = parseArgs({ allowPositionals: true, options: { testing: { type: 'boolean', default: false }, 'js-only': { type: 'boolean', default: false } } })

/** Builds the addon; what napi generates beside it is committed in src/js and shipped in dist. */
function buildAddon(outputDirectory, flags) {
  mkdirSync(outputDirectory, { recursive: true })
  mkdirSync('dist', { recursive: true })
  run('npx', ['napi', 'build', '--platform', '--output-dir', outputDirectory, '--js', 'binding.cjs', '--dts', 'binding.d.cts', '--format', 'commonjs', '--dts-header', header, ...flags, ...napiFlags, '--', '--lib'])
  for (const generated of ['binding.cjs', 'binding.d.cts']) {
    for (const folder of ['src/js', 'dist'].filter((each) => each !== outputDirectory)) cpSync(`${outputDirectory}/${generated}`, `${folder}/${generated}`)
  }
}

// Declared once here because src/addon/error.rs makes it by hand.
const header = `/** The value of a native call, or a failure that src/js/native.ts throws. */
export type Reply<T> = T | import('./native.js').Failure
`

if (values.testing) {
  buildAddon('build/testing', ['--features', 'testing'])
} else {
  if (!values['js-only']) buildAddon('dist', ['--release'])
  // Chunks of an earlier build would stay beside the new ones.
  for (const file of readdirSync(`${root}/dist`)) {
    if (!/^binding\.|\.node$/.test(file)) rmSync(`${root}/dist/${file}`, { recursive: true })
  }
  run('npx', ['tsdown'])
  cpSync('dist/index.d.ts', 'index.d.ts')
}
