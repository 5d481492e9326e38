/** `warmswap lock ls|why|sweep|run`: who holds a lock, in plain words, and a lock for a command of any language. */

import { basename, join, resolve } from 'node:path'
import { readdirSync } from 'node:fs'
import { describeHolder, inspectLock, sweepLocks } from '../locks/index.js'
import { invalidArgument } from '../native/errors.js'
import { hold } from './lock-hold.js'
import { run } from './lock-run.js'

const USAGE = `warmswap lock ls [directory]            the locks of a directory and who holds them
warmswap lock why <path>                who holds it, since when, doing what, and what will happen
warmswap lock sweep [directory]         removes what killed processes left; never anything of a living one
warmswap lock run [--close] <path> -- <command>
                                        holds the lock while the command runs, also when this program is killed;
                                        with --close (-o) the lock is then free, while the command goes on`

type Inspected = Awaited<ReturnType<typeof inspectLock>>

export async function lock([verb, ...args]: string[]): Promise<number> {
  if (verb === 'ls') return await list(resolve(args[0] ?? '.'))
  if (verb === 'why') return await why(resolve(needed('path', args[0])))
  if (verb === 'sweep') return await sweep(resolve(args[0] ?? '.'))
  if (verb === 'run') return await run(args)
  if (verb === 'hold') return await hold(args)
  console.error(USAGE)
  return 2
}

function needed(name: string, value: string | undefined): string {
  if (value === undefined) throw invalidArgument(name, value, `given: ${USAGE}`)
  return value
}

/** Lock names are told by their records; other programs' locks by a directory that ends in `.lock`. */
function lockNames(directory: string): string[] {
  const names = new Set<string>()
  for (const entry of readdirSync(directory, { withFileTypes: true })) {
    const ours = /^\.(.+)\.lease$/.exec(entry.name)
    if (ours) names.add(ours[1] as string)
    else if (entry.isDirectory() && entry.name.endsWith('.lock')) names.add(entry.name)
  }
  return [...names].sort()
}

async function list(directory: string): Promise<number> {
  for (const name of lockNames(directory)) {
    const { held, holder, liveness, ageMs } = await inspectLock(join(directory, name))
    const state = held ? (liveness === 'alive' ? 'held' : 'held?') : holder ? 'dead' : 'free'
    const who = holder ? `  ${describeHolder(holder, liveness)}${ageMs === null ? '' : `, for ${seconds(ageMs)}`}` : ''
    console.log(`${state.padEnd(6)} ${name}${who}`)
  }
  return 0
}

async function why(path: string): Promise<number> {
  console.log(explain(await inspectLock(path)))
  return 0
}

function seconds(milliseconds: number): string {
  return milliseconds < 120_000 ? `${Math.round(milliseconds / 1000)} s` : `${Math.round(milliseconds / 60_000)} min`
}

/** What a person needs to know, and nothing that makes them delete files. */
function explain({ path, held, holder, liveness, ageMs, warning }: Inspected): string {
  if (warning !== null && holder === null) return `${path} cannot be locked: ${warning}`
  if (warning !== null) return `${path} is not free: ${warning}.`
  if (holder === null) return `${path} is free: the next one who asks gets it at once.`
  const who = `${describeHolder(holder, liveness)}${ageMs === null ? '' : `, for ${seconds(ageMs)}`}`
  if (!held)
    return `${path} was held by ${who}. That process has ended without giving it back; the next one who asks takes it over at once. Nothing needs to be done.`
  if (holder.inheritedFrom !== undefined)
    return `${path} is held by ${who}. That child has the lock's descriptor: the lock is free as soon as the child ends or closes it. To have it sooner, stop that child.`
  if (liveness === 'alive')
    return `${path} is held by ${who}. That process is alive: whoever waits gets the lock as soon as it gives it back or ends. To have it sooner, stop that process.`
  const window =
    holder.format === 'warmswap'
      ? 'one and a half of its lease (45 s by default)'
      : holder.format === 'ownerless'
        ? '30 s'
        : '10 minutes by default (options.foreignStaleMs)'
  return `${path} is held by ${who}. From here nobody can tell whether that process lives (another machine, container or program). Whoever waits takes the lock over once it has shown no sign of life for ${window}.`
}

async function sweep(directory: string): Promise<number> {
  const { removed, held } = await sweepLocks(directory)
  for (const path of removed) console.log(`removed ${basename(path)}`)
  for (const path of held) console.log(`held    ${basename(path)}`)
  return 0
}
