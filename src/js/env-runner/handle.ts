/** A runner of env-runner as a worker of a coordinator. */

import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { messageOf } from '../native/callbacks.js'
import { WarmswapError } from '../native/errors.js'
import type { WorkerHandle } from '../restarts/index.js'
import type { EnvRunner, RunnerAddress } from './contract.js'

/**
 * Resolves with a worker once the runner is ready. A runner that closes before is an error with its cause.
 *
 * @throws {WarmswapError} ERR_NOT_READY.
 */
export async function workerOf(
  runner: EnvRunner,
  readyTimeoutMs: number,
  signal: AbortSignal,
): Promise<WorkerHandle<never, never>> {
  const exited = whenClosed(runner)
  const close = (): void => void runner.close()
  signal.addEventListener('abort', close, { once: true })
  try {
    await ready(runner, exited, readyTimeoutMs)
  } catch (error) {
    await runner.close()
    throw new WarmswapError('ERR_NOT_READY', `the runner did not become ready: ${messageOf(error)}`, { cause: error })
  } finally {
    signal.removeEventListener('abort', close)
  }
  return {
    exited: exited.then((cause) => ({ ...(cause instanceof Error && { error: cause }) })),
    send: () =>
      Promise.reject(new WarmswapError('ERR_UNSUPPORTED', 'a runner of env-runner answers only HTTP requests')),
    fetch: (request) => runner.fetch(request),
    async stop(deadlineMs) {
      await (deadlineMs > 0 && runner.shutdown ? runner.shutdown(deadlineMs) : runner.close())
      await exited
    },
    ...(isPlain(runner.address) && { connect: () => connected(runner.address as RunnerAddress) }),
  }
}

/** A runner that closes never becomes ready, and its waitForReady() ends only with its timeout. */
async function ready(runner: EnvRunner, exited: Promise<unknown>, timeoutMs: number): Promise<void> {
  const ended = exited.then((cause) => {
    throw cause instanceof Error ? cause : new Error(String(cause ?? 'it was closed'))
  })
  ended.catch(() => {})
  await Promise.race([runner.waitForReady(timeoutMs), ended])
}

function isPlain(address: RunnerAddress | undefined): boolean {
  return address !== undefined && address.protocol !== 'https'
}

async function connected(address: RunnerAddress): Promise<Socket> {
  const socket =
    address.socketPath === undefined ? connect(address.port, address.host ?? '127.0.0.1') : connect(address.socketPath)
  await once(socket, 'connect')
  return socket
}

/** env-runner reports the end of a worker to hooks of its constructor, and by a call of `close`, as RunnerManager does. */
function whenClosed(runner: EnvRunner): Promise<unknown> {
  return new Promise((resolve) => {
    const close = runner.close.bind(runner)
    runner.close = async (cause) => {
      try {
        await close(cause)
      } finally {
        resolve(cause)
      }
    }
  })
}
