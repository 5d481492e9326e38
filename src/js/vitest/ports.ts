/**
 * Ports that stay reserved while nothing listens on them.
 *
 * "Listen on 0, close, use the number" loses it to somebody else sooner or later (7 of 300 CI runs in
 * dtzp555-max/ocp#219), and across a restart there is no socket that could hold it: one that listens would answer what
 * must be refused. So the number is taken from below the range that the kernel hands out by itself, each vitest worker
 * begins in a stretch of its own, and a second, unrelated name that only this kit binds is the reservation: the kernel
 * gives it to one process and takes it back when that process ends, killed or not.
 */

import { readFileSync, readdirSync, readlinkSync, rmSync } from 'node:fs'
import { type Server, connect, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { WarmswapError } from '../errors.js'
import { numbers } from './groups.js'
import type { Random } from './random.js'
import type { Port } from './types.js'

/** Where Linux begins by default; what it really uses is read. */
const DEFAULT_EPHEMERAL_START = 32_768
/** How many ports below it are ours to choose from. */
const RANGE = 12_000
/** A worker's stretch: more than a test file uses. */
const STRETCH = 200

export class ReservedPort implements Port {
  constructor(
    readonly number: number,
    private readonly reservation: Server,
  ) {}

  async release(): Promise<void> {
    await new Promise((resolve) => this.reservation.close(resolve))
  }
}

export async function reservePort(random: Random): Promise<ReservedPort> {
  const first = ephemeralStart() - RANGE
  const begin = (Number(process.env.VITEST_POOL_ID ?? 0) * STRETCH + Math.floor(random() * STRETCH)) % RANGE
  for (let step = 0; step < RANGE; step += 1) {
    const number = first + ((begin + step) % RANGE)
    const reservation = await reserve(number)
    if (reservation === undefined) continue
    if (await isFree(number)) return new ReservedPort(number, reservation)
    await new Promise((resolve) => reservation.close(resolve))
  }
  throw new WarmswapError('ERR_IO', `no port from ${first} to ${first + RANGE - 1} is free`)
}

/** Whether a server could listen there now, on any address of this machine. */
export async function isFree(number: number): Promise<boolean> {
  for (const host of ['::', '0.0.0.0']) {
    const failure = await tryListen(number, host)
    if (failure === 'EADDRINUSE' || failure === 'EACCES') return false
  }
  return true
}

function tryListen(port: number, host: string): Promise<string | undefined> {
  return new Promise((resolve) => {
    const server = createServer()
    server.once('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? 'unknown'))
    server.listen({ port, host, exclusive: true }, () => server.close(() => resolve(undefined)))
  })
}

/** The reservation, or undefined if another process of this kit has it. */
async function reserve(number: number): Promise<Server | undefined> {
  const path = reservationName(number)
  const server = await listen(path)
  if (server !== undefined || process.platform === 'linux' || process.platform === 'win32') return server
  // A socket in the filesystem outlives its process: nobody answers there when the process is gone.
  if (await answers(path)) return undefined
  rmSync(path, { force: true })
  return await listen(path)
}

function reservationName(number: number): string {
  const name = `warmswap-port-${number}`
  if (process.platform === 'linux') return `\0${name}`
  return process.platform === 'win32' ? `\\\\.\\pipe\\${name}` : `${tmpdir()}/${name}`
}

function listen(path: string): Promise<Server | undefined> {
  return new Promise((resolve, reject) => {
    const server = createServer((socket) => socket.destroy())
    server.once('error', (error: NodeJS.ErrnoException) => (error.code === 'EADDRINUSE' ? resolve(undefined) : reject(error)))
    server.listen({ path, exclusive: true }, () => resolve(server.unref()))
  })
}

function answers(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(path)
    socket.once('connect', () => resolve(true)).once('error', () => resolve(false))
    socket.once('connect', () => socket.destroy())
  })
}

function ephemeralStart(): number {
  try {
    const start = Number.parseInt(readFileSync('/proc/sys/net/ipv4/ip_local_port_range', 'utf8'), 10)
    return start > RANGE + 1024 ? start : DEFAULT_EPHEMERAL_START
  } catch {
    return DEFAULT_EPHEMERAL_START
  }
}

/** The process that listens on a port, for messages; only Linux tells. */
export function listenerOf(number: number): number | undefined {
  const inodes = new Set(['/proc/net/tcp', '/proc/net/tcp6'].flatMap((table) => sockets(table).filter(({ port, listens }) => port === number && listens).map(({ inode }) => inode)))
  return inodes.size === 0 ? undefined : ownerOf(inodes)
}

/** The process on this machine whose end of a connection has the port `local` and the other end `remote`. */
export function peerOf(local: number, remote: number): number | undefined {
  const inodes = new Set(['/proc/net/tcp', '/proc/net/tcp6'].flatMap((table) => sockets(table).filter((each) => each.port === local && each.remotePort === remote).map(({ inode }) => inode)))
  return inodes.size === 0 ? undefined : ownerOf(inodes)
}

const TCP_LISTEN = '0A'

function sockets(table: string): { port: number; remotePort: number; listens: boolean; inode: string }[] {
  try {
    const rows = readFileSync(table, 'utf8').trim().split('\n').slice(1)
    return rows.map((row) => {
      const [, local = '', remote = '', state, , , , , , inode = ''] = row.trim().split(/\s+/)
      return { port: Number.parseInt(local.split(':')[1] ?? '', 16), remotePort: Number.parseInt(remote.split(':')[1] ?? '', 16), listens: state === TCP_LISTEN, inode }
    })
  } catch {
    return []
  }
}

function ownerOf(inodes: ReadonlySet<string>): number | undefined {
  const links = new Set([...inodes].map((inode) => `socket:[${inode}]`))
  return numbers('/proc').find((pid) => {
    try {
      return readdirSync(`/proc/${pid}/fd`).some((fd) => links.has(safeLink(`/proc/${pid}/fd/${fd}`)))
    } catch {
      return false
    }
  })
}

function safeLink(path: string): string {
  try {
    return readlinkSync(path)
  } catch {
    return ''
  }
}
