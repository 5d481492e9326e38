/** The test's side of race points (race-point.ts): the plan, the hits so far, and the processes that are held. */

import { readFileSync, renameSync, writeFileSync } from 'node:fs'
import { createServer, type Server, type Socket } from 'node:net'
import { constants } from 'node:os'
import { join } from 'node:path'
import { invalidArgument, WarmswapError } from '../native/errors.js'
import { milliseconds, string, wholeNumber } from '../native/validate.js'
import { signalProcess } from './groups.js'
import type { Timeline, TimelineEvent } from './timeline.js'
import type { Held, PointActions } from './types.js'

interface Planned {
  name: string
  hit: number
  action: 'hold' | 'kill' | 'fail' | 'delay'
  ms?: number
  code?: string
  errno?: number
}

interface Hit {
  name: string
  at: number
  pid: number
}

/** The line of a process that is held. */
interface Arrival {
  name: string
  hit: number
  pid: number
}

/** Longer than any line of racePoint(). */
const LONGEST_LINE = 64 * 1024

interface Waiting {
  name: string
  hit: number
  resolve(held: Held): void
  reject(error: unknown): void
}

export class RacePoints {
  readonly #planned: Planned[] = []
  readonly #waiting: Waiting[] = []
  readonly #held = new Set<Socket>()
  readonly #server: Server

  private constructor(
    private readonly folder: string,
    private readonly timeline: Timeline,
    signal: AbortSignal,
  ) {
    this.#server = createServer((socket) => this.#arrived(socket))
    signal.addEventListener('abort', () => this.#giveUp(signal.reason), { once: true })
  }

  /** Listens in the race's folder. */
  static async open(folder: string, timeline: Timeline, signal: AbortSignal): Promise<RacePoints> {
    const points = new RacePoints(folder, timeline, signal)
    const path =
      process.platform === 'win32' ? `\\\\.\\pipe\\${folder.replaceAll(/[\\/:]/g, '-')}` : join(folder, 'socket')
    await new Promise<void>((resolve, reject) => points.#server.once('error', reject).listen(path, resolve))
    return points
  }

  at(name: string, hit = 1): PointActions {
    string('name', name)
    wholeNumber('hit', hit, 1)
    return {
      hold: () => this.#hold(name, hit),
      kill: () => this.#add({ name, hit, action: 'kill' }),
      fail: (code) => this.#add({ name, hit, action: 'fail', code, errno: -numberOf(code) }),
      delay: (ms) => this.#add({ name, hit, action: 'delay', ms: milliseconds('ms', ms) }),
    }
  }

  #hold(name: string, hit: number): Promise<Held> {
    const reached = new Promise<Held>((resolve, reject) => this.#waiting.push({ name, hit, resolve, reject }))
    // Usually awaited later than it is planned: until then, its failure must not be an unhandled rejection.
    reached.catch(() => {})
    this.#add({ name, hit, action: 'hold' })
    return reached
  }

  /** Renamed into place, so that a process reads the old plan or the new one. */
  #add(action: Planned): void {
    if (this.#planned.some(({ name, hit }) => name === action.name && hit === action.hit)) {
      throw invalidArgument(
        'hit',
        action.hit,
        `one that has no plan yet: hit ${action.hit} of '${action.name}' has one`,
      )
    }
    this.#planned.push(action)
    const fresh = join(this.folder, 'plan.json.new')
    writeFileSync(fresh, JSON.stringify(this.#planned))
    renameSync(fresh, join(this.folder, 'plan.json'))
    this.timeline.record('driver', `${action.action} at '${action.name}' hit ${action.hit} planned`)
  }

  #arrived(socket: Socket): void {
    let text = ''
    this.#held.add(socket)
    socket.on('error', () => {})
    socket.on('close', () => this.#held.delete(socket))
    socket.on('data', (chunk) => {
      text += String(chunk)
      if (text.length > LONGEST_LINE) return void socket.destroy()
      if (!text.endsWith('\n')) return
      const arrival = parseArrival(text)
      if (arrival === undefined) socket.destroy()
      else this.#hand(socket, arrival)
    })
  }

  #hand(socket: Socket, { name, hit, pid }: Arrival): void {
    const index = this.#waiting.findIndex((each) => each.name === name && each.hit === hit)
    if (index < 0) return void socket.destroy()
    const [waiting] = this.#waiting.splice(index, 1)
    this.timeline.record('driver', `'${name}' hit ${hit} held`, { detail: `pid ${pid}` })
    const release = (what: string): void => {
      this.timeline.record('driver', `'${name}' hit ${hit} ${what}`)
      socket.destroy()
    }
    waiting?.resolve({
      release: () => release('released'),
      kill: () => {
        signalProcess(pid, 'SIGKILL')
        release('killed')
      },
    })
  }

  /** All hits, for the time line. */
  events(): TimelineEvent[] {
    return this.#hits().map(({ name, at, pid }) => ({ at, who: `pid ${pid}`, what: `point '${name}'` }))
  }

  #hits(): Hit[] {
    return readPoints(this.folder).map((line) => {
      const [name = '', at, pid] = line.split(' ')
      return { name: decodeURIComponent(name), at: Number(at), pid: Number(pid) }
    })
  }

  /** Planned hits that never came: such a test has not shown what it claims. */
  unreached(): string[] {
    const counts = this.#counts()
    return this.#planned
      .filter(({ name, hit }) => hit > (counts.get(name) ?? 0))
      .map(({ name, hit, action }) => `${action} at '${name}' hit ${hit}`)
  }

  /** Which points were reached how often, for messages. */
  reached(): string {
    const counts = [...this.#counts()].map(([name, count]) => `'${name}' ${count} times`)
    return counts.length === 0 ? 'no race point was reached' : `reached were ${counts.join(', ')}`
  }

  #counts(): Map<string, number> {
    const counts = new Map<string, number>()
    for (const { name } of this.#hits()) counts.set(name, (counts.get(name) ?? 0) + 1)
    return counts
  }

  #giveUp(reason: unknown): void {
    for (const { name, hit, reject } of this.#waiting.splice(0)) {
      reject(
        new WarmswapError(
          'ERR_TIMEOUT',
          `race point '${name}' hit ${hit} was not reached before the test ended; ${this.reached()}`,
          { cause: reason },
        ),
      )
    }
  }

  async close(): Promise<void> {
    this.#giveUp(undefined)
    for (const socket of this.#held) socket.destroy()
    await new Promise((resolve) => this.#server.close(resolve))
  }
}

/** Undefined for a line that is not valid: any program of this machine can connect to the socket. */
function parseArrival(text: string): Arrival | undefined {
  try {
    const { name, hit, pid } = JSON.parse(text) as Partial<Arrival>
    return typeof name === 'string' && typeof hit === 'number' && Number.isSafeInteger(pid) && (pid as number) > 0
      ? { name, hit, pid: pid as number }
      : undefined
  } catch {
    return undefined
  }
}

function readPoints(folder: string): string[] {
  try {
    return readFileSync(join(folder, 'points'), 'utf8').split('\n').slice(0, -1)
  } catch {
    return []
  }
}

function numberOf(code: string): number {
  const number = (constants.errno as Record<string, number>)[code]
  if (number === undefined) throw invalidArgument('errno', code, "a code of this system's errors, such as 'ENOSPC'")
  return number
}
