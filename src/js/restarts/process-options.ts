/** Options of startProcess(), and what they mean for node:child_process. */

import type { ChildProcess, ForkOptions } from 'node:child_process'
import { statSync } from 'node:fs'
import { invalidArgument } from '../native/errors.js'
import {
  absolutePath,
  boolean,
  options as checkedOptions,
  milliseconds,
  oneOf,
  string,
  strings,
} from '../native/validate.js'
import { checkedEnv, type WorkerEnv } from './options.js'
import { prefixLines } from './output-prefix.js'
import { READY_TIMEOUT_MS } from './ready.js'

/** Where the output of a worker goes: to this process's, nowhere, or to `process.stdout` and `process.stderr` of the handle. */
export type WorkerOutput = 'inherit' | 'ignore' | 'pipe'

/** Options of {@link startProcess}. */
export interface ProcessOptions {
  /** Arguments of the program. @default [] */
  args?: string[]
  /** Variables that are added to this process's environment; `undefined` removes one. @default {} */
  env?: Record<string, string | undefined>
  /**
   * The worker is an HTTP server: it is ready when it listens. It listens on the socket path `process.env.WARMSWAP_LISTEN`
   * or, on Linux, on the port `process.env.PORT` (a free one, unless `env` has a PORT). The coordinator keeps the public
   * port and proxies HTTP and upgrades, so that any server in any language works unchanged. The worker gets SIGTERM once
   * nothing of it is under way, or when the drain ends. @default false
   */
  listen?: boolean
  /** The program that runs the entry. @default process.execPath */
  execPath?: string
  /** Arguments of that program, before the entry. @default process.execArgv */
  execArgv?: string[]
  /** The working directory, an absolute path. @default the folder of the generation */
  cwd?: string
  /** Where standard output and standard error go; an array of two sets them separately. With 'pipe' you have to read them. @default 'inherit' */
  stdio?: WorkerOutput | [stdout: WorkerOutput, stderr: WorkerOutput]
  /** A text in front of each line that the worker prints, such as `[api] `. Not with `stdio`. */
  outputPrefix?: string
  /** How long until the entry calls serveRequests() or serveFetch(), or listens, in milliseconds. @default 30_000 */
  readyTimeoutMs?: number
  /**
   * Also ends processes that the worker started and that made a session of their own (`detached`, setsid, daemons), when
   * the worker ends or its host does. Without it they are named on standard error and left running. @default false
   */
  killDetached?: boolean
}

const NAMES = [
  'args',
  'env',
  'listen',
  'execPath',
  'execArgv',
  'cwd',
  'stdio',
  'outputPrefix',
  'readyTimeoutMs',
  'killDetached',
] as const

/** The options with their defaults. */
export type CheckedProcessOptions = Required<
  Pick<ProcessOptions, 'args' | 'listen' | 'readyTimeoutMs' | 'killDetached'>
> &
  Pick<ProcessOptions, 'execPath' | 'execArgv' | 'cwd' | 'outputPrefix'> & {
    env: WorkerEnv
    output: [WorkerOutput, WorkerOutput]
  }

export function checkedProcessOptions(options: ProcessOptions | undefined): CheckedProcessOptions {
  const given = checkedOptions('options', options, NAMES)
  const { args = [], env = {}, listen = false, readyTimeoutMs = READY_TIMEOUT_MS, killDetached = false } = given
  strings('options.args', args)
  boolean('options.listen', listen)
  milliseconds('options.readyTimeoutMs', readyTimeoutMs)
  boolean('options.killDetached', killDetached)
  if (given.execPath !== undefined) string('options.execPath', given.execPath)
  if (given.execArgv !== undefined) strings('options.execArgv', given.execArgv)
  if (given.cwd !== undefined) checkCwd(given.cwd)
  if (given.outputPrefix !== undefined) string('options.outputPrefix', given.outputPrefix)
  const output = checkedOutput(given)
  return { ...given, args, env: checkedEnv(env), listen, readyTimeoutMs, killDetached, output }
}

/** The system would report a missing working directory as a missing program. */
function checkCwd(cwd: string): void {
  const path = absolutePath('options.cwd', cwd)
  if (!statSync(path, { throwIfNoEntry: false })?.isDirectory())
    throw invalidArgument('options.cwd', cwd, 'a directory that exists')
}

function checkedOutput({ stdio, outputPrefix }: ProcessOptions): [WorkerOutput, WorkerOutput] {
  if (outputPrefix !== undefined) {
    if (stdio !== undefined) throw invalidArgument('options.stdio', stdio, 'undefined where outputPrefix is set')
    return ['pipe', 'pipe']
  }
  const [stdout, stderr, ...more] = Array.isArray(stdio) ? stdio : [stdio ?? 'inherit', stdio ?? 'inherit']
  if ((more as unknown[]).length > 0) throw invalidArgument('options.stdio', stdio, 'an array of two')
  const check = (value: unknown): WorkerOutput => oneOf('options.stdio', value, ['inherit', 'ignore', 'pipe'])
  return [check(stdout), check(stderr)]
}

/** Everything but the environment. `folder` is that of the generation. */
export function forkOptions({ cwd, execPath, execArgv, output }: CheckedProcessOptions, folder: string): ForkOptions {
  return {
    cwd: cwd ?? folder,
    ...(execPath !== undefined && { execPath }),
    ...(execArgv !== undefined && { execArgv }),
    detached: true,
    serialization: 'advanced',
    stdio: ['ignore', ...output, 'ipc'],
  }
}

export function copyOutput({ stdout, stderr }: ChildProcess, prefix: string | undefined): void {
  if (prefix === undefined) return
  if (stdout) prefixLines(stdout, process.stdout, prefix)
  if (stderr) prefixLines(stderr, process.stderr, prefix)
}
