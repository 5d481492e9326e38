/** A worker that is a thread of this process. */

import { fileURLToPath } from 'node:url'
import { type ResourceLimits, Worker } from 'node:worker_threads'
import { invalidArgument, WarmswapError } from '../native/errors.js'
import { refuseLoss, uncopyable } from '../native/loss.js'
import { boolean, options as checkedOptions, milliseconds, string, strings } from '../native/validate.js'
import { Channel, refuseUnreadable } from './channel.js'
import { EXCHANGE, type ExchangingHandle, type WorkerHandle } from './handle.js'
import { Listening } from './listening.js'
import { checkedEnv, givenPort } from './options.js'
import { prefixLines } from './output-prefix.js'
import { becomeReady, READY_TIMEOUT_MS } from './ready.js'
import { fromRemote, toRemote } from './remote-error.js'
import { checkedStartContext, type GivenContext } from './start-context.js'
import { isUnlocated, locate } from './syntax-error.js'
import { within } from './wait.js'

/** Options of {@link startWorkerThread}. */
export interface WorkerThreadOptions {
  /** `workerData` of the thread. */
  workerData?: unknown
  /** Arguments of the program: `process.argv` of the thread from the third on. @default [] */
  args?: string[]
  /** Variables that are added to a copy of this process's environment; `undefined` removes one. Without it the thread has a copy. */
  env?: Record<string, string | undefined>
  /**
   * The worker is an HTTP server: it is ready when it listens on the socket path `process.env.WARMSWAP_LISTEN` or, on
   * Linux, on the port `process.env.PORT`. See `listen` of {@link startProcess}; instead of a SIGTERM the thread is
   * terminated. @default false
   */
  listen?: boolean
  /** Options of Node for the thread. @default process.execArgv */
  execArgv?: string[]
  /** Limits of the thread's heap and stack, as `node:worker_threads` has them. */
  resourceLimits?: ResourceLimits
  /** A text in front of each line that the thread prints, such as `[api] `. */
  outputPrefix?: string
  /** How long until the entry calls serveRequests() or serveFetch(), or listens, in milliseconds. @default 30_000 */
  readyTimeoutMs?: number
}

/** A worker that is a thread. */
export interface ThreadHandle<Q = unknown, R = unknown> extends WorkerHandle<Q, R> {
  /** The thread: its id, its output, and messages of your own. */
  readonly thread: Worker
}

/**
 * Starts `entry`, a file of the pinned generation, as a thread. Resolves once it calls serveRequests(). A thread shares
 * the working directory of its process.
 *
 * @param context What `options.start` of the coordinator was called with.
 * @param entry Path of the program, relative to the generation.
 * @param options Arguments, environment, output and time limit.
 * @returns A handle, for `options.start` to return.
 * @throws {WarmswapError} ERR_NOT_READY if the entry does not call serveRequests() or serveFetch(), or does not listen,
 * in time. ERR_WORKER_EXITED if it ends before; the uncaught error that ended it, with the worker's stack, is the
 * `cause`.
 */
