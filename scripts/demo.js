// npm run demo [-- --seconds N | --serve]: installs what is missing, builds in release, runs examples/dev-server.
import { spawn } from 'node:child_process'
import { mkdirSync, openSync, readFileSync } from 'node:fs'
import { join, relative } from 'node:path'
import { root, run } from './lib/process.js'
import { ensureInstalled } from './lib/setup.js'
import { has } from './lib/toolchain.js'

const log = join(root, '.cache/demo/build.log')

/** What the build needs and this machine does not have, with how to install it. */
function missingTools() {
  return [
    has('cargo') ? [] : ['Rust with rustup (rust-lang.org/tools/install)'],
    has('cc') || has('clang') || has('gcc')
      ? []
      : ["a C compiler (Debian: 'apt-get install build-essential', macOS: 'xcode-select --install')"],
  ].flat()
}

/** Runs the build with its output in the log file. On a terminal it shows how long the build has taken so far. */
async function build() {
  mkdirSync(join(root, '.cache/demo'), { recursive: true })
  const output = openSync(log, 'w')
  const child = spawn(process.execPath, ['scripts/build.js'], { cwd: root, stdio: ['ignore', output, output] })
  const began = performance.now()
  const seconds = () => Math.round((performance.now() - began) / 1000)
  const show = () => process.stdout.write(`\r\x1b[2Kbuilding … ${seconds()} s`)
  const timer = process.stdout.isTTY ? setInterval(show, 1000) : undefined
  const code = await new Promise((resolve) => child.on('close', resolve))
  clearInterval(timer)
  if (timer) process.stdout.write('\r\x1b[2K')
  if (code === 0) return console.log(`Built in ${seconds()} s.\n`)
  const lines = readFileSync(log, 'utf8').trimEnd().split('\n')
  console.error(`${lines.slice(-20).join('\n')}\n\nThe build failed. Its whole output is in ${log}`)
  process.exit(1)
}

const missing = missingTools()
if (missing.length > 0) {
  console.error(`The demo compiles the native addon: install ${missing.join(' and ')}, then run 'npm run demo' again.`)
  process.exit(1)
}
console.log(
  `warmswap demo: builds the addon in release (2 to 4 minutes the first time; output in ${relative(root, log)}), then runs a dev server under load.`,
)
ensureInstalled()
await build()
run(process.execPath, [join(root, 'examples/dev-server/demo/demo.js'), ...process.argv.slice(2)])
