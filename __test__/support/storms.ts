/** Reloads of a coordinator under a load of clients in a process of its own (programs/storm-load.mjs). */

import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { expect } from 'vitest'
import type { Coordinator } from 'warmswap'
import { repository } from './paths.js'

interface Apps {
  listeningApp(app: { version: number; log: string; on?: string }): string
  fetchApp(app: { version: number; log: string; before: string; register: string }): string
}

/** Texts of the servers. */
export const { listeningApp, fetchApp } = (await import(
  pathToFileURL(join(repository, '__test__/programs/storm-apps.mjs')).href
)) as Apps

interface Failures {
  failed: number
  /** How many failed for each code or status. */
  reasons: Record<string, number>
  /** Some of them. */
  examples: { status?: number; code?: string; method?: string }[]
}

/** What the clients have seen. Times are microseconds of the monotonic clock. */
export interface LoadReport {
  /**
   * `old`: answers of a version that was replaced before the request was sent. `times` are those of requests over kept
   * connections. `timesWithConnect` include the wait for the server's accept(): Node accepts one connection per turn of its
   * event loop (libuv/libuv#3696). After a kill 150 clients connect again, so the last of them waits for 150 turns.
   */
  short: Failures & { sent: number; answered: number; old: number; times: number[]; timesWithConnect: number[] }
  streams: Failures & { opened: number; whole: number; cuts: { version: number; at: number; isEndless: boolean }[] }
  sockets: Failures & { opened: number; echoed: number; closes: { version: number; at: number; code: number }[] }
}

export interface Clients {
  requests: number
  streams: number
  sockets: number
}

/** Microseconds of the monotonic clock. */
export const now = (): number => Number(process.hrtime.bigint() / 1000n)

/** Clients of a server. Resolves once each has had an answer. */
export async function startLoad(url: URL, { requests, streams, sockets }: Clients): Promise<Load> {
  const program = join(repository, '__test__/programs/storm-load.mjs')
  const child = fork(program, [url.href, String(requests), String(streams), String(sockets)], { execArgv: [] })
  expect((await once(child, 'message'))[0]).toBe('ready')
  return new Load(child)
}

export class Load implements AsyncDisposable {
  constructor(private readonly child: ChildProcess) {}

  /** From now on no client may get an answer of an earlier version. */
  serves(version: number): void {
    this.child.send({ least: version })
  }

  /** Lets each client finish what it has. */
  async end(): Promise<LoadReport> {
    const reported = once(this.child, 'message')
    this.child.send('stop')
    return (await reported)[0] as LoadReport
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.child.exitCode === null && this.child.signalCode === null && this.child.kill('SIGKILL'))
      await once(this.child, 'exit')
  }
}

/** Edits of one program, and when each began to replace the one before. */
export class Edits {
  /** For each version, a time before the next one began to serve. */
  readonly replacedAt = new Map<number, number>()
  load: Load | undefined
  private version = 0

  constructor(
    private readonly coordinator: Coordinator<unknown, unknown>,
    private readonly program: string,
    private readonly text: (version: number) => string,
  ) {}

  /** Builds and starts the next version. Resolves once it serves. */
  async edit(): Promise<void> {
    const observed = this.coordinator.status().incarnation || null
    this.version += 1
    const { version } = this
    await this.build(this.text(version))
    this.replacedAt.set(version - 1, now())
    await this.coordinator.reboot({ observed, reason: 'an edit' })
    this.load?.serves(version)
  }

  /** The old worker goes on. */
  async failToBuild(): Promise<void> {
    const built = this.coordinator.build({ atLeast: this.coordinator.change() }, async ({ stage }) => {
      await stage.write(this.program, 'const = ')
      throw new Error('it does not build')
    })
    await expect(built).rejects.toThrow('it does not build')
  }

  /** The old worker goes on. */
  async failToBoot(): Promise<void> {
    const observed = this.coordinator.status().incarnation || null
    await this.build('process.exit(3)')
    await expect(this.coordinator.reboot({ observed, reason: 'an edit' })).rejects.toThrow()
  }

  private async build(text: string): Promise<void> {
    const { pin } = await this.coordinator.build({ atLeast: this.coordinator.change() }, ({ stage }) =>
      stage.write(this.program, text),
    )
    pin.release()
  }
}

/** How often each request that is neither GET nor HEAD was begun, if more than once. */
export function begunTwice(log: string): [string, number][] {
  const times = new Map<string, number>()
  for (const line of readFileSync(log, 'utf8').split('\n'))
    if (line.startsWith('POST ')) times.set(line, (times.get(line) ?? 0) + 1)
  return [...times].filter(([, count]) => count > 1)
}
