// atomicOutDir() in real frameworks: production builds have the files of a build without it, as one generation, and
// another process that reads the output finds a complete one at every moment of a second build.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { cpSync, lstatSync, mkdirSync, readdirSync, realpathSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

const plugin = `process.env.PLAIN ? undefined : atomicOutDir({ apply: 'always' })`
const imports = `import { atomicOutDir } from 'warmswap/vite'\n`

/** The folder of the fixture, the program, the configuration, and the folder that becomes a link. */
export const builds = {
  'sveltekit-build': {
    packages: 'hosts',
    app: 'hosts/apps/sveltekit',
    probe: 'src/lib/probe.js',
    program: ['vite/bin/vite.js', 'build'],
    config: 'vite.config.js',
    text: `${imports}import { sveltekit } from '@sveltejs/kit/vite'\nexport default { plugins: [sveltekit(), ${plugin}] }\n`,
    out: '.svelte-kit/output',
  },
  'react-router-build': {
    packages: 'hosts',
    app: 'hosts/apps/react-router',
    probe: 'app/probe.server.js',
    program: ['@react-router/dev/bin.cjs', 'build'],
    config: 'vite.config.js',
    text: `${imports}import { reactRouter } from '@react-router/dev/vite'\nexport default { plugins: [reactRouter(), ${plugin}] }\n`,
    out: 'build',
  },
  'astro-build': {
    packages: 'hosts',
    app: 'hosts/apps/astro-node',
    probe: 'src/probe.js',
    program: ['astro/bin/astro.mjs', 'build'],
    config: 'astro.config.mjs',
    text: `${imports}import node from '@astrojs/node'\nexport default { output: 'server', adapter: node({ mode: 'standalone' }), vite: { plugins: [${plugin}] } }\n`,
    out: 'dist',
    // Astro empties outDir itself, before Vite starts.
    isEmptied: true,
  },
  'rwsdk-build': {
    packages: 'rwsdk',
    program: ['vite/bin/vite.js', 'build'],
    config: 'vite.config.mjs',
    text: `${imports}import { cloudflare } from '@cloudflare/vite-plugin'\nimport { redwood } from 'rwsdk/vite'\nexport default { plugins: [${plugin}, cloudflare({ viteEnvironment: { name: 'worker' }, inspectorPort: false }), redwood()] }\n`,
    out: 'dist',
  },
}

/** Runs the builds of these names and records one result for each. `prepare` makes a fixture that is no host. */
export async function checkBuilds(names, { root, node, packages, prepare, installWarmswap, record }) {
  for (const name of names) {
    const build = builds[name]
    try {
      const home = build.app === undefined ? prepare(build.packages, 1) : packages(build.packages)
      installWarmswap(join(home, 'node_modules/warmswap'))
      const folder = build.app === undefined ? home : copyApp(root, home, name, build)
      writeFileSync(join(folder, build.config), build.text)
      const detail = await compare(node, home, folder, build)
      record(`${name}: ${detail.files} files, published together`, detail.problem === undefined, detail.problem)
    } catch (error) {
      record(`${name}: a production build`, false, error.stack)
    }
  }
}

function copyApp(root, home, name, { app, probe }) {
  const folder = join(home, 'builds', name)
  rmSync(folder, { recursive: true, force: true })
  mkdirSync(join(home, 'builds'), { recursive: true })
  const from = join(root, '__test__/frameworks', app)
  cpSync(from, folder, { recursive: true })
  mkdirSync(join(folder, probe, '..'), { recursive: true })
  cpSync(join(root, '__test__/frameworks/hosts/probe.js'), join(folder, probe))
  return folder
}

async function compare(node, home, folder, build) {
  const out = join(folder, build.out)
  const clean = () => {
    for (const path of [out, join(folder, '.warmswap')]) rmSync(path, { recursive: true, force: true })
  }
  clean()
  await run(node, home, folder, build, { PLAIN: '1' })
  const expected = filesOf(out)
  clean()
  await run(node, home, folder, build)
  const files = filesOf(out)
  const missing = expected.filter((file) => !files.includes(file))
  if (expected.length === 0 || missing.length > 0 || files.length !== expected.length)
    return { files: files.length, problem: `expected ${expected.length} files, without ${missing.join(', ')}` }
  if (!lstatSync(out).isSymbolicLink()) return { files: files.length, problem: `${build.out} is no link` }
  const reader = read(out)
  await run(node, home, folder, build)
  const seen = reader.stop()
  const torn = seen.find((count) => count !== expected.length && !(build.isEmptied && count === 0))
  return { files: files.length, problem: torn === undefined ? undefined : `a reader found ${torn} files` }
}

async function run(node, home, folder, { program: [program, ...args] }, env = {}) {
  const child = spawn(node, [join(home, 'node_modules', program), ...args], {
    cwd: folder,
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, NO_COLOR: '1', CI: '1', NODE_ENV: 'production', WRANGLER_SEND_METRICS: 'false', ...env },
  })
  let output = ''
  for (const stream of [child.stdout, child.stderr])
    stream.setEncoding('utf8').on('data', (text) => {
      output += text
    })
  const [code] = await once(child, 'close')
  if (code !== 0) throw new Error(`the build ended with ${code}:\n${output.slice(-3000)}`)
}

/** Names of files, without the hash of their content. */
function filesOf(folder) {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map(({ parentPath, name }) => join(parentPath, name.replace(/[-.]?[\w-]{8}\.(\w+)$/, '-hash.$1')))
    .sort()
}

/** Counts the files of one tree again and again: the link is resolved once for each count, as a server does. */
function read(out) {
  const seen = new Set()
  const timer = setInterval(() => {
    seen.add(filesOf(realpathSync(out)).length)
  }, 5)
  return {
    stop() {
      clearInterval(timer)
      return [...seen]
    },
  }
}
