/**
 * Ports that stay reserved even when no process listens on them.
 *
 * A port found by listening on 0 and closing again is sooner or later taken by another process (7 of 300 CI runs in
 * dtzp555-max/ocp#219). Across a restart no socket can hold the port: a listening one would accept connections that
 * must be refused. So the number comes from below the range that the kernel assigns, and each vitest worker begins in
 * its own section. The reservation is a second, unrelated name that only this kit binds. The kernel gives the name to
 * one process, and frees it when that process ends, even by SIGKILL.
 */

import { readFileSync, rmSync } from 'node:fs'
import { connect, createServer, type Server } from 'node:net'
import { tmpdir } from 'node:os'
import { listeningPorts } from '../keeper/tcp-table.js'
import { WarmswapError } from '../native/errors.js'
import { sleep } from './clock.js'
import type { Random } from './random.js'
import type { Port } from './types.js'

/** Start of the kernel's range on Linux by default. The real value is read. */
const DEFAULT_EPHEMERAL_START = 32_768
/** Number of ports below it that this kit uses. */
const RANGE = 12_000
/** Size of a worker's section: more than a test file uses. */
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

/**
 * Whether a server could listen on the port now, on any address of this machine. On Linux the kernel's table is read.
 * Binding would disturb: the server that is about to start would find the port taken, and a process that another thread
 * is starting holds a copy of the socket until its exec.
 */
export async function isFree(number: number): Promise<boolean> {
  const listening = listeningPorts()
  return listening === undefined ? await canBind(number) : !listening.has(number)
}

async function canBind(number: number): Promise<boolean> {
  for (const host of ['::', '0.0.0.0']) {
    const failure = await tryListen(number, host)
    if (failure === 'EADDRINUSE' || failure === 'EACCES') return false
  }
  return true
}

/**
 * The port of a killed process is free after a moment: a process that forked shortly before may hold a copy of the
 * socket.
 */
const SETTLE_MS = 500
const SETTLE_POLL_MS = 10

/** Whether the port is taken, and not just about to become free. */
export async function staysBusy(number: number): Promise<boolean> {
  for (let waited = 0; waited < SETTLE_MS; waited += SETTLE_POLL_MS) {
    if (await isFree(number)) return false
    await sleep(SETTLE_POLL_MS)
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
  // A socket in the filesystem outlives its process. Once the process has ended, connections to it are refused.
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
    server.once('error', (error: NodeJS.ErrnoException) =>
      error.code === 'EADDRINUSE' ? resolve(undefined) : reject(error),
    )
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
