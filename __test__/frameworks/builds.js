// atomicOutDir() in real frameworks: production builds have the files of a build without it, as one generation, and
// another process that reads the output finds a complete one at every moment of a second build.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import {
  cpSync,
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  realpathSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { join, relative } from 'node:path'

const plugin = `process.env.PLAIN ? undefined : atomicOutDir({
  apply: 'always',
  onPublish: (store) => console.log('published ' + store.current().number),
})`
const guide = readFileSync(new URL('../../docs/guide/frameworks.md', import.meta.url), 'utf8')
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
    watched: 'src/routes/probe/+server.js',
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
    // An integration that writes after Vite has ended, as that of sitemaps does.
    text: `import { astroOutDir } from 'warmswap/vite'
import node from '@astrojs/node'
import { writeFileSync } from 'node:fs'
const late = { name: 'late', hooks: { 'astro:build:done': ({ dir }) => writeFileSync(new URL('late.txt', dir), '') } }
export default {
  output: 'server',
  adapter: node({ mode: 'standalone' }),
  integrations: process.env.PLAIN ? [late] : [astroOutDir(), late],
}
`,
    out: 'dist',
  },
  'nuxt-build': {
    packages: 'hosts',
    app: 'hosts/apps/nuxt',
    probe: ['app/probe.js', 'server/utils/probe.js'],
    program: ['nuxt/bin/nuxt.mjs', 'build'],
    config: 'nuxt.config.ts',
    // That of docs/guide/frameworks.md.
    text: /```ts suite\n(\/\/ nuxt\.config\.ts\n[\s\S]*?)```/.exec(guide)[1],
    out: '.output',
    /** What Nitro made: a build without warmswap would take as long again. */
    made: '.warmswap/output-work',
    refused: `${imports}export default { vite: { plugins: [atomicOutDir({ apply: 'always' })] } }\n`,
  },
  'rwsdk-build': {
    packages: 'rwsdk',
    program: ['vite/bin/vite.js', 'build'],
    config: 'vite.config.mjs',
    text: `${imports}import { cloudflare } from '@cloudflare/vite-plugin'\nimport { redwood } from 'rwsdk/vite'\nexport default { plugins: [${plugin}, cloudflare({ viteEnvironment: { name: 'worker' }, inspectorPort: false }), redwood()] }\n`,
    out: 'dist',
  },
  'tanstack-start-build': {
    isLong: true,
    packages: 'more',
    app: 'more/apps/tanstack-start',
    probe: 'src/probe.js',
    program: ['vite/bin/vite.js', 'build'],
    config: 'vite.config.js',
    text: `${imports}import { tanstackStart } from '@tanstack/react-start/plugin/vite'\nimport react from '@vitejs/plugin-react'\nexport default { plugins: [tanstackStart(), react(), ${plugin}] }\n`,
    out: 'dist',
    watched: 'src/routes/probe.js',
  },
  'solidstart-build': {
    isLong: true,
    packages: 'more',
    app: 'more/apps/solidstart',
    probe: 'src/probe.js',
    program: ['vite/bin/vite.js', 'build'],
    config: 'vite.config.js',
    text: `${imports}import { solidStart } from '@solidjs/start/config'\nexport default { plugins: [solidStart(), ${plugin}] }\n`,
    // It fails with --watch, also without warmswap: its server build needs the client's manifest, and both are built at the same time.
    out: 'dist',
  },
  'vike-build': {
    isLong: true,
    packages: 'more',
    app: 'more/apps/vike',
    probe: 'server/probe.js',
    program: ['vite/bin/vite.js', 'build'],
    config: 'vite.config.js',
    text: `${imports}import react from '@vitejs/plugin-react'\nimport vike from 'vike/plugin'\nexport default { plugins: [vike(), react(), ${plugin}] }\n`,
    // It fails with --watch, also without warmswap: its server build needs the client's manifest, and both are built at the same time.
    out: 'dist',
  },
}

