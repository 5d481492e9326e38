/**
 * An application in which each of several late discoveries breaks running requests. A framework keeps its request
 * context at the top of a pre-bundled module, and a page starts to import a dependency that shares that module. Each
 * discovery has packages of its own, because Vite 8 reloads only when a chunk is split for the first time.
 */

import { cpSync, mkdirSync, symlinkSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import type { PluginOption } from 'vite'
import { repository } from './paths.js'
import { runnerOf } from './vite.js'

/** Requests across one late discovery, and how many of them run at the same time. */
export const REQUESTS = 36
const CONCURRENT = 6

const indices = (count: number): number[] => Array.from({ length: count }, (_, index) => index + 1)

function files(discoveries: number): Record<string, string> {
  const all = indices(discoveries)
  const packages = all.flatMap((n) => [
    [
      `context-${n}`,
      `import { AsyncLocalStorage } from 'node:async_hooks'\nexport const context = new AsyncLocalStorage()\n`,
    ],
    [
      `frame-${n}`,
      `import { context } from 'context-${n}'\nexport const withContext = (value, work) => context.run(value, work)\nexport const getContext = () => context.getStore()\n`,
    ],
    [`late-${n}`, `import { context } from 'context-${n}'\nexport const current = () => context.getStore()\n`],
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
    'src/home.js': `import { getContext } from 'frame-1'\nexport const render = () => 'id=' + (getContext()?.id ?? 'lost')\n`,
    ...Object.fromEntries(
      all.map((n) => [
        `src/late-${n}.js`,
        `import { current } from 'late-${n}'\nexport const render = () => 'id=' + (current()?.id ?? 'lost')\n`,
      ]),
    ),
    ...Object.fromEntries(
      packages.flatMap(([name, code]) => [
        [
          `node_modules/${name}/package.json`,
          JSON.stringify({ name, version: '1.0.0', type: 'module', exports: './index.js' }),
        ],
        [`node_modules/${name}/index.js`, code as string],
      ]),
    ),
  }
}

export const routesOf = (discoveries: number): Record<string, string> => ({
  '/home': '/src/home.js',
  ...Object.fromEntries(indices(discoveries).map((n) => [`/late-${n}`, `/src/late-${n}.js`])),
})

/** Writes the application with that number of late discoveries to `root`. `config` is its vite.config.js. */
export function writeInflightApp(root: string, discoveries: number, config?: string): void {
  const all = { ...files(discoveries), ...(config === undefined ? {} : { 'vite.config.js': config }) }
  for (const [file, text] of Object.entries(all)) {
    mkdirSync(dirname(join(root, file)), { recursive: true })
    writeFileSync(join(root, file), text)
  }
  cpSync(join(repository, 'examples/virtual-routes.js'), join(root, 'virtual-routes.js'))
  symlinkSync(repository, join(root, 'node_modules/warmswap'))
  for (const name of ['vite', '@cloudflare', 'wrangler'])
    symlinkSync(join(repository, 'node_modules', name), join(root, 'node_modules', name))
}

export interface Outcome {
  status: number
  text: string
  /** The response is that of another request, failed or is empty. */
  isWrong: boolean
}

/** Sends the requests of one late discovery, half of them to the page that causes it. Resolves with the responses. */
export async function requestsOver(url: string, discovery: number): Promise<Outcome[]> {
  const answers: Outcome[] = []
  let next = 0
  const client = async (): Promise<void> => {
    while (next < REQUESTS) {
      const id = `${discovery}-${next}`
      const path = next % 2 === 0 ? `late-${discovery}` : 'home'
      next += 1
      answers.push(await request(`${url}/${path}?id=${id}`, `id=${id}`))
    }
  }
  await Promise.all(Array.from({ length: CONCURRENT }, client))
  return answers
}

async function request(url: string, expected: string): Promise<Outcome> {
  try {
    const response = await fetch(url)
    const text = await response.text()
    return { status: response.status, text, isWrong: response.status !== 200 || text !== expected }
  } catch (error) {
    return { status: 0, text: String((error as Error).cause ?? error), isWrong: true }
  }
}

/** The dependencies that are known from the start. */
export const frames = (discoveries: number): string[] => indices(discoveries).map((n) => `frame-${n}`)

/** Serves the application's worker in plain Vite. */
export function workerPlugin(): PluginOption {
  return {
    name: 'fixture:worker',
    configureServer: (server) => () => {
      server.middlewares.use(async (request, response, next) => {
        try {
          const { default: worker } = await runnerOf(server.environments.ssr).import<Worker>('/src/worker.js')
          const answer = await worker.fetch(new Request(new URL(request.originalUrl ?? '/', 'http://localhost')))
          response.writeHead(answer.status, Object.fromEntries(answer.headers))
          response.end(await answer.text())
        } catch (error) {
          next(error)
        }
      })
    },
  }
}

interface Worker {
  default: { fetch(request: Request): Promise<Response> }
}

/** As frameworks create their routes: Vite's scanner does not read a virtual module. */
export function virtualRoutes(routes: Record<string, string>): PluginOption {
  const id = 'virtual:routes'
  const lines = Object.entries(routes).map(([path, file]) => `${JSON.stringify(path)}: () => import('${file}')`)
  return {
    name: 'fixture:routes',
    resolveId: (source) => (source === id ? `\0${id}` : undefined),
    load: (source) => (source === `\0${id}` ? `export const routes = { ${lines.join(', ')} }` : undefined),
  }
}
