// npm run demo [-- --seconds N | --serve]: installs what is missing, builds in release, runs examples/dev-server.
import { join } from 'node:path'
import { root, run } from './lib/process.js'
import { ensureInstalled } from './lib/setup.js'

ensureInstalled()
run(process.execPath, ['scripts/build.js'])
run(process.execPath, [join(root, 'examples/dev-server/demo/demo.js'), ...process.argv.slice(2)])
