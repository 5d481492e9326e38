/** A worker that is a process of its own, with everything it starts in one process group. */

import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { handOver } from '../bundles.js'
import { WarmswapError, invalidArgument, isWarmswapError } from '../errors.js'
import { milliseconds, options as checkedOptions, string, strings } from '../validate.js'
import { Channel, refuseUnreadable } from './channel.js'
import type { WorkerHandle } from './handle.js'
import { shieldChannel } from './process-channel.js'
import { READY_TIMEOUT_MS, becomeReady } from './ready.js'
import { type GivenContext, checkedStartContext } from './start-context.js'
import { within } from './wait.js'

/** Options of {@link startProcess}. */
export interface ProcessOptions {
  args?: string[]
  /** Added to this process's environment. */
  env?: Record<string, string>
  /** How long until the entry calls serveRequests(). @default 30_000 */
  readyTimeoutMs?: number
}

/** Once the process is gone: how long until its messages have been read. They are in a pipe already. */
const LAST_MESSAGES_MS = 1_000

const GUARD = new URL('./process-guard.js', import.meta.url).href

/** With the guard before its program. Not through execArgv: only fork() itself knows which of those a child must not have. */
function guarded(env: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
  return { ...env, NODE_OPTIONS: `${env.NODE_OPTIONS ?? ''} --import=${GUARD}`.trim() }
}

/** Groups that must not outlive this process. */
const groups = new Set<number>()

/**
 * Starts `entry`, a file of the pinned generation, as a process in a group of its own; its working directory is the
 * generation. It takes a pin of its own before this resolves, so it keeps its generation even if this process dies.
 * When it ends, however it ends, the rest of its group is killed.
 *
 * @throws {WarmswapError} ERR_NOT_READY when the entry does not call serveRequests() in time, ERR_WORKER_EXITED when
 * it ends before.
 */
export async function startProcess<Q = unknown, R = unknown>(context: GivenContext, entry: string, options?: ProcessOptions): Promise<WorkerHandle<Q, R>> {
  const { args = [], env = {}, readyTimeoutMs = READY_TIMEOUT_MS } = checkedOptions('options', options, ['args', 'env', 'readyTimeoutMs'])
  const { pin, signal } = checkedStartContext(context)
  const file = pin.resolve(string('entry', entry))
  strings('options.args', args)
  checkEnv(env)
  milliseconds('options.readyTimeoutMs', readyTimeoutMs)
  signal.throwIfAborted()

  const child = fork(file, args, { cwd: pin.path, env: guarded({ ...process.env, ...env }), detached: true, serialization: 'advanced', stdio: ['ignore', 'inherit', 'inherit', 'ipc'] })
  const channel = new Channel<Q, R>((message) => {
    // A send that fails because the process is gone is settled by its end.
    child.send(message, () => {})
  }, 'bytes')
  child.on('message', (message) => channel.receive(message))
  shieldChannel(child, (error) => refuseUnreadable(channel, error))
  const exited = end(child, channel)
  // Before it is ready it says that it has taken it; its end and its time are told by the channel.
  handOver(child, pin, { timeoutMs: readyTimeoutMs }).catch((error: unknown) => {
    if (isWarmswapError(error) && error.code === 'ERR_GENERATION_GONE') channel.ready.reject(error)
  })

  const handle: WorkerHandle<Q, R> = {
    exited,
    send: (request, context) => channel.send(request, context),
    async stop(deadlineMs) {
      if (child.connected) channel.stop()
      const late = (): WarmswapError => new WarmswapError('ERR_TIMEOUT', `process ${child.pid} did not end within ${deadlineMs} ms`)
      await within(exited, { timeoutMs: deadlineMs, late }).catch(() => killGroup(child.pid))
      await exited
    },
  }
  await becomeReady(handle, channel, { entry, readyTimeoutMs, signal })
  return handle
}

function checkEnv(env: unknown): void {
  if (typeof env !== 'object' || env === null) throw invalidArgument('options.env', env, 'an object of strings')
  for (const [name, value] of Object.entries(env)) if (value !== undefined) string(`options.env.${name}`, value)
}

async function end<Q, R>(child: ChildProcess, channel: Channel<Q, R>): Promise<{ code: number | null; signal: NodeJS.Signals | null }> {
  const { pid } = child
  if (pid !== undefined) watchGroup(pid)
  const closed = once(child, 'close')
  closed.catch(() => {})
  const { code, signal, failure } = await new Promise<{ code: number | null; signal: NodeJS.Signals | null; failure?: Error }>((resolve) => {
    child.once('exit', (code, signal) => resolve({ code, signal }))
    // One that could not be started has no exit.
    child.on('error', (failure) => pid === undefined && resolve({ code: null, signal: null, failure }))
  })
  if (failure) {
    channel.close(failure.message)
    return { code, signal }
  }
  if (pid !== undefined) {
    killGroup(pid)
    groups.delete(pid)
  }
  const late = (): WarmswapError => new WarmswapError('ERR_TIMEOUT', 'its channel stayed open')
  await within(closed, { timeoutMs: LAST_MESSAGES_MS, late }).catch(() => {})
  channel.close(signal ?? `exit code ${code}`)
  return { code, signal }
}

function killGroup(pid: number | undefined): void {
  try {
    if (pid !== undefined) process.kill(-pid, 'SIGKILL')
  } catch (error) {
    // macOS answers EPERM for a group in which only zombies are left.
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
