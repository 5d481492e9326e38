/** Shared by the suites of the race kit: the server that they restart, and requests to it. */

import { join } from 'node:path'
import { expect } from 'vitest'
import type { Instance, Port, Probe, Race } from 'warmswap/vitest'
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

/** Requests the data that the server provides late after a restart. */
export const read: Probe<Port> = {
  name: 'read',
  sideEffects: 'none',
  timeoutMs: 2000,
  run: async (port, signal) => answerOf(await ask(port, '/data', signal)),
}

export function answerOf(answer: Answer): { nonce: string; value: Answer } {
  return { nonce: answer.nonce, value: answer }
}

/** Must work before the restart; otherwise it is not a target. */
export async function warm(port: Port): Promise<Port> {
  await expect.poll(async () => (await ask(port, '/data')).status, { interval: 10 }).toBe(200)
  return port
}

/** Options of a sweep over restarts of the server, except for its probes and delays. */
export function sweepOf(
  port: Port,
  server: Instance,
): Pick<Parameters<Race['sweep']>[0], 'restart'> & { target(): Promise<Port> } {
  return { target: () => warm(port), restart: () => server.restart('kill') }
}
