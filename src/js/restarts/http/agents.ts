/** Connections to the workers that listen. */

import { Agent } from 'node:http'
import type { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { isSeeded } from '../../native/seeded-bugs.js'
import type { WorkerHandle } from '../handle.js'

/** Largest number of idle connections to one worker. */
const MOST_IDLE = 64

interface Agents {
  /** The agent for GET and HEAD. Its connections are reused. */
  readonly kept: WorkerAgent
  /**
   * The agent for all other methods. Each request gets a connection of its own: if a worker closed an idle connection
   * while a request was being written to it, nobody would know whether the worker had begun that request.
   */
  readonly fresh: WorkerAgent
}

class WorkerAgent extends Agent {
  constructor(
    private readonly open: () => Promise<Socket>,
    keepAlive: boolean,
  ) {
    super({ keepAlive, maxFreeSockets: MOST_IDLE })
  }

  override createConnection(_options: unknown, created?: (error: Error | null, socket: Duplex) => void): undefined {
    this.open().then(
      (socket) => created?.(null, socket),
      (error: Error) => created?.(error, undefined as never),
    )
  }
}

const agents = new WeakMap<object, Agents>()

/** The agent for requests with this method to this worker. */
export function agentOf(handle: WorkerHandle<never, unknown>, method: string | undefined): Agent {
  let found = agents.get(handle)
  if (found === undefined) {
    const open = (): Promise<Socket> => (handle.connect as () => Promise<Socket>).call(handle)
    found = { kept: new WorkerAgent(open, true), fresh: new WorkerAgent(open, false) }
    agents.set(handle, found)
  }
  return isReusable(method) ? found.kept : found.fresh
}

/** Whether a request with this method may reuse the connection of an earlier one. */
export function isReusable(method: string | undefined): boolean {
  return method === 'GET' || method === 'HEAD' || (__WARMSWAP_TESTING__ && isSeeded('upstream-reused-for-post'))
}

/** An agent that opens a new connection, for a request whose connection was found closed. */
export function freshAgentOf(handle: WorkerHandle<never, unknown>): Agent {
  return agentOf(handle, undefined)
}

/** An agent for one request over this connection. */
export function agentOver(socket: Socket): Agent {
  return new WorkerAgent(() => Promise.resolve(socket), false)
}

/** Closes idle connections: a worker that is asked to stop may wait for them. */
export function closeIdle(handle: WorkerHandle<never, unknown>): void {
  agents.get(handle)?.kept.destroy()
}
