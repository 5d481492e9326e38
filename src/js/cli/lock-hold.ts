/**
 * `warmswap lock hold`: started by `lock run` where a lock is kept by lease (not for users). It renews the lease in a
 * session of its own, until no process has the other end of the pipe at its descriptor 4. `lock run` and the command
 * have that end.
 */

import { Socket } from 'node:net'
import { isRunning, signalProcess } from '../keeper/processes.js'
import { acquireLock } from '../locks/index.js'
import { type ErrorCode, isWarmswapError } from '../native/errors.js'
import { wrongArguments } from './arguments.js'
import { reportNothing, reportWait } from './lock-wait.js'

/** Messages to `lock run`: once that the lock is acquired or cannot be acquired, and that it was lost. */
export type FromHolder = { held: Record<string, string> } | { failed: { code: ErrorCode; message: string } }
export type ToHolder = { release: true } | { command: number; started: string | undefined }

const LIFELINE_FD = 4

/** Its arguments, as JSON. */
export interface HoldOptions {
  metadata: Record<string, unknown>
  timeoutMs?: number | undefined
  quiet: boolean
}

export async function hold([path, given]: string[]): Promise<number> {
  if (path === undefined || given === undefined || process.send === undefined)
    throw wrongArguments("'warmswap lock hold' is started by 'warmswap lock run' only")
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => {})
  const end = new AbortController()
  const lifeline = new Socket({ fd: LIFELINE_FD })
  lifeline.on('error', () => {})
  lifeline.on('close', () => end.abort())
  lifeline.resume()
  let command: { pid: number; started: string | undefined } | undefined
  process.on('message', (message: ToHolder) => {
    if ('release' in message) end.abort()
    else command = { pid: message.command, started: message.started }
  })
  try {
    const { metadata, timeoutMs, quiet } = JSON.parse(given) as HoldOptions
    const lock = await acquireLock(path, {
      metadata,
      ...(timeoutMs !== undefined && { timeoutMs }),
      signal: end.signal,
      onWait: quiet || timeoutMs === 0 ? reportNothing : reportWait,
    })
    send({ held: lock.childEnv() })
    await new Promise<void>((resolve) => {
      end.signal.addEventListener('abort', () => resolve(), { once: true })
      if (end.signal.aborted) resolve()
      lock.signal.addEventListener('abort', () => resolve(), { once: true })
    })
    // The lock is lost: other processes may now run at the same time as the command.
    if (lock.signal.aborted && command !== undefined && isRunning(command.pid, command.started))
      signalProcess(command.pid, 'SIGTERM')
    lock.release()
  } catch (error) {
    if (!end.signal.aborted)
      send({ failed: { code: isWarmswapError(error) ? error.code : 'ERR_IO', message: (error as Error).message } })
  }
  lifeline.destroy()
  if (process.connected) process.disconnect()
  return 0
}

/** `lock run` may already have ended. */
function send(message: FromHolder): void {
  process.send?.(message, undefined, undefined, () => {})
}
