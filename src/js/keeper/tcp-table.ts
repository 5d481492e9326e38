/** Listeners and connections, from the kernel's tables (only Linux has them as files). */

import { readdirSync, readFileSync, readlinkSync } from 'node:fs'
import { endianness } from 'node:os'
import { numbers } from './processes.js'

interface Row {
  /** As the kernel prints it: 8 or 32 hexadecimal digits. */
  address: string
  port: number
  remotePort: number
  listens: boolean
  inode: string
}

const TCP_LISTEN = '0A'

/** The ports with a listener in this network namespace. Undefined if there is no such table. */
export function listeningPorts(): ReadonlySet<number> | undefined {
  const table = rows()
  return table && new Set(table.filter(({ listens }) => listens).map(({ port }) => port))
}

/** The process that listens on a port, for messages. */
export function listenerOf(number: number): number | undefined {
  return ownerOf(({ port, listens }) => port === number && listens)
}

/** The sockets that listen on a port. */
export function listenersOn(number: number): { address: string; inode: string }[] {
  return (rows() ?? []).filter(({ port, listens }) => port === number && listens)
}

/** The host that reaches a listener on this address, which is as the kernel prints it. */
export function hostOf(address: string): string {
  const bytes = Buffer.from(address, 'hex')
  // The kernel prints words of 32 bits in the order of the processor.
  if (endianness() === 'LE') bytes.swap32()
  const isEvery = bytes.every((byte) => byte === 0)
  if (bytes.length === 4) return isEvery ? '127.0.0.1' : bytes.join('.')
  const groups = bytes.toString('hex').match(/.{4}/g) ?? []
  // In its shortest form.
  return isEvery ? '::1' : new URL(`http://[${groups.join(':')}]`).hostname.slice(1, -1)
}

/** The ports that these processes listen on. */
export function portsOf(pids: readonly number[]): number[] {
  const own = new Set(pids.flatMap(socketsOf))
  return (rows() ?? []).filter(({ listens, inode }) => listens && own.has(inode)).map(({ port }) => port)
}

/** The inodes of the sockets that a process has open; none where they may not be read. */
export function socketsOf(pid: number): string[] {
  try {
    return readdirSync(`/proc/${pid}/fd`).flatMap(
      (fd) => /^socket:\[(\d+)\]$/.exec(safeLink(`/proc/${pid}/fd/${fd}`))?.[1] ?? [],
    )
  } catch {
    return []
  }
}

/** The process on this machine whose end of a connection has the port `local` and the other end `remote`. */
export function peerOf(local: number, remote: number): number | undefined {
  return ownerOf(({ port, remotePort }) => port === local && remotePort === remote)
}

/** Undefined where neither table can be read; a kernel without IPv6 has only the first. */
function rows(): Row[] | undefined {
  const tables = ['/proc/net/tcp', '/proc/net/tcp6'].flatMap((file) => read(file) ?? [])
  return tables.length === 0 ? undefined : tables.flatMap((text) => text.trim().split('\n').slice(1).map(parse))
}

function parse(line: string): Row {
  const [, local = '', remote = '', state, , , , , , inode = ''] = line.trim().split(/\s+/)
  return {
    address: local.split(':')[0] ?? '',
    port: portOf(local),
    remotePort: portOf(remote),
    listens: state === TCP_LISTEN,
    inode,
  }
}

function portOf(address: string): number {
  return Number.parseInt(address.split(':')[1] ?? '', 16)
}

function ownerOf(fits: (row: Row) => boolean): number | undefined {
  const links = new Set((rows() ?? []).filter(fits).map(({ inode }) => `socket:[${inode}]`))
  if (links.size === 0) return undefined
  return numbers('/proc').find((pid) => {
    try {
      return readdirSync(`/proc/${pid}/fd`).some((fd) => links.has(safeLink(`/proc/${pid}/fd/${fd}`)))
    } catch {
      return false
    }
  })
}

function read(file: string): string | undefined {
  try {
    return readFileSync(file, 'latin1')
  } catch {
    return undefined
  }
}

function safeLink(path: string): string {
  try {
    return readlinkSync(path)
  } catch {
    return ''
  }
}
