/** `warmswap lock ls|why|sweep|run`: who holds a lock, in plain words, and a lock for a command of any language. */

import { basename, join, resolve } from 'node:path'
import { readdirSync } from 'node:fs'
import { describeHolder, inspectLock, sweepLocks } from '../locks/index.js'
import { Answer, parse, wrongArguments } from './arguments.js'
import { hold } from './lock-hold.js'
import { run } from './lock-run.js'
import { duration } from './text.js'

const HELP = `Usage:
  warmswap lock ls [directory]      the locks of a directory, and which process holds each
  warmswap lock why <path>          which process holds it, since when, doing what, and what will happen
  warmswap lock sweep [directory]   removes what killed processes left; never anything of a live process
  warmswap lock run [options] <path> -- <command>
                                    holds the lock while the command runs, also if this program is killed

All commands:
  --json               ls, why, sweep: one JSON value on standard output
  -q, --quiet          no output but errors and the output of the command
  -h, --help           print this text
  -v, --version        print the version of warmswap
run:
  --timeout <time>     longest wait, such as 30s or 5min; then exit code 75. Default: no limit
  --no-wait            do not wait: exit code 75 if the lock is held
  -o, --close          free the lock when this program ends, although the command goes on
  --metadata <json>    object that others see as the holder's metadata

Exit codes: of 'run' that of the command, 75 if the lock was not free in time, 126 or 127 if the command cannot be started,
128 + n after signal n; of the others 0; 1 failed, 2 wrong arguments`

type Inspected = Awaited<ReturnType<typeof inspectLock>>

export async function lock([verb, ...args]: string[]): Promise<number> {
  switch (verb) {
    case 'ls':
      return await list(args)
    case 'why':
      return await why(args)
    case 'sweep':
      return await sweep(args)
    case 'run':
      return await run(args, HELP)
    case 'hold':
      return await hold(args)
    case 'help':
      throw new Answer(HELP)
    default:
      parse('lock', HELP, {}, verb === undefined ? [] : [verb, ...args].filter((arg) => arg.startsWith('-')))
      throw wrongArguments(
        `${verb === undefined ? 'a command is missing' : `unknown command '${verb}' of 'warmswap lock'`}. Known commands: ls, why, sweep, run`,
      )
  }
}

/** Names of locks come from their records; those of other programs from a directory that ends in `.lock`. */
export function lockNames(directory: string): string[] {
  const names = new Set<string>()
  for (const entry of listing(directory)) {
    const ours = /^\.(.+)\.lease$/.exec(entry.name)
    if (ours) names.add(ours[1] as string)
    else if (entry.isDirectory() && entry.name.endsWith('.lock')) names.add(entry.name)
  }
  return [...names].sort()
}

/** A directory that does not exist has no locks: they are made with it. */
function listing(directory: string) {
  try {
    return readdirSync(directory, { withFileTypes: true })
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return []
    throw error
  }
}

/** 'held?' is held by a process that cannot be verified; 'dead' is free, and the next acquirer takes it over. */
export function stateOf({ held, holder, liveness }: Inspected): 'held' | 'held?' | 'dead' | 'free' {
  if (held) return liveness === 'alive' ? 'held' : 'held?'
  return holder ? 'dead' : 'free'
}

async function list(args: string[]): Promise<number> {
  const { values, positionals } = parse('lock ls', HELP, {}, args, { max: 1, what: 'at most one directory' })
  const directory = resolve(positionals[0] ?? '.')
  const locks = await Promise.all(lockNames(directory).map((name) => inspectLock(join(directory, name))))
  if (values.json) console.log(JSON.stringify(locks.map((each) => ({ ...each, state: stateOf(each) }))))
  else if (!values.quiet)
    for (const each of locks) {
      const who = each.holder ? `  ${whoHolds(each)}` : ''
      console.log(`${stateOf(each).padEnd(6)} ${basename(each.path)}${who}`)
    }
  return 0
}

function whoHolds({ holder, liveness, ageMs }: Inspected): string {
  return `${describeHolder(holder, liveness)}${ageMs === null ? '' : `, for ${duration(ageMs)}`}`
}

async function why(args: string[]): Promise<number> {
  const { values, positionals } = parse('lock why', HELP, {}, args, { min: 1, what: 'the path of one lock' })
  const inspected = await inspectLock(resolve(positionals[0] as string))
  const explanation = explain(inspected)
  if (values.json) console.log(JSON.stringify({ ...inspected, state: stateOf(inspected), explanation }))
  else if (!values.quiet) console.log(explanation)
  return 0
}

/** What a person needs to know, and nothing that makes them delete files. */
function explain(inspected: Inspected): string {
  const { path, held, holder, liveness, warning } = inspected
  if (warning !== null && holder === null) return `${path} cannot be locked: ${warning}`
  if (warning !== null) return `${path} is not free: ${warning}.`
  if (holder === null) return `${path} is free: the next one who asks gets it at once.`
  const who = whoHolds(inspected)
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

async function sweep(args: string[]): Promise<number> {
  const { values, positionals } = parse('lock sweep', HELP, {}, args, { max: 1, what: 'at most one directory' })
  const { removed, held } = await sweepLocks(resolve(positionals[0] ?? '.'))
  if (values.json) console.log(JSON.stringify({ removed, held }))
  else if (!values.quiet) {
    for (const path of removed) console.log(`removed ${basename(path)}`)
    for (const path of held) console.log(`held    ${basename(path)}`)
  }
  return 0
}
