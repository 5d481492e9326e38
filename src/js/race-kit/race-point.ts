/**
 * Race points in code under test. Without a race, a race point is one comparison. In a process that a race started, it
 * looks up what the race has planned for this hit.
 *
 * The module imports nothing, so that it adds nothing to a bundle and runs where `node:fs` is missing. All
 * communication uses the race's folder, so that a program in any language can take part (docs/protocol/race-points.md). A hit is
 * one appended line in `points`; the plan is in `plan.json`; a held process waits for the end of a connection to
 * `socket`.
 */

import type * as Fs from 'node:fs'
import type * as Net from 'node:net'

interface PlannedAction {
  name: string
  hit: number
  action: 'hold' | 'kill' | 'fail' | 'delay'
  /** The milliseconds of a delay, or the code and number of a failure. */
  ms?: number
  code?: string
  errno?: number
}

const folder: string | undefined = globalThis.process?.env?.WARMSWAP_RACE
/** Distinguishes this thread's lines in `points` from those of others. */
const self = Math.random().toString(36).slice(2)
const hits = new Map<string, number>()
let readUntil = 0
let sequence = 0

/**
 * Marks a race point in code under test. Does nothing unless a race controls it. Await it where the code can be held.
 *
 * @param name Name of the point, as `race.at(name)` selects it.
 */
export function racePoint(name: string): void | Promise<void> {
  if (folder !== undefined) return drive(folder, name)
}

function drive(home: string, name: string): void | Promise<void> {
  const fs = process.getBuiltinModule('node:fs')
  const hit = count(fs, home, name)
  const planned = plan(fs, home).find((each) => each.name === name && each.hit === hit)
  switch (planned?.action) {
    case 'kill':
      process.kill(process.pid, 'SIGKILL')
      return
    case 'fail':
      throw Object.assign(new Error(`${planned.code}: race point '${name}', hit ${hit}`), {
        code: planned.code,
        errno: planned.errno,
        syscall: 'racePoint',
      })
    case 'delay':
      return new Promise((resolve) => setTimeout(resolve, planned.ms))
    case 'hold':
      return held(home, name, hit)
  }
}

/**
 * The number of this hit, over all processes. Lines are appended as a whole, so their order in the file is the same for
 * all.
 */
function count(fs: typeof Fs, home: string, name: string): number {
  sequence += 1
  const mine = `${self}.${sequence}`
  const file = `${home}/points`
  try {
    fs.appendFileSync(
      file,
      `${encodeURIComponent(name)} ${Number(process.hrtime.bigint()) / 1e6} ${process.pid} ${process.env.WARMSWAP_RACE_NONCE} ${mine}\n`,
    )
    return countUpTo(fs, file, encodeURIComponent(name), mine)
  } catch {
    // The race has ended and its folder was removed: the process is no longer controlled.
    return 0
  }
}

/** Continues reading where the last count ended. */
function countUpTo(fs: typeof Fs, file: string, name: string, mine: string): number {
  const descriptor = fs.openSync(file, 'r')
  try {
    const fresh = Buffer.alloc(fs.fstatSync(descriptor).size - readUntil)
    fs.readSync(descriptor, fresh, 0, fresh.length, readUntil)
    for (const line of fresh.toString('latin1').split('\n').slice(0, -1)) {
      readUntil += line.length + 1
      const [which = '', , , , id] = line.split(' ')
      hits.set(which, (hits.get(which) ?? 0) + 1)
      if (id === mine) break
    }
  } finally {
    fs.closeSync(descriptor)
  }
  return hits.get(name) ?? 0
}

function plan(fs: typeof Fs, home: string): PlannedAction[] {
  try {
    return JSON.parse(fs.readFileSync(`${home}/plan.json`, 'utf8')) as PlannedAction[]
  } catch {
    return []
  }
}

/** The connection ends when the race releases it, and also when the race ends for any other reason. */
function held(home: string, name: string, hit: number): Promise<void> {
  const net: typeof Net = process.getBuiltinModule('node:net')
  return new Promise((resolve) => {
    const socket = net.connect(`${home}/socket`)
    socket.on('connect', () => socket.write(`${JSON.stringify({ name, hit, pid: process.pid })}\n`))
    socket.on('error', () => {})
    socket.on('close', () => resolve())
    socket.resume()
  })
}