export async function startWorkerThread<Q = unknown, R = unknown>(
  context: GivenContext,
  entry: string,
  options?: WorkerThreadOptions,
): Promise<ThreadHandle<Q, R>> {
  const checked = checkedThreadOptions(options)
  const { readyTimeoutMs } = checked
  const { pin, signal } = checkedStartContext(context)
  const url = new URL(pin.url(string('entry', entry)))
  signal.throwIfAborted()
  const listening = checked.listen ? await Listening.choose(givenPort(checked.env ?? {})) : undefined

  const thread = startThread(url, checked, listening)
  const channel = new Channel<Q, R>((message) => thread.postMessage(message), 'clone', pin.generation.number)
  let failure: Error | undefined
  thread.on('message', (message) => channel.receive(message))
  thread.on('messageerror', (error) => refuseUnreadable(channel, error))
  thread.on('error', (error: unknown) => (failure = fromRemote(toRemote(error), 'in the worker')))
  const exited = new Promise<{ code: number; error?: Error | undefined }>((resolve) => {
    thread.on('exit', async (code) => {
      listening?.close()
      if (isUnlocated(failure)) await locate(failure, fileURLToPath(url))
      channel.close(`exit code ${code}`, failure)
      resolve({ code, error: failure })
    })
  })

  const handle: ThreadHandle<Q, R> & ExchangingHandle<Q, R> = {
    thread,
    exited,
    send: (request, context) => channel.send(request, context),
    [EXCHANGE]: (head, body, context) => channel.exchange(head, body, context),
    ...(listening && { connect: () => listening.connect() }),
    async stop(deadlineMs) {
      channel.stop()
      // A thread gets no signal, and one that never calls serveRequests() reads no messages.
      if (listening) void thread.terminate()
      const late = (): WarmswapError =>
        new WarmswapError('ERR_TIMEOUT', `the thread did not end within ${deadlineMs} ms`)
      await within(exited, { timeoutMs: deadlineMs, late }).catch(() => thread.terminate())
      await exited
    },
  }
  const place = listening && { listening, leader: process.pid }
  await becomeReady(handle, channel, { entry, readyTimeoutMs, signal, place })
  return Object.assign(handle, listening?.address && { address: listening.address })
}

type CheckedThreadOptions = WorkerThreadOptions & Required<Pick<WorkerThreadOptions, 'listen' | 'readyTimeoutMs'>>

const NAMES = [
  'workerData',
  'args',
  'env',
  'listen',
  'execArgv',
  'resourceLimits',
  'outputPrefix',
  'readyTimeoutMs',
] as const

function checkedThreadOptions(options: WorkerThreadOptions | undefined): CheckedThreadOptions {
  const given = checkedOptions('options', options, NAMES)
  const { args, env, listen = false, execArgv, resourceLimits, outputPrefix } = given
  const { readyTimeoutMs = READY_TIMEOUT_MS } = given
  if (args !== undefined) strings('options.args', args)
  if (env !== undefined) checkedEnv(env)
  boolean('options.listen', listen)
  if (execArgv !== undefined) strings('options.execArgv', execArgv)
  if (outputPrefix !== undefined) string('options.outputPrefix', outputPrefix)
  if (resourceLimits !== undefined) checkResourceLimits(resourceLimits)
  milliseconds('options.readyTimeoutMs', readyTimeoutMs)
  refuseLoss('options.workerData', given.workerData, 'clone')
  return { ...given, listen, readyTimeoutMs }
}

function checkResourceLimits(limits: unknown): void {
  if (typeof limits !== 'object' || limits === null)
    throw invalidArgument('options.resourceLimits', limits, 'an object of numbers')
  for (const [name, value] of Object.entries(limits))
    if (typeof value !== 'number' || !(value > 0))
      throw invalidArgument(`options.resourceLimits.${name}`, value, 'a number above 0')
}

function startThread(url: URL, options: CheckedThreadOptions, listening: Listening | undefined): Worker {
  const { workerData, args, env, execArgv, resourceLimits, outputPrefix } = options
  const isPrefixed = outputPrefix !== undefined
  try {
    const thread = new Worker(url, {
      workerData,
      ...(args && { argv: args }),
      ...((env || listening) && { env: present({ ...process.env, ...env, ...listening?.env }) }),
      ...(execArgv && { execArgv }),
      ...(resourceLimits && { resourceLimits }),
      ...(isPrefixed && { stdout: true, stderr: true }),
    })
    if (isPrefixed) {
      prefixLines(thread.stdout, process.stdout, outputPrefix)
      prefixLines(thread.stderr, process.stderr, outputPrefix)
    }
    return thread
  } catch (error) {
    listening?.close()
    if (error instanceof DOMException && error.name === 'DataCloneError') throw uncopyable('options.workerData', error)
    throw error
  }
}

function present(env: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
  return Object.fromEntries(Object.entries(env).filter(([, value]) => value !== undefined))
}
