// @module-tag storm
/**
 * Reloads leave no descriptor, socket, thread, process, listener or socket path behind, and no memory. With
 * WARMSWAP_LONG=1: 1 000 of each kind, and the figures are printed.
 */

import { type EventEmitter, once } from 'node:events'
import { readdirSync, readFileSync, readlinkSync } from 'node:fs'
import http, { type IncomingMessage } from 'node:http'
import { dirname } from 'node:path'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { expect } from 'vitest'
import { startProcess, startWorkerThread } from 'warmswap'
import type { Start } from '../support/coordinators.js'
import { ask, publishServer, test } from '../support/served.js'

const isLong = process.env.WARMSWAP_LONG === '1'

const thread: Start = (context) => startWorkerThread(context, 'server.mjs', { listen: true })
const child: Start = (context) => startProcess(context, 'server.mjs', { listen: true })

/** Answers; /stream has no end, and an upgrade is a socket that is silent. */
const BODY =
  "if (request.url === '/stream') return void response.write('first'); request.resume(); response.end(version)"
const UPGRADES =
  "server.on('upgrade', (request, socket) => socket.on('error', () => {}).write('HTTP/1.1 101 Switching Protocols\\r\\nconnection: upgrade\\r\\nupgrade: websocket\\r\\n\\r\\n'))"

/** What this process has. */
function resources(): Record<string, number> {
  const descriptors = readdirSync('/proc/self/fd').length
  const threads = readdirSync('/proc/self/task')
  const children = threads.flatMap((thread) =>
    readFileSync(`/proc/self/task/${thread}/children`, 'utf8').split(' ').filter(Boolean),
  )
  const listeners = process.eventNames().reduce((sum, name) => sum + process.listenerCount(name), 0)
  const sockets = process.getActiveResourcesInfo().filter((name) => /^(TCP|Pipe)/.test(name)).length
  return { descriptors, sockets, threads: threads.length, children: children.length, listeners }
}

/** Bytes of the heap that are reachable. */
function heap(): number {
  setFlagsFromString('--expose-gc')
  const collect = runInNewContext('gc') as () => void
  collect()
  return process.memoryUsage().heapUsed
}

/** What one reload may leave on the heap: a figure in a table, but no worker, request or answer. */
const MOST_HEAP_PER_RELOAD = 4 * 1024

test.skipIf(process.platform !== 'linux').for([
  { name: 'threads', start: thread, reloads: isLong ? 1_000 : 60 },
  { name: 'processes', start: child, reloads: isLong ? 1_000 : 10 },
])(
  'restarts/reloads-leave-nothing: $reloads reloads of $name that listen, under requests, streams and sockets',
  {
    timeout: isLong ? 3_600_000 : 600_000,
  },
  async ({ start, reloads }, { store, open, serve }) => {
    const paths = new Set<string>()
    await publishServer(store, '0', BODY, { before: UPGRADES })
    const coordinator = open(
      async (context) => {
        const handle = await start(context)
        if (handle.address && 'socketPath' in handle.address) paths.add(handle.address.socketPath)
        return handle
      },
      { drain: 50 },
    )
    const url = await serve((server) => coordinator.attach(server))
    const kept = new http.Agent({ keepAlive: true })

    /** A reload while two clients hold on to the old worker. Every second time they leave before it is stopped. */
    async function reload(version: number): Promise<void> {
      await ask(url, { path: '/', agent: kept })
      await ask(url, { path: '/', method: 'POST' }, 'x')
      const [stream, socket] = await Promise.all([openStream(), openSocket()])
      await publishServer(store, String(version), BODY, { before: UPGRADES })
      await coordinator.reboot({ observed: coordinator.status().incarnation, reason: 'an edit' })
      if (version % 2 === 0) for (const each of [stream, socket]) each.leave()
      await Promise.all([stream.closed, socket.closed])
      expect((await ask(url, { path: '/', agent: kept })).body).toBe(String(version))
    }

    async function openStream(): Promise<{ closed: Promise<unknown>; leave(): void }> {
      const request = http.get(new URL('/stream', url), { agent: false })
      const [response] = (await once(request, 'response')) as [IncomingMessage]
      response.on('error', () => {}).resume()
      return { closed: closeOf(response), leave: () => request.destroy() }
    }

    async function openSocket(): Promise<{ closed: Promise<unknown>; leave(): void }> {
      const request = http.get(url, { agent: false, headers: { connection: 'upgrade', upgrade: 'websocket' } })
      const [, socket] = await once(request, 'upgrade')
      socket.on('error', () => {}).resume()
      return { closed: closeOf(socket), leave: () => socket.destroy() }
    }

    /** Once nothing drains. */
    async function settled(): Promise<Record<string, number>> {
      await expect.poll(() => coordinator.status().state, { timeout: 20_000 }).toBe('ready')
      return resources()
    }

    let version = 1
    for (; version <= 5; version += 1) await reload(version)
    const before = await settled()
    const heapBefore = heap()
    for (; version <= 5 + reloads; version += 1) await reload(version)
    // A few may belong to timers of this test's own clients; one for each reload would be many.
    const most = Object.entries(before).map(([name, count]) => [name, count + 5] as const)
    for (const [name, count] of most)
      await expect
        .poll(async () => (await settled())[name], { timeout: 20_000, message: name })
        .toBeLessThanOrEqual(count)
    const grown = heap() - heapBefore
    if (isLong) console.log({ reloads, before, after: await settled(), heapBefore, heapAfter: heapBefore + grown })
    // Code that was compiled in the meantime counts once.
    expect(grown).toBeLessThan(4 * 2 ** 20 + reloads * MOST_HEAP_PER_RELOAD)
    // The socket of the worker that serves.
    expect(paths.size).toBe(5 + reloads + 1)
    const [folder = ''] = [...paths].map(dirname)
    await expect.poll(() => readdirSync(folder).length, { timeout: 20_000 }).toBe(1)
    expect(readdirSync('/proc/self/fd').filter((fd) => isRemoved(fd))).toEqual([])
  },
)

/** Its error is that it was cut. */
function closeOf(stream: EventEmitter): Promise<unknown> {
  return new Promise((resolve) => stream.once('close', resolve))
}

/** Whether this descriptor is of a file that was removed, such as one of a generation that was collected. */
function isRemoved(fd: string): boolean {
  try {
    return readlinkSync(`/proc/self/fd/${fd}`).endsWith(' (deleted)')
  } catch {
    return false
  }
}
