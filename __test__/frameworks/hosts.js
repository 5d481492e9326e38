// What each host keeps of warmswap/state: the table "What each host keeps" of docs/guide/state.md, in real dev servers.
// guarantee: state/hosts-keep-what-the-guide-says

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { cpSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { writePackages } from './packages.js'

const kept = { state: 'kept', cell: 'kept' }
const newThread = { state: 'new', cell: 'kept' }
const newIsolate = { state: 'new', cell: 'new' }

/**
 * `program` in node_modules, the module that defines the state, the file of the server that is edited, and the
 * configuration. Then what is kept after an edit of that file, of the module that defines the state, after a dependency
 * that Vite discovers late in the page and in the server, and after an edit of the configuration.
 */
const vite = ['vite/bin/vite.js', '--strictPort']
export const hosts = {
  sveltekit: {
    program: vite,
    probe: 'src/lib/probe.js',
    server: 'src/routes/probe/+server.js',
    config: 'vite.config.js',
    keeps: { server: kept, probe: kept, discovery: kept, config: kept },
  },
  'react-router': {
    program: ['@react-router/dev/bin.cjs', 'dev', '--strictPort'],
    probe: 'app/probe.server.js',
    server: 'app/routes/probe.js',
    config: 'vite.config.js',
    keeps: { server: kept, probe: kept, discovery: kept, config: kept },
  },
  'astro-node': {
    program: ['astro/bin/astro.mjs', 'dev'],
    probe: 'src/probe.js',
    server: 'src/pages/probe.js',
    config: 'astro.config.mjs',
    keeps: { server: kept, probe: kept, discovery: kept, config: kept },
  },
  nuxt: {
    program: ['nuxt/bin/nuxt.mjs', 'dev', '--no-fork'],
    path: '/api/probe',
    // In CI, Nitro ends the old thread without its hook 'close'.
    env: { CI: '' },
    // The plugin of docs/guide/state.md, which closes the resources of the old thread before the new one opens its own.
    plugin: 'server/plugins/state.ts',
    probe: 'server/utils/probe.js',
    server: 'server/api/probe.js',
    config: 'nuxt.config.ts',
    keeps: { server: newThread, probe: newThread, config: newThread },
  },
  'nuxt-page': {
    app: 'nuxt',
    program: ['nuxt/bin/nuxt.mjs', 'dev', '--no-fork'],
    path: '/',
    base: '/_nuxt',
    probe: 'app/probe.js',
    server: 'app/app.vue',
    config: 'nuxt.config.ts',
    keeps: { server: kept, probe: kept, discovery: kept, config: newThread },
  },
  'tanstack-start': {
    isLong: true,
    packages: 'more',
    folder: 'more/apps',
    program: vite,
    probe: 'src/probe.js',
    server: 'src/routes/probe.js',
    config: 'vite.config.js',
    keeps: { server: kept, probe: kept, discovery: kept, config: kept },
  },
  solidstart: {
    isLong: true,
    packages: 'more',
    folder: 'more/apps',
    program: vite,
    probe: 'src/probe.js',
    server: 'src/routes/probe.js',
    config: 'vite.config.js',
    keeps: { server: kept, probe: kept, discovery: kept, config: kept },
  },
  vike: {
    isLong: true,
    packages: 'more',
    folder: 'more/apps',
    // With the plugin of Vike, Vite's own command accepts no --port.
    program: ['vike/bin.js', 'dev'],
    probe: 'server/probe.js',
    server: 'pages/probe/+data.js',
    config: 'vite.config.js',
    keeps: { server: kept, probe: kept, discovery: kept, config: kept },
  },
  cloudflare: {
    packages: 'rwsdk',
    program: vite,
    probe: 'src/probe.js',
    server: 'src/worker.js',
    config: 'vite.config.js',
    keeps: { server: kept, probe: kept, discovery: kept, config: newIsolate },
  },
}

/** Runs the hosts of these names and records one result for each kind of edit. */
export async function checkHosts(names, { root, node, packages, installWarmswap, record }) {
  for (const name of names) {
    const host = hosts[name]
    const home = packages(host.packages ?? 'hosts')
    installWarmswap(join(home, 'node_modules/warmswap'))
    const server = await start(root, home, name, node)
    try {
      for (const [edited, expected] of Object.entries(host.keeps)) {
        if (edited === 'discovery') {
          await checkDiscovery(server, host, home, name, record)
          continue
        }
        const seen = await over(server, host, edited)
        // With version 'auto': only the module that defines it. A thread or an isolate that ends runs no dispose.
        const more = edited === 'probe' ? ' close open' : ''
        const resource = expected.state === 'kept' ? `${seen.before.resource}${more}` : 'open'
        const isInOrder = host.plugin === undefined || !seen.after.history.includes('open open')
        record(
          `${name}: over an edit of ${host[edited]} defineState is ${expected.state}, sharedCell is ${expected.cell}, version 'auto' is '${resource}'`,
          seen.state === expected.state && seen.cell === expected.cell && seen.after.resource === resource && isInOrder,
          JSON.stringify(seen),
        )
      }
    } catch (error) {
      record(`${name}: state over edits`, false, `${error.stack}\n${server.output.slice(-3000)}`)
    } finally {
      await server.stop()
    }
  }
}

async function start(root, home, name, node) {
  const host = hosts[name]
  const folder = join(home, 'hosts', name)
  // A package that an earlier run has optimized would not be discovered.
  for (const path of [folder, join(home, 'node_modules/.vite'), join(home, 'node_modules/.cache')])
    rmSync(path, { recursive: true, force: true })
  mkdirSync(join(home, 'hosts'), { recursive: true })
  cpSync(join(root, '__test__/frameworks', host.folder ?? 'hosts/apps', host.app ?? name), folder, { recursive: true })
  // Both are there in Nuxt, where the application and the server are two bundles.
  for (const file of new Set([host.probe, ...(host.app === undefined ? [] : [hosts[host.app].probe])]))
    cpSync(join(root, '__test__/frameworks/hosts/probe.js'), join(folder, file))
  if (name === 'nuxt') rmSync(join(folder, 'app'), { recursive: true })
  if (host.plugin !== undefined) {
    const [, code] = /```ts suite\n\/\/ server\/plugins\/state\.ts\n([\s\S]*?)```/.exec(
      readFileSync(join(root, 'docs/guide/state.md'), 'utf8'),
    )
    mkdirSync(join(folder, 'server/plugins'))
    writeFileSync(join(folder, host.plugin), code)
  }
  return Object.assign(await serve(node, home, folder, host), { folder })
}

/** Starts a dev server in a process group of its own. */
export async function serve(node, home, folder, host) {
  const port = await freePort()
  const [program, ...args] = host.program
  const child = spawn(
    node,
    [join(home, 'node_modules', program), ...args, '--port', String(port), '--host', '127.0.0.1'],
    {
      cwd: folder,
      detached: true,
      stdio: ['ignore', 'pipe', 'pipe'],
      env: {
        ...process.env,
        NO_COLOR: '1',
        CI: '1',
        ASTRO_TELEMETRY_DISABLED: '1',
        NUXT_TELEMETRY_DISABLED: '1',
        WRANGLER_SEND_METRICS: 'false',
        ...host.env,
      },
    },
  )
  const ended = once(child, 'exit')
  const kill = () => {
    try {
      process.kill(-child.pid, 'SIGKILL')
    } catch {}
  }
  process.once('exit', kill)
  const server = { url: `http://127.0.0.1:${port}${host.path ?? '/probe'}`, output: '', child }
  for (const stream of [child.stdout, child.stderr])
    stream.setEncoding('utf8').on('data', (text) => {
      server.output += text
    })
  server.stop = async () => {
    process.off('exit', kill)
    kill()
    await ended
  }
  return server
}

/** Puts `first` before the code and raises its mark. Returns the new mark. */
function edit(path, first = '') {
  const text = readFileSync(path, 'utf8')
  const [, what, count] = /(edit|config|probe) (\d+)/.exec(text)
  const mark = `${what} ${Number(count) + 1}`
  // In one step: a server that restarts can otherwise read an empty file.
  writeFileSync(`${path}.new`, first + text.replace(`${what} ${count}`, mark))
  renameSync(`${path}.new`, path)
  return mark
}

/** What is the same after an edit, when the edited code answers. */
async function over(server, host, edited) {
  const before = await answer(server, () => true)
  const mark = edit(join(server.folder, host[edited]))
  const after = await answer(server, ({ marks }) => marks.includes(mark))
  const closed = ({ history }) => history.split('close').length
  if (host.plugin !== undefined) await answer(server, (found) => closed(found) > closed(before))
  const compare = (name) => (after[name] === before[name] ? 'kept' : 'new')
  return { state: compare('state'), cell: compare('cell'), before, after }
}

const CLIENTS = 6

/**
 * The page and the server start to import a package that Vite has not optimized, while clients send requests. Each
 * answer must be whole, and the state the same.
 */
async function checkDiscovery(server, host, home, name, record) {
  writePackages(home, 1)
  const before = await answer(server, () => true)
  const page = join(server.folder, 'src/discovered.js')
  mkdirSync(join(page, '..'), { recursive: true })
  const fetchText = async (path) => (await fetch(new URL(path, server.url))).text()
  const pageUrl = `${host.base ?? ''}/@fs${page}`
  // The first module of a page ends Vite's cold start. What comes after it is a late discovery.
  writeFileSync(page, 'export const current = undefined\n')
  await fetchText(pageUrl)
  writeFileSync(page, `export { current } from 'late-1'\n`)
  const mark = edit(join(server.folder, host.probe), `export { current } from 'late-1'\n`)

  const wrong = []
  let sent = 0
  let isOver = false
  const client = async () => {
    while (!isOver) {
      sent += 1
      const response = await fetch(server.url).catch((error) => new Response(String(error), { status: 599 }))
      const text = await response.text().catch(String)
      const found = valuesIn(text)
      if (!response.ok || found?.state !== before.state || found?.cell !== before.cell)
        wrong.push(`${response.status} ${text.slice(0, 300)}`)
    }
  }
  const clients = Promise.all(Array.from({ length: CLIENTS }, client))
  try {
    const [, optimized] = /from "([^"]*late-1[^"]*)"/.exec(await fetchText(`${pageUrl}?t=1`)) ?? []
    // Vite answers with the package when the optimizer is done.
    const code = optimized === undefined ? 'the page does not import it' : await fetchText(optimized)
    // Vite has not reported this edit in 3 of some 20 runs on a busy machine. A user would save the file again.
    const probe = join(server.folder, host.probe)
    const saveAgain = () => writeFileSync(probe, readFileSync(probe))
    await answer(server, ({ marks }) => marks.includes(mark), saveAgain)
    isOver = true
    await clients
    record(
      `${name}: over a late discovery defineState and sharedCell are kept, and no request fails (${wrong.length} of ${sent} wrong)`,
      wrong.length === 0 && code.includes('getStore'),
      JSON.stringify({ wrong: wrong.slice(0, 3), code: code.slice(0, 600) }),
    )
  } finally {
    isOver = true
  }
}

/**
 * The next answer that `isIt` accepts. A server that restarts refuses connections or answers with errors. Calls `again`
 * after each 10 s without such an answer.
 */
async function answer(server, isIt, again = () => {}) {
  const deadline = Date.now() + 60_000
  let next = Date.now() + 10_000
  let last
  while (Date.now() < deadline) {
    if (Date.now() > next) {
      next += 10_000
      again()
    }
    if (server.child.exitCode !== null) throw new Error('the server has ended')
    try {
      const response = await fetch(server.url, { signal: AbortSignal.timeout(30_000) })
      last = await response.text()
      const found = valuesIn(last)
      if (found !== null && isIt(found)) return found
    } catch (error) {
      last = String(error.cause ?? error)
    }
    await new Promise((resolve) => setTimeout(resolve, 100))
  }
  throw new Error(`not the expected answer in 60 s; the last one: ${last?.slice(0, 600)}`)
}

/** The answer of the probe, which some applications write into a page. */
const valuesIn = (text) => JSON.parse(/\{"marks".*?\}/.exec(text.replaceAll('&quot;', '"'))?.[0] ?? 'null')

async function freePort() {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address()
  await new Promise((resolve) => server.close(resolve))
  return port
}
