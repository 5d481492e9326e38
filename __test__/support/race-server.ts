/** What the suites of the race kit share: the server they restart, and how to ask it. */

import { join } from 'node:path'
import type { Port, Race } from 'warmswap/vitest'
import { repository } from './paths.js'

export const serverProgram = join(repository, '__test__/programs/race-server.mjs')

export interface Answer {
  status: number
  nonce: string
  incarnation: number
  pid: number
  readyAt: number
}

export async function ask(port: Port, path: string, signal?: AbortSignal): Promise<Answer> {
  const response = await fetch(`http://127.0.0.1:${port.number}${path}`, signal ? { signal } : {})
  return { ...((await response.json().catch(() => ({}))) as Omit<Answer, 'status'>), status: response.status }
}

/** The server on a port of its own, ready when its own answer to /health comes back. */
export async function startServer(
  race: Race,
  env: Record<string, string> = {},
  more: { killDetached?: boolean } = {},
): Promise<{ port: Port; server: Awaited<ReturnType<Race['start']>> }> {
  const port = await race.port()
  const server = await race.start({
    command: [process.execPath, serverProgram],
    env,
    port,
    ready: { http: `http://127.0.0.1:${port.number}/health`, nonce: true },
    ...more,
  })
  return { port, server }
}
