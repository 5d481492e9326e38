/** The store and the coordinator that all runners of one store share: a runner is one reload, and not one worker. */

import { createHash } from 'node:crypto'
import { createServer } from 'node:http'
import { createRequire } from 'node:module'
import { dirname, join, relative, resolve } from 'node:path'
import { pathToFileURL } from 'node:url'
import { type BundleStore, openBundles } from '../bundles/index.js'
import { WarmswapError } from '../native/errors.js'
import { type Coordinator, openCoordinator, type Start } from '../restarts/index.js'
import type { EnvRunner, RunnerListener, WarmswapOptions, WarmswapRunnerOptions } from './contract.js'
import { workerOf } from './handle.js'

const READY_MS = 30_000

const engines = new Map<string, Engine>()

/** The engine of this runner's store. The first runner of a store decides about its options. */
export function engineOf({ name, warmswap = {} }: WarmswapRunnerOptions): Engine {
  const root = resolve(warmswap.store ?? join('.warmswap', folderOf(name)))
  const engine = engines.get(root) ?? new Engine(root, warmswap)
  engines.set(root, engine)
  return engine
}

/** Two names must not become one store: the runners of one would answer with the code of the other. */
function folderOf(name: string): string {
  const folder = name.replaceAll(/[^\w-]+/g, '-')
  return folder === name ? name : `${folder}-${createHash('sha256').update(name).digest('hex').slice(0, 8)}`
}

interface Opened {
  readonly store: BundleStore
  readonly coordinator: Coordinator<never, never>
}

export class Engine {
  /** The runner that serves, or served last. */
  current: EnvRunner | undefined
  /** Passes upgrades to the coordinator. It never listens. */
  readonly server = createServer()
  private readonly listeners = new Set<RunnerListener>()
  private readonly users = new Set<object>()
  private opened: Promise<Opened> | undefined
  private reloads: Promise<unknown> = Promise.resolve()
  private options: WarmswapRunnerOptions | undefined

  constructor(
    private readonly root: string,
    private readonly settings: WarmswapOptions,
  ) {}

  /** Whether a runner uses it that was not closed. */
  get isUsed(): boolean {
    return this.users.size > 0
  }

  /** Publishes the output of the build, and starts a worker with it. Resolves once the worker serves. */
  reload(user: object, options: WarmswapRunnerOptions): Promise<void> {
    this.users.add(user)
    const reloaded = this.reloads.then(() => this.publishAndStart(options))
    this.reloads = reloaded.catch(() => {})
    return reloaded
  }

  async fetch(request: Request): Promise<Response> {
    const { coordinator } = await this.open()
    return await coordinator.fetch(request)
  }

  listen(listener: RunnerListener): void {
    this.listeners.add(listener)
  }

  unlisten(listener: RunnerListener): void {
    this.listeners.delete(listener)
  }

  /** With the last runner everything ends. */
  async leave(user: object): Promise<void> {
    this.users.delete(user)
    if (this.users.size > 0) return
    if (engines.get(this.root) === this) engines.delete(this.root)
    await this.reloads
    const opened = await this.opened
    await opened?.coordinator[Symbol.asyncDispose]()
    await opened?.store.close()
  }

  private async publishAndStart(options: WarmswapRunnerOptions): Promise<void> {
    const { store, coordinator } = await this.open()
    const directory = directoryOf(options)
    {
      await using stage = await store.stage()
      await stage.adopt(directory)
      await stage.publish({ ifChanged: true, require: [entryIn(options)] })
    }
    this.options = options
    await coordinator.reboot({ observed: coordinator.status().incarnation || null, reason: 'a reload of env-runner' })
  }

  private open(): Promise<Opened> {
    this.opened ??= this.openStore().catch((error: unknown) => {
      this.opened = undefined
      throw error
    })
    return this.opened
  }

  private async openStore(): Promise<Opened> {
    const { runner = 'node-worker', directory: _directory, store: _store, ...succession } = this.settings
    const store = await openBundles(this.root)
    const start: Start<never, never> = async ({ pin, signal }) => {
      const options = this.options as WarmswapRunnerOptions
      const { warmswap: _warmswap, hooks: _hooks, data, ...rest } = options
      const Runner = await runnerClass(runner)
      const started = new Runner({ ...rest, data: { ...data, entry: pin.resolve(entryIn(options)) } })
      const worker = await workerOf(started, succession.startTimeoutMs ?? READY_MS, signal)
      this.follow(started)
      return worker
    }
    try {
      const coordinator = openCoordinator<never, never>(store, { ...succession, start })
      coordinator.attach(this.server)
      return { store, coordinator }
    } catch (error) {
      await store.close()
      throw error
    }
  }

  /** Messages come from the runner that serves. */
  private follow(runner: EnvRunner): void {
    this.current = runner
    runner.onMessage((message) => {
      if (this.current === runner) for (const listener of this.listeners) listener(message)
    })
  }
}

/** The directory that becomes a generation. */
export function directoryOf({ data, warmswap }: WarmswapRunnerOptions): string {
  return resolve(warmswap?.directory ?? dirname(data?.entry as string))
}

function entryIn(options: WarmswapRunnerOptions): string {
  return relative(directoryOf(options), resolve(options.data?.entry as string))
}

type RunnerClass = new (options: object) => EnvRunner

/** The runners of env-runner that can run a worker. */
export const CLASSES: Record<string, string> = {
  'node-worker': 'NodeWorkerEnvRunner',
  'node-process': 'NodeProcessEnvRunner',
  'bun-process': 'BunProcessEnvRunner',
  'deno-process': 'DenoProcessEnvRunner',
}

async function runnerClass(name: string): Promise<RunnerClass> {
  const specifier = `env-runner/runners/${name}`
  try {
    const exported = (await import(located(specifier))) as Record<string, RunnerClass>
    return exported[CLASSES[name] as string] as RunnerClass
  } catch (cause) {
    const text = `'${specifier}' cannot be loaded. Install env-runner 0.3 or later.`
    throw new WarmswapError('ERR_UNSUPPORTED', text, { cause })
  }
}

/** As this package sees it, else as the project does: a linked package does not see the packages of the project. */
function located(specifier: string): string {
  for (const from of [import.meta.url, join(process.cwd(), 'package.json')]) {
    try {
      return pathToFileURL(createRequire(from).resolve(specifier)).href
    } catch {}
  }
  return specifier
}
