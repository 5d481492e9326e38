/** `warmswap lock ls|why|sweep|run`: who holds a lock, in plain words, and a lock for a command of any language. */

import { spawn } from 'node:child_process'
import { constants } from 'node:os'
import { basename, dirname, join, resolve } from 'node:path'
import { readdirSync } from 'node:fs'
import { acquireLock, describeHolder, inspectLock, sweepLocks } from '../locks.js'
import { invalidArgument } from '../errors.js'

const USAGE = `warmswap lock ls [directory]            the locks of a directory and who holds them
warmswap lock why <path>                who holds it, since when, doing what, and what will happen
warmswap lock sweep [directory]         removes what killed processes left; never anything of a living one
warmswap lock run <path> -- <command>   holds the lock while the command runs`

type Inspected = Awaited<ReturnType<typeof inspectLock>>

export async function lock([verb, ...args]: string[]): Promise<number> {
  if (verb === 'ls') return await list(resolve(args[0] ?? '.'))
  if (verb === 'why') return await why(resolve(needed('path', args[0])))
  if (verb === 'sweep') return await sweep(resolve(args[0] ?? '.'))
  if (verb === 'run') return await run(args)
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
  if (!held) return `${path} was held by ${who}. That process has ended without giving it back; the next one who asks takes it over at once. Nothing needs to be done.`
  if (liveness === 'alive') return `${path} is held by ${who}. That process is alive: whoever waits gets the lock as soon as it gives it back or ends. To have it sooner, stop that process.`
  const window = holder.format === 'warmswap' ? 'one and a half of its lease (45 s by default)' : holder.format === 'ownerless' ? '30 s' : '10 minutes by default (options.foreignStaleMs)'
  return `${path} is held by ${who}. From here nobody can tell whether that process lives (another machine, container or program). Whoever waits takes the lock over once it has shown no sign of life for ${window}.`
}

async function sweep(directory: string): Promise<number> {
  const { removed, held } = await sweepLocks(directory)
  for (const path of removed) console.log(`removed ${basename(path)}`)
  for (const path of held) console.log(`held    ${basename(path)}`)
  return 0
}

/** What shells answer. */
const CANNOT_START: Record<string, number> = { ENOENT: 127, EACCES: 126 }

/** The record is for everybody to read, and options carry tokens. */
function withoutOptions(command: string, args: string[]): string {
  const first = args.findIndex((arg) => arg.startsWith('-'))
  return [command, ...(first < 0 ? args : args.slice(0, first))].join(' ')
}

async function run(args: string[]): Promise<number> {
  const separator = args.indexOf('--')
  const [command, ...rest] = separator < 0 ? [] : args.slice(separator + 1)
  if (separator !== 1 || command === undefined) throw invalidArgument('arguments', args.join(' '), 'warmswap lock run <path> -- <command>')
  const path = resolve(args[0] as string)
  let told = ''
  const lock = await acquireLock(path, {
    metadata: { command: withoutOptions(command, rest), directory: dirname(path) },
    onWait({ holder, waitedMs, liveness }) {
      const text = `waiting for ${path}, held by ${describeHolder(holder, liveness)}`
      if (text !== told && waitedMs > 0) console.error(`warmswap: ${text}`)
      told = text
    },
  })
  return await new Promise<number>((done, fail) => {
    const child = spawn(command, rest, { stdio: 'inherit', env: { ...process.env, ...lock.childEnv() } })
    const forward = (signal: NodeJS.Signals): void => void child.kill(signal)
    for (const signal of ['SIGTERM', 'SIGHUP'] as const) process.on(signal, forward)
    // A terminal sends its Ctrl-C to the whole group; a second one means 'at once' to many programs.
    process.on('SIGINT', (signal) => process.stdin.isTTY || forward(signal))
    lock.signal.addEventListener('abort', () => child.kill('SIGTERM'))
    child.on('error', (error: NodeJS.ErrnoException) => {
      lock.release()
      const exitCode = CANNOT_START[error.code ?? '']
      if (exitCode === undefined) return fail(error)
      console.error(`warmswap: '${command}' cannot be started: ${error.code}`)
      done(exitCode)
    })
    child.on('exit', (code, signal) => {
      lock.release()
      done(code ?? 128 + (signal === null ? 0 : constants.signals[signal]))
    })
  })
}
