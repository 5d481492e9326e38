/**
 * A Vite server on a copy of the fixture in which a re-optimization is certain, with the supported versions of Vite.
 */

import { cpSync, mkdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { createServer as createHttpServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import type {
  DevEnvironment,
  EnvironmentOptions,
  InlineConfig,
  Logger,
  PluginOption,
  ResolvedConfig,
  ViteDevServer,
} from 'vite'
import type { ModuleRunner } from 'vite/module-runner'
import { repository } from './paths.js'
import { makeTemp } from './temp.js'
import { RunnerThread } from './vite-worker.js'

export type Vite = typeof import('vite')

/** Behaviour differs between these three: 6 serves stale dependencies silently, 7 has the older optimizer, 8 has Rolldown. */
const supported = [
  { name: 'Vite 8.3', package: 'vite', silent: false },
  { name: 'Vite 7.3', package: 'vite7', silent: false },
  { name: 'Vite 6.4', package: 'vite6', silent: true },
] as const

export interface Version {
  readonly name: string
  /** Name, or URL of the main file. */
  readonly package: string
  readonly silent: boolean
}

/** A logger of Vite that adds each message to `log`. */
export function loggerInto(log: string[]): Logger {
  const add = (text: string): void => void log.push(text)
  return {
    info: add,
    warn: add,
    warnOnce: add,
    error: add,
    clearScreen() {},
    hasWarned: false,
    hasErrorLogged: () => false,
  }
}

/** The folder of another version, which `npm run test:vite-latest` tries instead. */
const folder = process.env.WARMSWAP_VITE
export const versions: readonly [Version, ...Version[]] = folder === undefined ? supported : [versionIn(folder)]

function versionIn(folder: string): Version {
  const { version } = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8'))
  return { name: `Vite ${version}`, package: pathToFileURL(join(folder, 'dist/node/index.js')).href, silent: false }
}

/**
 * Where modules run, and whether Vite is configured to serve outdated dependencies (Vite 6 always does, and has no such
 * option).
 */
export interface Mode {
  readonly name: string
  readonly version: Version
  readonly runner: 'in-process' | 'worker thread'
  readonly ignoreOutdatedRequests: boolean
  /** A stale dependency is served as if it were the current one. */
  readonly silent: boolean
}

/** All modes in which the guarantees must hold. */
export const modes: readonly Mode[] = versions.flatMap((version) =>
  (['in-process', 'worker thread'] as const).flatMap((runner) =>
    (version.silent ? [false] : [false, true]).map((ignoreOutdatedRequests) => ({
      name: `${version.name}, ${runner}${ignoreOutdatedRequests ? ', ignoreOutdatedRequests' : ''}`,
      version,
      runner,
      ignoreOutdatedRequests,
      silent: version.silent || ignoreOutdatedRequests,
    })),
  ),
)

export const loadVite = (version: Version): Promise<Vite> => import(version.package)

export interface FixtureOptions {
  version: Version
  /** Whether the application keeps its context with defineState or, as is usual today, in module scope. */
  context: 'kept' | 'plain'
  plugins?: PluginOption[]
  /** Where the modules run. */
  runner?: Mode['runner']
  ignoreOutdatedRequests?: boolean
  /** Environments beside `ssr`. */
  environments?: Record<string, EnvironmentOptions>
  include?: string[]
  exclude?: string[]
  /** Installs warmswap as a real directory instead of a link to the checkout. */
  installed?: boolean
  /** Dependencies that bring a copy of warmswap of their own. */
  copies?: string[]
  /** Listens itself, with a page and a web socket, instead of being a middleware. */
  page?: boolean
}

/** The response to a request of the fixture. */
export interface Answer {
  store?: { user: string }
  entryShared: number
  routeShared: number
  counter: number
  /** Differs after each initialisation of the state. */
  initialised: number
  evaluations: Evaluations
}

/** What functions of the fixture return crosses to another thread, where it runs in one. */
type Crossing<T> = T | Promise<T>

/** How often modules were evaluated in their thread. */
export interface Evaluations {
  shared: number
  entry: number
  accepting: number
}

/** src/entry.js. */
export interface Entry {
  /** Numbers of the kept objects: the same number is the same object. */
  identity(): Crossing<{ context: number; counter: number }>
  count(value: number): Crossing<void>
  counted(): Crossing<number>
  handle(route: string): Promise<Answer>
  /** Keeps this generation's handler, as a custom server does. */
  keepHandler(): Crossing<void>
  handleByKept(route: string): Promise<Answer>
  hotSince(): Crossing<number>
  evaluations(): Crossing<Evaluations>
}

/** src/chunk-entry.js. */
export interface ChunkEntry {
  handle(): Promise<{ store?: { user: string }; counter: number }>
  count(value: number): Crossing<void>
  hotSince(): Crossing<number>
}

export const ENTRY = '/src/entry.js'
export const CHUNK_ENTRY = '/src/chunk-entry.js'

export const runnerOf = (environment: DevEnvironment | undefined): ModuleRunner =>
  (environment as unknown as { runner: ModuleRunner }).runner
const fixtures = join(repository, '__test__/state/fixtures')

/** A copy of the fixture as an installed application: its dependencies are real directories, because linked ones are never pre-bundled. */
export function copyFixture(context: 'kept' | 'plain', { installed = false, copies = [] as string[] } = {}): string {
  const root = makeTemp()
  cpSync(join(fixtures, 'app'), root, { recursive: true })
  cpSync(join(fixtures, 'packages'), join(root, 'node_modules'), { recursive: true })
  cpSync(join(root, `src/context-${context}.js`), join(root, 'src/context.js'))
  const home = join(root, 'node_modules/warmswap')
  if (installed) installPackage(home)
  else symlinkSync(repository, home)
  for (const name of copies) installPackage(join(root, 'node_modules', name, 'node_modules/warmswap'))
  return root
}

function installPackage(home: string): void {
  mkdirSync(home, { recursive: true })
  cpSync(join(repository, 'package.json'), join(home, 'package.json'))
  cpSync(join(repository, 'dist'), join(home, 'dist'), { recursive: true })
}

export class Fixture {
  /** Lines that Vite and the plugins logged. */
  readonly log: string[]
  /** Full reloads sent, by environment. */
  readonly reloads: Record<string, number> = {}
  readonly root: string
  readonly server: ViteDevServer
  readonly #thread: RunnerThread | undefined
  readonly #vite: Vite
  #http: Server | undefined

  constructor(parts: {
    root: string
    server: ViteDevServer
    log: string[]
    vite: Vite
    thread: RunnerThread | undefined
  }) {
    this.root = parts.root
    this.server = parts.server
    this.log = parts.log
    this.#vite = parts.vite
    this.#thread = parts.thread
    this.countReloads()
  }

  get ssr(): DevEnvironment {
    return this.server.environments.ssr as DevEnvironment
  }

  /** The runner of `ssr`: Vite's own in this process, or one that talks to the thread. */
  get runner(): ModuleRunner {
    return runnerOf(this.ssr)
  }

  /** Another runner for the modules of an environment, in the same thread as its first. */
  anotherRunner(environment: DevEnvironment = this.ssr): ModuleRunner {
    return this.#thread === undefined
      ? this.#vite.createServerModuleRunner(environment)
      : this.#thread.openRunner((environment as unknown as { channel: number }).channel)
  }

  entry(): Promise<Entry> {
    return this.runner.import(ENTRY)
  }

  /** Writes a file of the application, and notifies Vite as its watcher would. */
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

  /** The address of an HTTP server around Vite's middlewares. Started on first use. */
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
      await Promise.allSettled(
        [...Object.values(optimized), ...Object.values(discovered)].map(({ processing }) => processing),
      )
    }
    await this.server.close()
    await this.#thread?.terminate()
    rmSync(this.root, { recursive: true, force: true })
  }
}

