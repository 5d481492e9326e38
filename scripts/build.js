// Builds the addon and the JavaScript API.
//   node scripts/build.js              the release addon into dist/, then dist/*.js and index.d.ts
//   node scripts/build.js --dev        the addon in the dev profile, which compiles faster, instead of the release addon
//   node scripts/build.js --addon-only only the addon
//   node scripts/build.js --out FOLDER puts the addon there instead of into dist/
//   node scripts/build.js --js-only    only dist/*.js and index.d.ts
//   node scripts/build.js --testing    the addon with fault points and seeded bugs, in the dev profile, into build/testing/,
//                                      and the child programs of the tests
//   node scripts/build.js --features azure,gcs   the release addon with the stores that it leaves out otherwise
//   node scripts/build.js -- FLAGS     passes these flags on to `napi build`, such as --target x86_64-unknown-linux-musl -x
import { cpSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { attempt, root, run, useHostTarget } from './lib/process.js'
import { releasedFeatures } from './lib/toolchain.js'

process.chdir(root)
const { values, positionals: napiFlags } = parseArgs({
  allowPositionals: true,
  options: {
    features: { type: 'string' },
    out: { type: 'string', default: 'dist' },
    ...Object.fromEntries(['testing', 'dev', 'addon-only', 'js-only'].map((name) => [name, { type: 'boolean' }])),
  },
})

/** Builds the addon. The files that napi generates next to it are committed in src/js/native and shipped in dist. */
function buildAddon(outputDirectory, flags, env = {}) {
  mkdirSync(outputDirectory, { recursive: true })
  mkdirSync('dist', { recursive: true })
  const generated = ['--js', 'binding.cjs', '--dts', 'binding.d.cts', '--format', 'commonjs', '--dts-header', header]
  const args = ['napi', 'build', '--platform', '--output-dir', outputDirectory, ...generated, ...flags, ...napiFlags]
  run('npx', [...args, '--', '--lib'], { env })
  for (const file of ['binding.cjs', 'binding.d.cts']) {
    for (const folder of ['src/js/native', 'dist'].filter((each) => each !== outputDirectory))
      cpSync(`${outputDirectory}/${file}`, `${folder}/${file}`)
  }
}

/**
 * Builds the addon with fault points, and the child programs of the tests. Uses Cargo alone, because napi sets
 * variables that make Cargo compile the crate again. The Rust tests use the same library.
 */
function buildTesting() {
  useHostTarget()
  run('cargo', ['build', '--features', 'testing', '--lib', '--bins'])
  const built = join(process.env.CARGO_TARGET_DIR ?? 'target', process.env.CARGO_BUILD_TARGET, 'debug/libwarmswap.so')
  mkdirSync('build/testing', { recursive: true })
  cpSync(built, 'build/testing/warmswap.linux-x64-gnu.node')
}

/**
 * Strips the symbols of an addon: tests copy and pack that of the dev profile often, and link-time optimisation leaves
 * 2.2 MB of them in a release.
 */
function strip(folder) {
  for (const file of readdirSync(folder).filter((name) => name.endsWith('.node')))
    attempt('strip', ['--strip-unneeded', `${folder}/${file}`])
}

/**
 * Writes the entry for require(). It returns the ES module itself (every Node version of `engines` can require one), so
 * that there is one copy of everything, state included. Types of packages that are ES modules only are imported as
 * such.
 */
async function writeCommonJs(name) {
  const types = readFileSync(`dist/${name}.d.ts`, 'utf8')
  // A module with a default export lists all names: tools search the text for `exports.default`.
  const names = / as default\b/.test(types) ? Object.keys(await import(`${root}/dist/${name}.js`)) : []
  const code =
    names.length === 0
      ? `module.exports = require('./${name}.js')\n`
      : `const all = require('./${name}.js')\nObject.defineProperty(exports, '__esModule', { value: true })\n${names.map((each) => `exports.${each} = all.${each}\n`).join('')}`
  writeFileSync(`dist/${name}.cjs`, code)
  const marked = types.replace(
    /^import (?!type )(\{[^}]*\}|\* as \w+) from ("(?:vite|vitest)[^"]*");$/gm,
    'import type $1 from $2 with { "resolution-mode": "import" };',
  )
  writeFileSync(`dist/${name}.d.cts`, marked)
}

// Declared once here, because src/addon/error.rs creates it by hand.
const header = `/** The value of a native call, or a failure that src/js/native/native.ts throws. */
export type Reply<T> = T | import('./native.js').NativeFailure
`

// Node starts no script by its first line on Windows: the addon for Windows is larger.
const linkTimeOptimized = process.platform === 'win32' ? {} : { CARGO: join(root, 'scripts/cargo-cdylib.js') }

if (values.testing) buildTesting()
else if (!values['js-only']) {
  if (values.dev) buildAddon(values.out, [])
  else buildAddon(values.out, ['--release', ...releasedFeatures(values.features)], linkTimeOptimized)
  strip(values.out)
}

if (!values.testing && !values['addon-only']) {
  // Chunks of an earlier build would otherwise be kept.
  for (const file of readdirSync(`${root}/dist`)) {
    if (!/^binding\.|\.node$/.test(file)) rmSync(`${root}/dist/${file}`, { recursive: true })
  }
  run('npx', ['tsdown'])
  cpSync('dist/index.d.ts', 'index.d.ts')
  const entries = ['index', 'state', 'vite', 'esbuild', 'vitest', 'race-point', 'worker', 'env-runner']
  for (const name of entries) await writeCommonJs(name)
}
