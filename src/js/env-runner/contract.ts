/** The parts of env-runner's interfaces that the adapter uses. env-runner itself is loaded when a worker starts. */

import type { IncomingMessage } from 'node:http'
import type { Duplex } from 'node:stream'
import type { CoordinatorOptions } from '../restarts/index.js'

/** Where a worker of env-runner listens: on a TCP port or on a Unix socket. */
export type RunnerAddress =
  | { host?: string; port: number; protocol?: 'http' | 'https'; socketPath?: undefined }
  | { host?: undefined; port?: undefined; protocol?: undefined; socketPath: string }

/** Receives the messages of a worker. */
export type RunnerListener = (message: unknown) => void

/** An upgrade, as env-runner passes it. */
export interface RunnerUpgrade {
  /** The arguments of the event `upgrade` of node:http. */
  node: {
    /** The request. */
    req: IncomingMessage
    /** The client's socket. */
    socket: Duplex
    /** What the client has sent after its request. */
    head: Buffer
  }
}

/** Options of {@link EnvRunner.rpc}. */
export interface RunnerRpcOptions {
  /** Time limit for the reply in milliseconds. Default of env-runner: 3 000. */
  timeout?: number
}

/** A runner of env-runner, such as `NodeProcessEnvRunner`. */
export interface EnvRunner extends AsyncDisposable {
  /** Whether the worker accepts requests. */
  readonly ready: boolean
  /** Whether the runner was closed. */
  readonly closed: boolean
  /** Address of the worker. Undefined until it listens. */
  readonly address?: RunnerAddress
  /** Sends a request to the worker. Relative inputs are resolved against `http://localhost`. */
  fetch(input: string | URL | Request, init?: RequestInit): Promise<Response>
  /** Passes an upgrade, such as that of a WebSocket, to the worker. */
  upgrade?(context: RunnerUpgrade): void
  /** Resolves once the worker accepts requests. `timeout` is in milliseconds. */
  waitForReady(timeout?: number): Promise<void>
  /** Sends a message to the worker. */
  sendMessage(message: unknown): void
  /** Adds a listener for messages of the worker. */
  onMessage(listener: RunnerListener): void
  /** Removes a listener. */
  offMessage(listener: RunnerListener): void
  /** Sends a message that the worker replies to, and resolves with the reply. */
  rpc<T = unknown>(name: string, data?: unknown, options?: RunnerRpcOptions): Promise<T>
  /** Imports the entry again. `timeout` is in milliseconds. */
  reloadModule?(timeout?: number): Promise<void>
  /** Closes the runner after the requests in flight, waiting at most `timeout` milliseconds. */
  shutdown?(timeout?: number): Promise<void>
  /** Ends the worker. */
  close(cause?: unknown): Promise<void>
}

/** Hooks of a runner. */
export interface RunnerHooks {
  /** Called once the worker accepts requests. */
  onReady?(runner: EnvRunner, address?: RunnerAddress): void
  /** Called when the runner is closed. `cause` is the error that ended it. */
  onClose?(runner: EnvRunner, cause?: unknown): void
}

/** Data of a runner. */
export interface RunnerData {
  /** Path of the module that the worker runs. */
  entry?: string
  /** Other data is passed to the worker. */
  [key: string]: unknown
}

/** Options of {@link WarmswapEnvRunner}: those of env-runner's own runners, and `warmswap`. */
export interface WarmswapRunnerOptions {
  /** Name of the runner. Runners with the same name and the same store share one queue and one worker. */
  name: string
  /** Data that is passed to the worker, with the path of its entry. */
  data?: RunnerData
  /** Hooks of this runner. They are not passed on. */
  hooks?: RunnerHooks
  /** Options of the store and the coordinator. The first runner of a store decides about them. */
  warmswap?: WarmswapOptions
  /** Other options are passed to the runner of env-runner that runs the worker. */
  [key: string]: unknown
}

/** Options of the store and the coordinator. */
export interface WarmswapOptions extends Omit<CoordinatorOptions<never, never>, 'start'> {
  /** The runner of env-runner that runs each worker. @default 'node-worker' */
  runner?: 'node-worker' | 'node-process' | 'bun-process' | 'deno-process'
  /** Directory with the output of the build, which contains the entry. Each reload publishes it. @default the directory of the entry */
  directory?: string
  /** Path of the store. @default `.warmswap/<name>` in the working directory, with a hash if the name has other characters than letters, digits, `_` and `-` */
  store?: string
}
