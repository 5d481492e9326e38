/** Fetch requests for workers that listen. */

import { proxyFetch } from 'httpxy'
import type { SendContext, WorkerHandle } from '../handle.js'
import type { Parts } from '../parts.js'
import type { Progress } from '../queue.js'
import { agentOver } from './agents.js'
import { type RawAnswer, type RequestHead, rawOf, streamOf } from './exchange.js'
import { isForwardingHeader } from './forwarded.js'
import { explain } from './proxy.js'

/** Sends a request over a new connection. Its body is read only after the connection exists. */
export async function fetchOver(
  handle: WorkerHandle<never, unknown>,
  { method, url, headers }: RequestHead,
  body: Parts | null,
  context: SendContext,
  progress: Progress,
): Promise<RawAnswer> {
  progress.begun(false)
  const socket = await (handle.connect as () => Promise<import('node:net').Socket>).call(handle)
  progress.begun(true)
  const { host } = new URL(url)
  const own = headers.filter(([name]) => !isForwardingHeader(name) && name !== 'host')
  const init = {
    method,
    headers: [['host', headers.find(([name]) => name === 'host')?.[1] ?? host], ...own] as [string, string][],
    signal: context.signal,
    ...(body !== null && { body: streamOf(body), duplex: 'half' as const }),
  }
  try {
    const response = await proxyFetch('http://localhost', url, init, { agent: agentOver(socket) })
    return rawOf(response, 'the worker')
  } catch (error) {
    socket.destroy()
    return await explain(error, handle, context)
  }
}
