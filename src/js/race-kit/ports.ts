/**
 * Ports that stay reserved while nothing listens on them.
 *
 * "Listen on 0, close, use the number" loses it to somebody else sooner or later (7 of 300 CI runs in
 * dtzp555-max/ocp#219), and across a restart there is no socket that could hold it: one that listens would answer what
 * must be refused. So the number is taken from below the range that the kernel hands out by itself, each vitest worker
 * begins in a stretch of its own, and a second, unrelated name that only this kit binds is the reservation: the kernel
 * gives it to one process and takes it back when that process ends, killed or not.
 */

import { readFileSync, rmSync } from 'node:fs'
import { connect, createServer, type Server } from 'node:net'
import { tmpdir } from 'node:os'
import { listeningPorts } from '../keeper/tcp-table.js'
import { WarmswapError } from '../native/errors.js'
import { sleep } from './clock.js'
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

/**
 * Whether a server could listen there now, on any address of this machine. Where the kernel shows its table it is
 * read, for to look must not be to bind: a socket that probes would itself be met by the server that is about to
 * start, and any process that another thread is just starting holds a copy of it until its exec.
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

/** What a killed process listened on is free a moment after its end: who forked it a moment ago may hold a copy. */
const SETTLE_MS = 500
const SETTLE_POLL_MS = 10

/** Whether it is taken, and not only on the way to being free. */
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
