/**
 * Where a worker listens. The coordinator chooses a Unix socket in a folder that only its user can open, so that nobody
 * else can listen there. A program that knows only ports gets a port too. Another program can take a port, so a listener on
 * it counts only while the kernel shows it as a socket of the worker's process group, which Linux alone does.
 */

import { mkdtempSync, rmSync } from 'node:fs'
import { type AddressInfo, connect as connectSocket, createServer, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { removeAtEnd } from '../keeper/client.js'
import { groupOf } from '../keeper/processes.js'
import { hostOf, listenersOn, portsOf, socketsOf } from '../keeper/tcp-table.js'
import { messageOf } from '../native/callbacks.js'
import { WarmswapError } from '../native/errors.js'
import { isSeeded } from '../native/seeded-bugs.js'
import { notBegun, type WorkerAddress } from './handle.js'
import { pause } from './wait.js'

/** Longest path of a Unix socket: 103 bytes on macOS, 107 on Linux. */
const LONGEST_PATH = 100
/** How often a worker that boots is asked. A refused connection to a Unix socket takes about 0.05 ms. */
const POLL_MS = 5
/** How long a worker that runs may refuse connections: it may be about to listen again. */
const REFUSED_MS = 1_000

let folder: string | undefined
let count = 0

/** The folder of this process's sockets. */
function socketFolder(): string {
  if (folder !== undefined) return folder
  const isShort = tmpdir().length < LONGEST_PATH - '/warmswap-123456/123456.sock'.length
  const made = mkdtempSync(join(isShort ? tmpdir() : '/tmp', 'warmswap-'))
  folder = made
  removeAtEnd(made)
  process.on('exit', () => rmSync(made, { recursive: true, force: true }))
  return made
}

function freePath(): string {
  count += 1
  if (process.platform === 'win32') return `\\\\.\\pipe\\warmswap-${process.pid}-${count}-${process.hrtime.bigint()}`
  return join(socketFolder(), `${count}.sock`)
}

/** A port that nobody has at this moment. */
async function freePort(): Promise<number> {
  const server = createServer()
  return await new Promise((resolve, reject) => {
    server.once('error', reject)
    server.listen(0, '127.0.0.1', () => {
      const { port } = server.address() as AddressInfo
      server.close(() => resolve(port))
    })
  })
}

/** The place where one worker listens. */
export class Listening {
  /** Set once the worker listens. */
  address: WorkerAddress | undefined
  /** Sockets that were seen in the worker's group. */
  private accepted: ReadonlySet<string> = new Set()
  private owners: () => number[] = () => []

  private constructor(
    readonly path: string,
    readonly port: number | undefined,
  ) {}

  /** `port` is the one that the program gets anyway. */
  static async choose(port?: number): Promise<Listening> {
    return new Listening(freePath(), process.platform === 'linux' ? (port ?? (await freePort())) : undefined)
  }

  /** Variables of the worker. */
  get env(): Record<string, string> {
    return { WARMSWAP_LISTEN: this.path, ...(this.port !== undefined && { PORT: String(this.port) }) }
  }

  /** Resolves once the worker accepts connections. `leader` is its process, which leads a group unless it is this one. */
  async opened(leader: number, signal: AbortSignal): Promise<void> {
    this.owners = leader === process.pid ? () => [leader] : () => groupOf(leader)
    for (; !signal.aborted; await pause(POLL_MS, signal)) {
      const found = (await isOpen(this.path)) ? { socketPath: this.path } : this.ownPort()
      if (!found) continue
      this.address = found
      return
    }
  }

  /** Opens a connection. Rejects with an error of a request that was not begun. */
  async connect(): Promise<Socket> {
    const until = performance.now() + REFUSED_MS
    for (;;) {
      try {
        return await this.connectOnce()
      } catch (error) {
        if (performance.now() > until) throw this.refused(error)
        await new Promise((resolve) => setTimeout(resolve, POLL_MS))
      }
    }
  }

  /** What a worker that is not ready does instead. */
  describe(): string {
    const ways = `listen on process.env.WARMSWAP_LISTEN (a socket path)${this.port === undefined ? '' : ' or on process.env.PORT'}`
    if (this.port === undefined) return `It has to ${ways}.`
    const others = portsOf(this.owners()).filter((port) => port !== this.port)
    if (others.length > 0) return `It listens on port ${others.join(', ')} instead. It has to ${ways}.`
    const isTaken = listenersOn(this.port).length > 0
    return isTaken
      ? `Another program listens on port ${this.port}, which was chosen for the worker. It has to ${ways}.`
      : `It has to ${ways}.`
  }

  close(): void {
    if (process.platform !== 'win32') rmSync(this.path, { force: true })
  }

  private async connectOnce(): Promise<Socket> {
    const { address } = this
    if (address === undefined) throw new Error('the worker does not listen yet')
    const socket = await connected(address)
    // The listener that answered existed until now: if no other one did, it is the worker's.
    if ('socketPath' in address || this.ownPort() || (__WARMSWAP_TESTING__ && isSeeded('any-listener'))) return socket
    socket.destroy()
    throw new Error(`the listener on port ${address.port} does not belong to the worker`)
  }

  private refused(cause: unknown): WarmswapError {
    const { address } = this
    const place = address && 'port' in address ? `port ${address.port}` : this.path
    const text = `the worker accepts no connections on ${place} any more: ${messageOf(cause)}`
    return notBegun(new WarmswapError('ERR_NOT_READY', text, { cause }))
  }

  /** The address of the worker's port, if all listeners on it are its own. */
  private ownPort(): WorkerAddress | undefined {
    const { port } = this
    const listeners = port === undefined ? [] : listenersOn(port)
    if (port === undefined || listeners.length === 0) return undefined
    const isAccepted = ({ inode }: { inode: string }): boolean => this.accepted.has(inode)
    if (!listeners.every(isAccepted)) this.accepted = new Set(this.owners().flatMap(socketsOf))
    if (!listeners.every(isAccepted)) return undefined
    const hosts = listeners.map(({ address }) => hostOf(address))
    return { host: ['127.0.0.1', '::1'].find((host) => hosts.includes(host)) ?? (hosts[0] as string), port }
  }
}

function connected(address: WorkerAddress): Promise<Socket> {
  const socket = 'port' in address ? connectSocket(address.port, address.host) : connectSocket(address.socketPath)
  return new Promise((resolve, reject) => {
    socket.once('error', reject)
    socket.once('connect', () => {
      socket.off('error', reject)
      socket.setNoDelay(true)
      resolve(socket)
    })
  })
}

async function isOpen(path: string): Promise<boolean> {
  try {
    const socket = await connected({ socketPath: path })
    socket.on('error', () => {})
    socket.destroy()
    return true
  } catch {
    return false
  }
}
