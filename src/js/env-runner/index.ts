/**
 * `warmswap/env-runner`: a runner for env-runner whose reloads lose no request.
 *
 * Each instance is one reload. The output of the build becomes a generation, and a worker of env-runner's own runners
 * starts on it. Requests wait for that worker; those that an older worker has begun are finished by it.
 */

import { isAbsolute, relative, resolve, sep } from 'node:path'
import { invalidArgument, WarmswapError } from '../native/errors.js'
import { milliseconds, oneOf, string } from '../native/validate.js'
import type {
  EnvRunner,
  RunnerAddress,
  RunnerListener,
  RunnerRpcOptions,
  RunnerUpgrade,
  WarmswapRunnerOptions,
} from './contract.js'
import { CLASSES, directoryOf, type Engine, engineOf } from './engine.js'

export type {
  EnvRunner,
  RunnerAddress,
  RunnerData,
  RunnerHooks,
  RunnerListener,
  RunnerRpcOptions,
  RunnerUpgrade,
  WarmswapOptions,
  WarmswapRunnerOptions,
} from './contract.js'

const READY_TIMEOUT_MS = 15_000

/**
 * A runner for `RunnerManager.reload()` with the constructor options of env-runner's own runners. Instances with the same
 * store share one queue and one worker.
 *
 * If a reload fails, the worker before it continues to serve, and `waitForReady()` rejects with the error. If no worker
 * serves, the runner is closed with the error.
 */
export class WarmswapEnvRunner implements EnvRunner {
  private isClosed = false
  private isReady = false
  private readonly options: WarmswapRunnerOptions
  private readonly engine: Engine
  private reloaded: Promise<void>
  private readonly listeners = new Set<RunnerListener>()
  private readonly pass = (message: unknown): void => {
    for (const listener of this.listeners) listener(message)
  }

  /**
   * Publishes the output of the build and starts a worker with it. Runs in the background: see waitForReady().
   *
   * @param options Options of env-runner's own runners, and `warmswap`.
   * @throws {WarmswapError} ERR_INVALID_ARGUMENT.
   */
  constructor(options: WarmswapRunnerOptions) {
    if (string('options.name', options?.name) === '') throw invalidArgument('options.name', '', 'a name')
    const entry = string('options.data.entry', options.data?.entry)
    const { runner } = options.warmswap ?? {}
    if (runner !== undefined) oneOf('options.warmswap.runner', runner, Object.keys(CLASSES))
    if (options.listen !== undefined)
      throw invalidArgument('options.listen', options.listen, 'no value: the worker has no public address of its own')
    if (!contains(directoryOf(options), resolve(entry)))
      throw invalidArgument(
        'options.warmswap.directory',
        options.warmswap?.directory,
        `a directory that contains the entry ${entry}`,
      )
    this.options = options
    this.engine = engineOf(options)
    this.engine.listen(this.pass)
    this.reloaded = this.reload()
  }

  /** Whether the worker of this reload has served, and the runner was not closed. */
  get ready(): boolean {
    return this.isReady && !this.isClosed
  }

  /** Whether close() was called, or the runner ended with an error. */
  get closed(): boolean {
    return this.isClosed
  }

  /** Address of the worker that serves. Direct connections to it have neither the queue nor the drain of a reload. */
  get address(): RunnerAddress {
    return this.engine.current?.address as RunnerAddress
  }

  /** Answers a request with the worker that serves once this reload has ended. */
  async fetch(input: string | URL | Request, init?: RequestInit): Promise<Response> {
    if (this.hasEnded) return new Response('The runner is closed', { status: 503 })
    await this.reloaded.catch(() => {})
    const target = typeof input === 'string' && !URL.canParse(input) ? new URL(input, 'http://localhost') : input
    return await this.engine.fetch(new Request(target, init))
  }

  /** Passes an upgrade to the worker that serves. */
  async upgrade({ node }: RunnerUpgrade): Promise<void> {
    await this.reloaded.catch(() => {})
    if (this.hasEnded) node.socket.destroy()
    else this.engine.server.emit('upgrade', node.req, node.socket, node.head)
  }

  /**
   * Resolves once the worker of this reload serves. `timeout` is in milliseconds. Default 15 000.
   *
   * @throws {WarmswapError} ERR_NOT_READY, or the error of the reload.
   */
  async waitForReady(timeout: number = READY_TIMEOUT_MS): Promise<void> {
    milliseconds('timeout', timeout, { infinity: true })
    let timer: NodeJS.Timeout | undefined
    const late = new Promise<never>((_, reject) => {
      const error = new WarmswapError('ERR_NOT_READY', `the runner was not ready within ${timeout} ms`)
      if (timeout !== Infinity) timer = setTimeout(reject, timeout, error)
    })
    try {
      await Promise.race([this.reloaded, late])
    } finally {
      clearTimeout(timer)
    }
  }

  /** Sends a message to the worker that serves. */
  sendMessage(message: unknown): void {
    this.engine.current?.sendMessage(message)
  }

  /** Adds a listener for messages of the worker that serves. */
  onMessage(listener: RunnerListener): void {
    this.listeners.add(listener)
  }

  /** Removes a listener. */
  offMessage(listener: RunnerListener): void {
    this.listeners.delete(listener)
  }

  /**
   * Sends a message to the worker that serves, and resolves with its reply.
   *
   * @throws {WarmswapError} ERR_CLOSED if no worker serves.
   */
  async rpc<T = unknown>(name: string, data?: unknown, options?: RunnerRpcOptions): Promise<T> {
    await this.reloaded.catch(() => {})
    const { current } = this.engine
    if (current === undefined) throw new WarmswapError('ERR_CLOSED', 'no worker of the runner serves')
    return await current.rpc<T>(name, data, options)
  }

  /** Publishes the output of the build again and starts a worker with it. A generation never changes. */
  async reloadModule(timeout?: number): Promise<void> {
    this.reloaded = this.reload()
    await this.waitForReady(timeout)
  }

  /** Like close(). What an older worker has begun is finished within `drain`. */
  async shutdown(): Promise<void> {
    await this.close()
  }

  /** Closes this runner. The last runner of a store ends the worker, after its drain. Earlier ones end nothing. */
  async close(cause?: unknown): Promise<void> {
    if (this.isClosed) return
    this.isClosed = true
    this.engine.unlisten(this.pass)
    this.options.hooks?.onClose?.(this, cause)
    await this.engine.leave(this)
  }

  /** Like close(). */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }

  /**
   * Whether no runner of the store is left. RunnerManager closes a runner that was replaced at the moment at which it hands
   * it a last request, and the worker that serves answers that.
   */
  private get hasEnded(): boolean {
    return this.isClosed && !this.engine.isUsed
  }

  private reload(): Promise<void> {
    const reloaded = this.engine.reload(this, this.options).then(
      () => this.reloadEnded(),
      async (error: unknown) => {
        // An older worker continues to serve. Without one this runner ends, like one of env-runner's own.
        if (this.engine.current === undefined || this.engine.current.closed) await this.close(error)
        throw error
      },
    )
    reloaded.catch(() => {})
    return reloaded
  }

  private reloadEnded(): void {
    if (this.isClosed) return
    this.isReady = true
    this.options.hooks?.onReady?.(this, this.address)
    this.pass({ address: this.address })
  }
}

export default WarmswapEnvRunner

function contains(directory: string, file: string): boolean {
  const way = relative(directory, file)
  return way !== '' && way !== '..' && !way.startsWith(`..${sep}`) && !isAbsolute(way)
}
