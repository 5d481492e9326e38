var __defProp = Object.defineProperty
var __getOwnPropNames = Object.getOwnPropertyNames
var __esm = (fn, res, err) =>
  function __init() {
    if (err) throw err[0]
    try {
      return (fn && (res = (0, fn[__getOwnPropNames(fn)[0]])((fn = 0))), res)
    } catch (e) {
      throw ((err = [e]), e)
    }
  }
var __export = (target, all) => {
  for (var name in all) __defProp(target, name, { get: all[name], enumerable: true })
}

// __test__/support/paths.ts
import { dirname, join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
var repository, testingAddon
var init_paths = __esm({
  '__test__/support/paths.ts'() {
    'use strict'
    repository = resolve(dirname(fileURLToPath(import.meta.url)), '../..')
    testingAddon = join(repository, 'build/testing/warmswap.linux-x64-gnu.node')
  },
})

// __test__/support/inflight.ts
var inflight_exports = {}
__export(inflight_exports, {
  REQUESTS: () => REQUESTS,
  requestsOver: () => requestsOver,
  routesOf: () => routesOf,
  writeInflightApp: () => writeInflightApp,
})
import { cpSync, mkdirSync, symlinkSync, writeFileSync } from 'node:fs'
import { dirname as dirname2, join as join2 } from 'node:path'
function files(discoveries) {
  const all = indices(discoveries)
  const packages = all.flatMap((n) => [
    [
      `context-${n}`,
      `import { AsyncLocalStorage } from 'node:async_hooks'
export const context = new AsyncLocalStorage()
`,
    ],
    [
      `frame-${n}`,
      `import { context } from 'context-${n}'
export const withContext = (value, work) => context.run(value, work)
export const getContext = () => context.getStore()
`,
    ],
    [
      `late-${n}`,
      `import { context } from 'context-${n}'
export const current = () => context.getStore()
`,
    ],
  ])
  return {
    'package.json': JSON.stringify({ name: 'app', private: true, type: 'module' }),
    'wrangler.jsonc': JSON.stringify({
      name: 'app',
      main: 'src/worker.js',
      compatibility_date: '2026-01-01',
      compatibility_flags: ['nodejs_als'],
    }),
    'src/worker.js': `import { routes } from 'virtual:routes'
${all.map((n) => `import { withContext as in${n} } from 'frame-${n}'`).join('\n')}
const frames = [${all.map((n) => `in${n}`).join(', ')}]
export const generation = Math.random()
const within = (frame, value, work) => frame === frames.length ? work() : frames[frame](value, () => within(frame + 1, value, work))
export default {
  fetch(request) {
    const { pathname, searchParams } = new URL(request.url)
    return within(0, { id: searchParams.get('id') }, async () => {
      const { render } = await routes[pathname]()
      await new Promise((resolve) => setTimeout(resolve, 10))
      const text = render()
      return new Response(text, { status: text.includes('lost') ? 500 : 200, headers: { 'x-generation': String(generation) } })
    })
  },
}
`,
    'src/home.js': `import { getContext } from 'frame-1'
export const render = () => 'id=' + (getContext()?.id ?? 'lost')
`,
    ...Object.fromEntries(
      all.map((n) => [
        `src/late-${n}.js`,
        `import { current } from 'late-${n}'
export const render = () => 'id=' + (current()?.id ?? 'lost')
`,
      ]),
    ),
    ...Object.fromEntries(
      packages.flatMap(([name, code]) => [
        [
          `node_modules/${name}/package.json`,
          JSON.stringify({ name, version: '1.0.0', type: 'module', exports: './index.js' }),
        ],
        [`node_modules/${name}/index.js`, code],
      ]),
    ),
  }
}
function writeInflightApp(root2, discoveries, config) {
  const all = { ...files(discoveries), ...(config === void 0 ? {} : { 'vite.config.js': config }) }
  for (const [file, text] of Object.entries(all)) {
    mkdirSync(dirname2(join2(root2, file)), { recursive: true })
    writeFileSync(join2(root2, file), text)
  }
  cpSync(join2(repository, 'examples/virtual-routes.js'), join2(root2, 'virtual-routes.js'))
  symlinkSync(repository, join2(root2, 'node_modules/warmswap'))
  for (const name of ['vite', '@cloudflare', 'wrangler'])
    symlinkSync(join2(repository, 'node_modules', name), join2(root2, 'node_modules', name))
}
async function requestsOver(url2, discovery) {
  const answers = []
  let next = 0
  const client = async () => {
    while (next < REQUESTS) {
      const id = `${discovery}-${next}`
      const path = next % 2 === 0 ? `late-${discovery}` : 'home'
      next += 1
      answers.push(await request(`${url2}/${path}?id=${id}`, `id=${id}`))
    }
  }
  await Promise.all(Array.from({ length: CONCURRENT }, client))
  return answers
}
async function request(url2, expected) {
  try {
    const response = await fetch(url2)
    const text = await response.text()
    return { status: response.status, text, isWrong: response.status !== 200 || text !== expected }
  } catch (error) {
    return { status: 0, text: String(error.cause ?? error), isWrong: true }
  }
}
var REQUESTS, CONCURRENT, indices, routesOf
var init_inflight = __esm({
  '__test__/support/inflight.ts'() {
    'use strict'
    init_paths()
    REQUESTS = 36
    CONCURRENT = 6
    indices = (count) => Array.from({ length: count }, (_, index) => index + 1)
    routesOf = (discoveries) => ({
      '/home': '/src/home.js',
      ...Object.fromEntries(indices(discoveries).map((n) => [`/late-${n}`, `/src/late-${n}.js`])),
    })
  },
})

// ../../../tmp/rescue/tl.mts
import { spawn } from 'node:child_process'
import { createInterface } from 'node:readline'
import { mkdtempSync } from 'node:fs'
var {
  writeInflightApp: writeInflightApp2,
  routesOf: routesOf2,
  requestsOver: requestsOver2,
} = await Promise.resolve().then(() => (init_inflight(), inflight_exports))
var runs = Number(process.argv[2] ?? 3)
var plugins = process.argv[3] ?? 'warmswap(), '
var root = mkdtempSync('/tmp/rescue/app-')
writeInflightApp2(
  root,
  10,
  `import { cloudflare } from '@cloudflare/vite-plugin'
import warmswap from 'warmswap/vite'
import { virtualRoutes } from './virtual-routes.js'
export default { plugins: [${plugins}virtualRoutes(${JSON.stringify(routesOf2(10))}), cloudflare({ inspectorPort: false })] }`,
)
var t0 = performance.now()
var at = () => ((performance.now() - t0) | 0) + 'ms'
var c = spawn(
  '/work/w/rescue/node_modules/node22-linux-x64/bin/node',
  ['/work/w/rescue/__test__/programs/dev-server.mjs', root],
  { stdio: ['ignore', 'pipe', 'inherit'], env: { ...process.env, DEBUG: process.env.VDEBUG ?? '' } },
)
var url = await new Promise((r) =>
  createInterface({ input: c.stdout }).on('line', (l) => {
    console.log(at(), l.slice(0, 160))
    const m = /^ready (.*)\//.exec(l)
    if (m) r(m[1])
  }),
)
console.log(at(), await (await fetch(url + '/home?id=w')).text())
for (let i = 1; i <= runs; i++) {
  const a = await requestsOver2(url, i)
  console.log(
    at(),
    'run',
    i,
    'wrong',
    a.filter((x) => x.isWrong).length,
    JSON.stringify(a.find((x) => x.isWrong) ?? ''),
  )
}
c.kill('SIGKILL')
process.exit(0)
