/** A Vite server on a copy of the fixture in which a re-optimization is certain, with the versions of Vite that are supported. */

import { cpSync, mkdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { createServer as createHttpServer, type Server } from 'node:http'
import { type AddressInfo } from 'node:net'
import { join } from 'node:path'
import type { DevEnvironment, EnvironmentOptions, InlineConfig, PluginOption, ViteDevServer } from 'vite'
import type { ModuleRunner } from 'vite/module-runner'
import { repository } from './paths.js'
import { makeTemp } from './temp.js'
import { workerRunner, workerTransport, type FixtureWorker } from './vite-worker.js'

export type Vite = typeof import('vite')

/** Behaviour differs between these three: 6 serves stale dependencies silently, 7 has the older optimizer, 8 has Rolldown. */
export const versions = [
  { name: 'Vite 8.3', package: 'vite', silent: false },
  { name: 'Vite 7.3', package: 'vite7', silent: false },
  { name: 'Vite 6.4', package: 'vite6', silent: true },
] as const
export type Version = (typeof versions)[number]

export const loadVite = (version: Version): Promise<Vite> => import(version.package)

export interface FixtureOptions {
  version: Version
  /** Whether the application keeps its context with defineState or, as it is written today, in module scope. */
  context: 'kept' | 'plain'
  plugins?: PluginOption[]
  /** Where the modules run. */
  runner?: 'in-process' | 'worker thread'
  ignoreOutdatedRequests?: boolean
  /** Environments beside `ssr`. */
  environments?: Record<string, EnvironmentOptions>
  include?: string[]
  /** Installs warmswap as a real directory instead of a link to the checkout. */
  installed?: boolean
  /** Listens itself, with a page and a web socket, instead of being a middleware. */
  page?: boolean
}

/** What a request of the fixture answers. */
export interface Answer {
  store?: { user: string }
  entryShared: number
  routeShared: number
  counter: number
  /** Differs after each initialisation of the state. */
  initialised: number
  evaluations: { shared: number; entry: number }
}

/** src/entry.js. */
export interface Entry {
  context: object
  counter: { value: number }
  count(value: number): void | Promise<void>
  handle(route: string): Promise<Answer>
  hotData: { since: number }
}

export const ENTRY = '/src/entry.js'
const fixtures = join(repository, '__test__/state/fixtures')

/** A copy of the fixture as an installed application: its dependencies are real directories, because linked ones are never pre-bundled. */
export function copyFixture(context: 'kept' | 'plain', { installed = false } = {}): string {
  const root = makeTemp()
  cpSync(join(fixtures, 'app'), root, { recursive: true })
  cpSync(join(fixtures, 'packages'), join(root, 'node_modules'), { recursive: true })
  cpSync(join(root, `src/context-${context}.js`), join(root, 'src/context.js'))
  const home = join(root, 'node_modules/warmswap')
  if (installed) {
    mkdirSync(home)
    cpSync(join(repository, 'package.json'), join(home, 'package.json'))
    cpSync(join(repository, 'dist'), join(home, 'dist'), { recursive: true })
  } else {
    symlinkSync(repository, home)
  }
  return root
}

export class Fixture {
  /** Lines that Vite and the plugins logged. */
  readonly log: string[]
  /** Full reloads sent, by environment. */
  readonly reloads: Record<string, number> = {}
  readonly root: string
  readonly server: ViteDevServer
  readonly worker: FixtureWorker | undefined
  #http: Server | undefined

  constructor(parts: { root: string; server: ViteDevServer; log: string[]; worker: FixtureWorker | undefined }) {
    this.root = parts.root
    this.server = parts.server
    this.log = parts.log
    this.worker = parts.worker
    this.countReloads()
  }

  get ssr(): DevEnvironment {
    return this.server.environments.ssr as DevEnvironment
  }

  /** The runner of `ssr`: Vite's own in this process, or one that talks to the worker. */
  get runner(): ModuleRunner {
    return this.worker === undefined ? (this.ssr as unknown as { runner: ModuleRunner }).runner : workerRunner(this.worker)
  }

  entry(): Promise<Entry> {
    return this.runner.import(ENTRY)
  }

  /** Writes a file of the application, and lets Vite see it as its watcher would. */
  edit(file: string, change: (text: string) => string): void {
    const path = join(this.root, file)
    writeFileSync(path, change(readFileSync(path, 'utf8')))
    this.server.watcher.emit('change', path)
  }

  /** Counts from zero; a restarted server has other environments. */
  countReloads(): void {
    for (const [name, environment] of Object.entries(this.server.environments)) {
      this.reloads[name] = 0
      const send = environment.hot.send.bind(environment.hot) as (...args: unknown[]) => void
      environment.hot.send = (...args: unknown[]) => {
        if ((args[0] as { type?: string }).type === 'full-reload') this.reloads[name] = (this.reloads[name] ?? 0) + 1
        send(...args)
      }
    }
  }

  /** The address of an HTTP server around Vite's middlewares; started when it is first asked for. */
  async url(): Promise<string> {
    if (this.server.httpServer) return `http://127.0.0.1:${(this.server.httpServer.address() as AddressInfo).port}`
    if (this.#http === undefined) {
      const http = createHttpServer(this.server.middlewares)
      this.#http = http
      await new Promise<void>((resolve) => http.listen(0, '127.0.0.1', resolve))
    }
    return `http://127.0.0.1:${(this.#http.address() as AddressInfo).port}`
  }

  async close(): Promise<void> {
    this.#http?.closeAllConnections()
    await new Promise((resolve) => (this.#http === undefined ? resolve(undefined) : this.#http.close(resolve)))
    // Vite 6 and 7 do not wait for an optimizer at work, and it would not find the folder.
    for (const { depsOptimizer } of Object.values(this.server.environments)) {
      await depsOptimizer?.scanProcessing
      const { optimized, discovered } = depsOptimizer?.metadata ?? { optimized: {}, discovered: {} }
      await Promise.allSettled([...Object.values(optimized), ...Object.values(discovered)].map(({ processing }) => processing))
    }
    await this.server.close()
    await this.worker?.terminate()
    rmSync(this.root, { recursive: true, force: true })
  }
}

/** Starts a server on a copy of the fixture. The caller closes it. */
export async function openFixture(options: FixtureOptions): Promise<Fixture> {
  const { version, context, plugins = [], ignoreOutdatedRequests, environments = {}, include = ['dep-a'] } = options
  const vite = await loadVite(version)
  const root = copyFixture(context, { installed: options.installed === true })
  const log: string[] = []
  const worker = options.runner === 'worker thread' ? await workerTransport(version.package) : undefined
  const optimizeDeps = { noDiscovery: false, include, ...(ignoreOutdatedRequests === undefined ? {} : { ignoreOutdatedRequests }) }
  const keep = (text: string): void => void log.push(text)
  const base: InlineConfig = {
    root,
    configFile: false,
    appType: options.page ? 'spa' : 'custom',
    customLogger: { info: keep, warn: keep, warnOnce: keep, error: keep, clearScreen() {}, hasWarned: false, hasErrorLogged: () => false },
    server: options.page ? { host: '127.0.0.1', port: 5300, watch: null } : { middlewareMode: true, ws: false, watch: null },
    environments: {
      ssr: {
        resolve: { noExternal: true },
        optimizeDeps,
        ...(worker && { dev: { createEnvironment: (name, config) => new vite.DevEnvironment(name, config, { hot: true, transport: worker.channel }) } }),
      },
      ...environments,
    },
    plugins,
  }
  if (options.page) cpSync(join(fixtures, 'browser'), root, { recursive: true })
  const server = await vite.createServer(base)
  if (options.page) await server.listen()
  return new Fixture({ root, server, log, worker })
}

/** What the fixture's handlers were called with. */
export class Calls {
  readonly methods: string[] = []
  get count(): number {
    return this.methods.length
  }
}

/** Serves /app/<route> through the fixture's entry. */
export function applicationPlugin(calls = new Calls()): PluginOption {
  return {
    name: 'fixture:application',
    configureServer: (server) => () => {
      server.middlewares.use(async (request, response, next) => {
        const route = /^\/app\/([\w-]+)/.exec(request.originalUrl ?? '')?.[1]
        if (route === undefined) return next()
        calls.methods.push(request.method ?? '')
        response.setHeader(`x-attempt-${calls.count}`, 'true')
        try {
          const runner = (server.environments.ssr as unknown as { runner: ModuleRunner }).runner
          const entry = await runner.import<Entry>(ENTRY)
          response.setHeader('content-type', 'application/json')
          response.end(JSON.stringify(await entry.handle(route)))
        } catch (error) {
          next(error)
        }
      })
    },
  }
}

/** Vite's own error for a stale dependency of this environment. */
export function staleError(environment: DevEnvironment, hash = '00000000'): Error {
  const folder = (environment as unknown as { config: { cacheDir: string } }).config.cacheDir
  const message = `There is a new version of the pre-bundle for "${folder}/deps_${environment.name}/dep-a.js?v=${hash}", a page reload is going to ask for it.`
  return Object.assign(new Error(message), { code: 'ERR_OUTDATED_OPTIMIZED_DEP' })
}

interface Failing {
  /** How many calls fail. @default all */
  until?: number
  /** Every second call succeeds. */
  isEven?: boolean
  /** Reads the body before it fails. */
  reads?: boolean
  /** Sends the head before it fails. */
  sends?: boolean
  /** Whose dependency is stale. @default that of `ssr` */
  of?: () => DevEnvironment
}

/** Requests fail as Vite's runner does on a stale dependency. */
export function failingPlugin(calls: Calls, { until = Infinity, isEven = false, reads = false, sends = false, of }: Failing = {}): PluginOption {
  return {
    name: 'fixture:failing',
    configureServer: (server) => () => {
      server.middlewares.use(async (request, response, next) => {
        calls.methods.push(request.method ?? '')
        if (reads) for await (const _ of request);
        if (sends) await new Promise((written) => response.writeHead(200).write('half of an ', written))
        const fails = calls.count <= until && !(isEven && calls.count % 2 === 0)
        if (fails) return next(staleError(of?.() ?? (server.environments.ssr as DevEnvironment)))
        response.end(`${request.method} ${request.url}`)
      })
    },
  }
}
