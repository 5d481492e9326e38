/** A worker in a process of its own. All processes that it starts are in its process group. */

import { type ChildProcess, type ForkOptions, fork } from 'node:child_process'
import { once } from 'node:events'
import { handOver } from '../bundles/index.js'
import { type Kept, keep, workerMark } from '../keeper/client.js'
import { WORKER_MARK } from '../keeper/facts.js'
import { hostAddon } from '../native/addon-file.js'
import { isWarmswapError, WarmswapError } from '../native/errors.js'
import { isSeeded } from '../native/seeded-bugs.js'
import { string } from '../native/validate.js'
import { Channel, refuseUnreadable } from './channel.js'
import { EXCHANGE, type ExchangingHandle, type WorkerHandle } from './handle.js'
import { Listening } from './listening.js'
import { givenPort } from './options.js'
import { shieldChannel } from './process-channel.js'
import { checkedProcessOptions, copyOutput, forkOptions, type ProcessOptions } from './process-options.js'
import { becomeReady } from './ready.js'
import { checkedStartContext, type GivenContext } from './start-context.js'
import { isUnlocated, locate } from './syntax-error.js'
import { within } from './wait.js'

/** A worker that is a process. */
export interface ProcessHandle<Q = unknown, R = unknown> extends WorkerHandle<Q, R> {
  /** The process: its pid, its output, and messages of your own. */
  readonly process: ChildProcess
}

/** After the process has ended: time to read its remaining messages, in milliseconds. They are already in a pipe. */
const LAST_MESSAGES_MS = 1_000

/** Not at import time: a bundler may leave no `import.meta.url`. */
const guard = (): string => new URL('./process-guard.js', import.meta.url).href

/** After the host has ended: time for a worker to notice and to run its exit handlers, in milliseconds. */
const OWN_END_MS = 500

/**
 * The environment with the guard in front of the program. Not through execArgv: only fork() knows which of those a
 * child must not have.
 */
function guarded(env: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
  for (const [name, value] of Object.entries(env)) if (value === undefined) delete env[name]
  return { ...env, NODE_OPTIONS: `${env.NODE_OPTIONS ?? ''} --import=${guard()}`.trim() }
}

/** Process groups that must not outlive this process. */
const groups = new Set<number>()

/**
 * Starts `entry`, a file of the pinned generation, as a process in a group of its own. Its working directory is the
 * generation. Before this resolves, the process has its own pin, so the generation is kept even if this process dies.
 *
 * When the process ends, for any reason, the rest of its group and session is killed. When this process ends, even by
 * SIGKILL, a keeper process (about 7 MiB, started with the first worker) kills the worker with its group and session.
 * Its exit handlers have 500 ms.
 *
 * @param context What `options.start` of the coordinator was called with.
 * @param entry Path of the program, relative to the generation.
 * @param options Arguments, environment, output and time limit.
 * @returns A handle, for `options.start` to return.
 * @throws {WarmswapError} ERR_NOT_READY if the entry does not call serveRequests() or serveFetch(), or does not listen,
 * in time. ERR_WORKER_EXITED if it ends before; the uncaught error that ended it, with the worker's stack, is the
 * `cause`.
 */
