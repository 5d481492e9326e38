// npm run bench [-- <capability> …]: measures each capability and its peers, and writes bench/RESULTS.md.
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { root, run } from './lib/process.js'
import { ensureInstalled } from './lib/setup.js'

const wanted = process.argv.slice(2)
const all = ['bundles', 'locks', 'caches', 'fleet', 'state', 'restarts'].filter((name) =>
  existsSync(join(root, `bench/${name}.js`)),
)
ensureInstalled()
if (!existsSync(join(root, 'dist/index.js'))) run(process.execPath, ['scripts/build.js'])
for (const name of wanted.length > 0 ? wanted : all) run(process.execPath, ['--expose-gc', `bench/${name}.js`])
