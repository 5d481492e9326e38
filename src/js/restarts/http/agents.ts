/** Connections to the workers that listen. */

import { Agent, type IncomingMessage } from 'node:http'
import type { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { isSeeded } from '../../native/seeded-bugs.js'
import type { WorkerHandle } from '../handle.js'

/** Largest number of idle connections to one worker. */
const MOST_IDLE = 64

interface Agents {
  /** The agent for GET and HEAD without a body. Its connections are reused. */
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

/** The agent for this request to this worker. */
export function agentOf(handle: WorkerHandle<never, unknown>, request: IncomingMessage): Agent {
  return isReusable(request) ? agentsOf(handle).kept : agentsOf(handle).fresh
}

/** Whether this request may reuse the connection of an earlier one. */
export function isReusable({ method, headers }: IncomingMessage): boolean {
  const isSafe = (method === 'GET' || method === 'HEAD') && !hasBody({ headers })
  return isSafe || (__WARMSWAP_TESTING__ && isSeeded('upstream-reused-for-post'))
}

/** Whether a body follows the head of this request. */
export function hasBody({ headers }: Pick<IncomingMessage, 'headers'>): boolean {
  return headers['transfer-encoding'] !== undefined || Number(headers['content-length'] ?? 0) > 0
}

/** An agent that opens a new connection for each request. */
export function freshAgentOf(handle: WorkerHandle<never, unknown>): Agent {
  return agentsOf(handle).fresh
}

function agentsOf(handle: WorkerHandle<never, unknown>): Agents {
  let found = agents.get(handle)
  if (found === undefined) {
    const open = (): Promise<Socket> => (handle.connect as () => Promise<Socket>).call(handle)
    found = { kept: new WorkerAgent(open, true), fresh: new WorkerAgent(open, false) }
    agents.set(handle, found)
  }
  return found
}

/** An agent for one request over this connection. */
export function agentOver(socket: Socket): Agent {
  return new WorkerAgent(() => Promise.resolve(socket), false)
}

/** Closes idle connections: a worker that is asked to stop may wait for them. */
export function closeIdle(handle: WorkerHandle<never, unknown>): void {
  agents.get(handle)?.kept.destroy()
}

type Written = (error?: Error | null) => void

/**
 * Continues to read when a write fails because the worker has closed the connection: an answer before the end of the
 * body, such as a 413, may be unread. node:net would close the socket and drop it. For a connection of one request.
 */
export function readAfterFailedWrites(socket: Socket): void {
  const { _write: write, _writev: writev } = socket
  const unless =
    (written: Written): Written =>
    (error) =>
      written(['EPIPE', 'ECONNRESET'].includes((error as NodeJS.ErrnoException | undefined)?.code ?? '') ? null : error)
  socket._write = (chunk, encoding, written) => write.call(socket, chunk, encoding, unless(written))
  if (writev) socket._writev = (chunks, written) => writev.call(socket, chunks, unless(written))
}
