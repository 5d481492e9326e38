// Time of a GET across a re-optimization on workerd (@cloudflare/vite-plugin), with the in-flight rescue and without
// warmswap.
import { spawn } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { framesModule, lateModule, writePackages } from '../../__test__/frameworks/packages.js'
import { root as repository } from '../../scripts/lib/process.js'

const node =
  Number(process.versions.node.split('.')[0]) >= 22
    ? process.execPath
    : join(repository, 'node_modules/node22-linux-x64/bin/node')

function writeApp(count, plugins) {
  const root = mkdtempSync(join(tmpdir(), 'warmswap-bench-'))
  mkdirSync(join(root, 'src'))
  writePackages(root, count)
  const routes = Array.from({ length: count + 1 }, (_, n) => `'/${n}': () => import('/src/late-${n}.js')`)
  for (let n = 0; n <= count; n += 1) writeFileSync(join(root, `src/late-${n}.js`), lateModule(n))
  writeFileSync(join(root, 'src/frames.js'), framesModule(count))
  writeFileSync(
    join(root, 'src/worker.js'),
    `import { routes } from 'virtual:routes'
import { within } from './frames.js'
export default { fetch: (request) => within({ id: 'ada' }, async () => new Response((await routes[new URL(request.url).pathname]()).late())) }
`,
  )
  writeFileSync(
    join(root, 'wrangler.jsonc'),
    JSON.stringify({
      name: 'app',
      main: 'src/worker.js',
      compatibility_date: '2026-01-01',
      compatibility_flags: ['nodejs_als'],
    }),
  )
  writeFileSync(join(root, 'package.json'), JSON.stringify({ name: 'app', private: true, type: 'module' }))
  writeFileSync(
    join(root, 'vite.config.js'),
    `import { cloudflare } from '@cloudflare/vite-plugin'
import warmswap from 'warmswap/vite'
const routes = { name: 'routes', resolveId: (id) => (id === 'virtual:routes' ? '\\0routes' : undefined), load: (id) => (id === '\\0routes' ? ${JSON.stringify(`export const routes = { ${routes.join(', ')} }`)} : undefined) }
export default { plugins: [${plugins}routes, cloudflare({ inspectorPort: false })] }
`,
  )
  symlinkSync(repository, join(root, 'node_modules/warmswap'))
  for (const name of ['vite', '@cloudflare', 'wrangler'])
    symlinkSync(join(repository, 'node_modules', name), join(root, 'node_modules', name))
  return root
}

/** Milliseconds of a GET across each of `count` late discoveries. Correct answers are required with warmswap only. */
async function times(count, plugins) {
  const root = writeApp(count, plugins)
  const child = spawn(node, [join(repository, '__test__/programs/dev-server.mjs'), root], {
    stdio: ['ignore', 'pipe', 'ignore'],
    // A process group of its own: workerd goes on when the server is killed.
    detached: true,
  })
  try {
    const url = await new Promise((resolve, reject) => {
      child.once('exit', (code) => reject(new Error(`the dev server ended with ${code}`)))
      createInterface({ input: child.stdout }).on('line', (line) => {
        const ready = /^ready (.*)\/$/.exec(line)
        if (ready) resolve(ready[1])
      })
    })
    await (await fetch(`${url}/0`)).text()
    const took = []
    for (let n = 1; n <= count; n += 1) {
      const started = performance.now()
      const text = await (await fetch(`${url}/${n}`)).text()
      took.push(performance.now() - started)
      if (plugins !== '' && text !== 'ada') throw new Error(`the request was not recovered: ${text.slice(0, 300)}`)
    }
    return took
  } finally {
    process.kill(-child.pid, 'SIGKILL')
    rmSync(root, { recursive: true, force: true })
  }
}

/** Milliseconds of GETs across a late discovery. */
export async function overDiscoveries(count = 8) {
  return { rescued: await times(count, 'warmswap(), '), without: await times(count, '') }
}
