/** The parts of env-runner's interfaces that the adapter uses. env-runner itself is loaded when a worker starts. */

import type { IncomingMessage } from 'node:http'
import type { Duplex } from 'node:stream'
import type { CoordinatorOptions } from '../restarts/index.js'

/** Where a worker of env-runner listens. */
export type RunnerAddress =
  | { host?: string; port: number; protocol?: 'http' | 'https'; socketPath?: undefined }
  | { host?: undefined; port?: undefined; protocol?: undefined; socketPath: string }

/** Gets the messages of a worker. */
export type RunnerListener = (message: unknown) => void

/** A runner of env-runner, such as `NodeProcessEnvRunner`. */
export interface EnvRunner extends AsyncDisposable {
  readonly ready: boolean
  readonly closed: boolean
  readonly address?: RunnerAddress
  fetch(input: string | URL | Request, init?: RequestInit): Promise<Response>
  upgrade?(context: { node: { req: IncomingMessage; socket: Duplex; head: Buffer } }): void
  waitForReady(timeout?: number): Promise<void>
  sendMessage(message: unknown): void
  onMessage(listener: RunnerListener): void
  offMessage(listener: RunnerListener): void
  rpc<T = unknown>(name: string, data?: unknown, options?: { timeout?: number }): Promise<T>
  reloadModule?(timeout?: number): Promise<void>
  shutdown?(timeout?: number): Promise<void>
  close(cause?: unknown): Promise<void>
}

/** Hooks of a runner. */
export interface RunnerHooks {
  onReady?(runner: EnvRunner, address?: RunnerAddress): void
  onClose?(runner: EnvRunner, cause?: unknown): void
}

/** Options of {@link WarmswapEnvRunner}: those of env-runner's own runners, and `warmswap`. */
export interface WarmswapRunnerOptions {
  /** Name of the runner. Runners with the same name and the same store share one queue and one worker. */
  name: string
  /** `entry` is the path of the module that the worker runs. All of `data` is passed to the worker. */
  data?: { entry?: string; [key: string]: unknown }
  hooks?: RunnerHooks
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
  /** Path of the store. @default `.warmswap/<name>` in the working directory */
  store?: string
}