/** Runs the builds of these names and records one result for each. `prepare` makes a fixture that is no host. */
export async function checkBuilds(names, { root, node, packages, prepare, installWarmswap, record, isLong }) {
  for (const name of names) {
    const build = builds[name]
    try {
      const home = build.app === undefined ? prepare(build.packages, 1) : packages(build.packages)
      installWarmswap(join(home, 'node_modules/warmswap'))
      const folder = build.app === undefined ? home : copyApp(root, home, name, build)
      writeFileSync(join(folder, build.config), build.text)
      const detail = await compare(node, home, folder, build)
      if (build.refused !== undefined) {
        const message = await refused(node, home, folder, build)
        record(`${name}: atomicOutDir() is refused with the way out`, /Remove atomicOutDir\(\)/.test(message), message)
      }
      record(`${name}: ${detail.files} files, published together`, detail.problem === undefined, detail.problem)
      if (isLong && build.watched !== undefined) {
        const problem = await watch(node, home, folder, build)
        record(`${name}: --watch publishes an edit once`, problem === undefined, problem)
      }
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
  for (const file of [probe].flat()) {
    mkdirSync(join(folder, file, '..'), { recursive: true })
    cpSync(join(root, '__test__/frameworks/hosts/probe.js'), join(folder, file))
  }
  return folder
}

async function compare(node, home, folder, build) {
  const out = join(folder, build.out)
  const clean = () => {
    for (const path of [out, join(folder, '.warmswap')]) rmSync(path, { recursive: true, force: true })
  }
  clean()
  if (build.made === undefined) await run(node, home, folder, build, { PLAIN: '1' })
  const plain = filesOf(out)
  clean()
  await run(node, home, folder, build)
  const files = filesOf(out)
  const expected = build.made === undefined ? plain : filesOf(join(folder, build.made))
  const missing = expected.filter((file) => !files.includes(file))
  if (expected.length === 0 || missing.length > 0 || files.length !== expected.length)
    return { files: files.length, problem: `expected ${expected.length} files, without ${missing.join(', ')}` }
  if (!lstatSync(out).isSymbolicLink()) return { files: files.length, problem: `${build.out} is no link` }
  const reader = read(out)
  await run(node, home, folder, build)
  const seen = reader.stop()
  const torn = seen.find((count) => count !== expected.length)
  return { files: files.length, problem: torn === undefined ? undefined : `a reader found ${torn} files` }
}

/** The text that an edit puts into what is built. */
const EDIT = 'edited while it was watched'

/** Builds with --watch, edits a file, and resolves with what is wrong with what was published. */
async function watch(node, home, folder, build) {
  const out = join(folder, build.out)
  const built = start(node, home, folder, build, ['--watch'])
  try {
    const first = await built.line(/^published (\d+)$/m)
    const files = filesOf(out)
    const path = join(folder, build.watched)
    const text = readFileSync(path, 'utf8')
    writeFileSync(path, text.replace('edit 0', EDIT))
    const second = await built.line(new RegExp(`^published (${Number(first) + 1})$`, 'm'))
    const isThere = readdirSync(out, { recursive: true, withFileTypes: true }).some(
      (entry) => entry.isFile() && readFileSync(join(entry.parentPath, entry.name), 'utf8').includes(EDIT),
    )
    if (!isThere) return `generation ${second} does not have the edit:\n${built.output()}`
    if (filesOf(out).length !== files.length)
      return `${filesOf(out).length} files after the edit, ${files.length} before`
    return undefined
  } finally {
    built.child.kill('SIGKILL')
    await built.ended
  }
}

async function run(node, home, folder, build, env = {}) {
  const { ended, output } = start(node, home, folder, build, [], env)
  const code = await ended
  if (code !== 0) throw new Error(`the build ended with ${code}:\n${output()}`)
}

function start(node, home, folder, { program: [program, ...args] }, more, env = {}) {
  const child = spawn(node, [join(home, 'node_modules', program), ...args, ...more], {
    cwd: folder,
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, NO_COLOR: '1', CI: '1', NODE_ENV: 'production', WRANGLER_SEND_METRICS: 'false', ...env },
  })
  const ended = once(child, 'close').then(([code]) => code)
  let text = ''
  const output = () => text.slice(-3000)
  for (const stream of [child.stdout, child.stderr])
    stream.setEncoding('utf8').on('data', (chunk) => {
      text += chunk
      child.emit('text')
    })
  /** Resolves with what the group of the pattern matched. */
  const line = async (pattern) => {
    const signal = AbortSignal.timeout(120_000)
    while (!pattern.test(text)) {
      const isEnd = await Promise.race([once(child, 'text', { signal }), ended.then(() => true)]).catch(() => true)
      if (isEnd === true && !pattern.test(text)) throw new Error(`no ${pattern} in:\n${output()}`)
    }
    return pattern.exec(text)[1]
  }
  return { child, ended, output, line }
}

/** Resolves with what a configuration that must be refused printed. */
async function refused(node, home, folder, build) {
  writeFileSync(join(folder, build.config), build.refused)
  return await run(node, home, folder, build).then(
    () => 'the build was not refused',
    (error) => error.message,
  )
}

/** Names of files, without the hash of their content. */
function filesOf(folder) {
  if (!existsSync(folder)) return []
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map(({ parentPath, name }) =>
      join(relative(folder, parentPath), name.replace(/[-.]?[\w-]{8}\.(\w+)$/, '-hash.$1')),
    )
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