export async function startProcess<Q = unknown, R = unknown>(
  context: GivenContext,
  entry: string,
  options?: ProcessOptions,
): Promise<ProcessHandle<Q, R>> {
  const checked = checkedProcessOptions(options)
  const { readyTimeoutMs, killDetached, listen } = checked
  const { pin, signal } = checkedStartContext(context)
  const file = pin.resolve(string('entry', entry))
  signal.throwIfAborted()
  const listening = listen ? await Listening.choose(givenPort(checked.env)) : undefined

  const mark = workerMark()
  const kept =
    __WARMSWAP_TESTING__ && isSeeded('worker-without-keeper')
      ? NOT_KEPT
      : keep({ mark: `${WORKER_MARK}=${mark}`, killDetached, graceMs: OWN_END_MS })
  const env = { ...process.env, ...hostAddon(), ...checked.env, ...listening?.env, [WORKER_MARK]: mark }
  const child = start(file, checked.args, { ...forkOptions(checked, pin.path), env: guarded(env) }, kept)
  copyOutput(child, checked.outputPrefix)
  const channel = new Channel<Q, R>(
    (message) => {
      // A send that fails because the process is gone is settled by its end.
      child.send(message, () => {})
    },
    'bytes',
    pin.generation.number,
  )
  child.on('message', (message) => channel.receive(message))
  shieldChannel(child, (error) => refuseUnreadable(channel, error))
  const exited = end(child, channel, kept, file)
  if (listening) void exited.then(() => listening.close())
  // Before it is ready, it confirms its pin. The channel reports its end and its timeout.
  handOver(child, pin, { timeoutMs: readyTimeoutMs }).catch((error: unknown) => {
    if (isWarmswapError(error) && error.code === 'ERR_GENERATION_GONE') channel.ready.reject(error)
  })

  const handle: ProcessHandle<Q, R> & ExchangingHandle<Q, R> = {
    process: child,
    exited,
    send: (request, context) => channel.send(request, context),
    [EXCHANGE]: (head, body, context) => channel.exchange(head, body, context),
    ...(listening && { connect: () => listening.connect() }),
    async stop(deadlineMs) {
      if (child.connected) channel.stop()
      // A server of any other program.
      if (listening) child.kill('SIGTERM')
      const late = (): WarmswapError =>
        new WarmswapError('ERR_TIMEOUT', `process ${child.pid} did not end within ${deadlineMs} ms`)
      await within(exited, { timeoutMs: deadlineMs, late }).catch(() => killGroup(child.pid))
      await exited
    },
  }
  const place = listening && { listening, leader: child.pid ?? 0 }
  await becomeReady(handle, channel, { entry, readyTimeoutMs, signal, place })
  return Object.assign(handle, listening?.address && { address: listening.address })
}

const NOT_KEPT: Kept = { started() {}, ended() {} }

function start(file: string, args: readonly string[], options: ForkOptions, kept: Kept): ChildProcess {
  try {
    const child = fork(file, args, options)
    if (child.pid === undefined) kept.ended()
    else kept.started(child.pid)
    return child
  } catch (error) {
    kept.ended()
    throw error
  }
}

interface ProcessEnd {
  code: number | null
  signal: NodeJS.Signals | null
  /** The uncaught error that ended the process, or the reason why it could not be started. */
  error?: Error | undefined
}

async function end<Q, R>(child: ChildProcess, channel: Channel<Q, R>, kept: Kept, entry: string): Promise<ProcessEnd> {
  const { pid } = child
  if (pid !== undefined) watchGroup(pid)
  const closed = once(child, 'close')
  closed.catch(() => {})
  const { code, signal, failure } = await new Promise<{
    code: number | null
    signal: NodeJS.Signals | null
    failure?: Error
  }>((resolve) => {
    child.once('exit', (code, signal) => resolve({ code, signal }))
    // A process that could not be started has no exit event.
    child.on('error', (failure) => pid === undefined && resolve({ code: null, signal: null, failure }))
  })
  if (failure) {
    channel.close('it could not be started', failure)
    return { code, signal, error: failure }
  }
  if (pid !== undefined) {
    killGroup(pid)
    groups.delete(pid)
    kept.ended()
  }
  const late = (): WarmswapError => new WarmswapError('ERR_TIMEOUT', 'its channel stayed open')
  await within(closed, { timeoutMs: LAST_MESSAGES_MS, late }).catch(() => {})
  // An uncaught error that a handler of the worker handled did not end it.
  const error = code === 0 ? undefined : channel.failure
  if (isUnlocated(error)) await locate(error, entry)
  channel.close(signal ?? `exit code ${code}`, error)
  return { code, signal, error }
}

function killGroup(pid: number | undefined): void {
  try {
    if (pid !== undefined) process.kill(-pid, 'SIGKILL')
  } catch (error) {
    // macOS returns EPERM for a group in which only zombies are left.
    if (!['ESRCH', 'EPERM'].includes((error as NodeJS.ErrnoException).code ?? '')) throw error
  }
}

function watchGroup(pid: number): void {
  if (groups.size === 0 && !watching) {
    watching = true
    process.on('exit', () => groups.forEach(killGroup))
  }
  groups.add(pid)
}
let watching = false