/** Starts a server on a copy of the fixture. The caller closes it. */
export async function openFixture(options: FixtureOptions): Promise<Fixture> {
  const {
    version,
    context,
    plugins = [],
    ignoreOutdatedRequests,
    environments = {},
    include = ['dep-a'],
    exclude = [],
  } = options
  const vite = await loadVite(version)
  const root = copyFixture(context, { installed: options.installed === true, copies: options.copies ?? [] })
  const log: string[] = []
  const thread = options.runner === 'worker thread' ? await RunnerThread.start(version.package) : undefined
  const dev = thread && {
    createEnvironment: (name: string, config: ResolvedConfig) => thread.environment(vite, name, config),
  }
  const optimizeDeps = {
    noDiscovery: false,
    include,
    exclude,
    ...(ignoreOutdatedRequests ? { ignoreOutdatedRequests } : {}),
  }
  const base: InlineConfig = {
    root,
    configFile: false,
    appType: options.page ? 'spa' : 'custom',
    customLogger: loggerInto(log),
    server: options.page
      ? { host: '127.0.0.1', port: 5300, watch: null }
      : { middlewareMode: true, ws: false, watch: null },
    environments: {
      ssr: {
        resolve: { noExternal: true },
        optimizeDeps,
        ...(dev && { dev }),
      },
      ...Object.fromEntries(
        Object.entries(environments).map(([name, environment]) => [
          name,
          name === 'client' || !dev ? environment : { dev, ...environment },
        ]),
      ),
    },
    plugins,
  }
  if (options.page) cpSync(join(fixtures, 'browser'), root, { recursive: true })
  const server = await vite.createServer(base)
  if (options.page) await server.listen()
  return new Fixture({ root, server, log, vite, thread })
}

/** The calls of the fixture's handlers. */
export class Calls {
  readonly methods: string[] = []
  get count(): number {
    return this.methods.length
  }
}

/** Serves /app/<route> through the fixture's entry. */
export function applicationPlugin(
  calls = new Calls(),
  load = (server: ViteDevServer): Promise<Entry> => runnerOf(server.environments.ssr).import<Entry>(ENTRY),
): PluginOption {
  return {
    name: 'fixture:application',
    configureServer: (server) => () => {
      server.middlewares.use(async (request, response, next) => {
        const route = /^\/app\/([\w-]+)/.exec(request.originalUrl ?? '')?.[1]
        if (route === undefined) return next()
        calls.methods.push(request.method ?? '')
        response.setHeader(`x-attempt-${calls.count}`, 'true')
        try {
          const entry = await load(server)
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
  /** What happens after the calls that fail. @default an answer */
  afterwards?: Error
  /** Whose dependency is stale. @default that of `ssr` */
  of?: () => DevEnvironment
}

/** Requests fail as Vite's runner does on a stale dependency. */
export function failingPlugin(
  calls: Calls,
  { until = Infinity, isEven = false, reads = false, sends = false, afterwards, of }: Failing = {},
): PluginOption {
  return {
    name: 'fixture:failing',
    configureServer: (server) => () => {
      server.middlewares.use(async (request, response, next) => {
        calls.methods.push(request.method ?? '')
        if (reads) for await (const _ of request);
        if (sends) await new Promise((written) => response.writeHead(200).write('half of an ', written))
        const fails = calls.count <= until && !(isEven && calls.count % 2 === 0)
        if (fails) return next(staleError(of?.() ?? (server.environments.ssr as DevEnvironment)))
        if (afterwards !== undefined) return next(afterwards)
        response.end(`${request.method} ${request.url}`)
      })
    },
  }
}
