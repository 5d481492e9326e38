/** `warmswap lock ls|why|sweep|run`: reports the holders of locks, and holds a lock for a command of any language. */

import { readdirSync } from 'node:fs'
import { basename, join, resolve } from 'node:path'
import { describeHolder, inspectLock, sweepLocks } from '../locks/index.js'
import { messageOf } from '../native/callbacks.js'
import { native } from '../native/native.js'
import { Answer, durationOf, parse, splitCommand, wrongArguments } from './arguments.js'
import { hold } from './lock-hold.js'
import { RUN_OPTIONS, run } from './lock-run.js'
import { explainRecord, holderText, recordsOf, recordsOfKey } from './lock-store.js'
import { duration } from './text.js'

const HELP = `Usage:
  warmswap lock ls [directory | store]
                                    the locks of a directory, or the records of prewarm() and cache.ensure() in a store
                                    such as s3://bucket/prefix, and which process holds each
  warmswap lock why <path | store and key>
                                    which process holds it, since when, doing what, and what will happen. Of a key in a
                                    store: watches the lease until the holder renews it, or should have
  warmswap lock sweep [directory]   remove what killed processes left, and the files of locks that nobody has used for a
                                    day; never anything of a live process
  warmswap lock run [options] <path> -- <command>
                                    hold the lock while the command runs, also if this program is killed

All commands:
  --json               print one JSON value (run: only for an error)
  -q, --quiet          print errors only; the output of the command is not changed
  -h, --help           print this text
  -v, --version        print the version of warmswap
ls and why, of a store:
  --observe-ms <time>  how long to watch leases. Default: 0 for ls; for why until each is renewed, at most 0.44 of a lease
sweep:
  --unused-ms <time>   remove the files of locks that nobody has used for this time, such as 12h. Default 1d
run:
  --timeout <time>     longest wait, such as 30s or 5min; then exit code 75. Default: no limit
  --no-wait            do not wait: exit code 75 if the lock is held
  -o, --close          free the lock when this program ends, although the command goes on
  --metadata <json>    object that 'lock ls' and waiters report with the holder

Exit codes:
  0    done; of 'ls' and 'why' also for a lock that is held
  1    failed
  2    wrong arguments
  75   run: the lock was not free in time
  126, 127 run: the command cannot be started
  128 + n  run: ended by signal n
  else run: the exit code of the command`

const SWEEP_OPTIONS = { 'unused-ms': 'text' } as const
const OBSERVE_OPTIONS = { 'observe-ms': 'text' } as const
const ALL_OPTIONS = { ...RUN_OPTIONS, ...SWEEP_OPTIONS, ...OBSERVE_OPTIONS }

type Inspected = Awaited<ReturnType<typeof inspectLock>>

export async function lock(all: string[]): Promise<number> {
  const { name: verb, rest: args } = splitCommand(ALL_OPTIONS, all)
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
      // For --help and --version, and for unknown options where there is no command.
      parse('lock', HELP, ALL_OPTIONS, verb === undefined ? all : all.filter(isHelpOrVersion), { max: all.length })
      throw wrongArguments(
        `${verb === undefined ? 'the command is missing' : `unknown command '${verb}' of 'warmswap lock'`}. Known commands: ls, why, sweep, run`,
      )
  }
}

/** Whether it is the URL of a store. Paths of this machine have no scheme; a single letter is a drive of Windows. */
function isStore(place: string): boolean {
  return /^(?:[a-z][a-z0-9+.-]+:\/\/|memory:)/i.test(place)
}

function refuseObserving(observeMs: number | undefined): void {
  if (observeMs !== undefined)
    throw wrongArguments(
      "--observe-ms applies to a store, such as 's3://bucket/prefix'. The locks of this machine are exact",
    )
}

const isHelpOrVersion = (arg: string): boolean => ['-h', '--help', '-v', '--version'].includes(arg)

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
  const { values, positionals } = parse('lock ls', HELP, OBSERVE_OPTIONS, args, {
    max: 1,
    what: 'at most one directory or store',
  })
  const [place = '.'] = positionals
  const observeMs = durationOf('--observe-ms', values['observe-ms'])
  if (isStore(place)) {
    const records = await recordsOf(place, observeMs)
    if (values.json) console.log(JSON.stringify(records))
    else if (!values.quiet)
      for (const record of records)
        console.log(`${record.state.padEnd(6)} ${record.path}  ${holderText(record)}`.trimEnd())
    return 0
  }
  refuseObserving(observeMs)
  const directory = resolve(place)
  const names = lockNames(directory)
  if (names.length > 0) native()
  const locks = await Promise.all(names.map((name) => listed(join(directory, name))))
  if (values.json) console.log(JSON.stringify(locks))
  else if (!values.quiet)
    for (const each of locks) {
      const facts = 'reason' in each ? `  ${each.reason}` : each.holder ? `  ${holderOf(each)}` : ''
      console.log(`${each.state.padEnd(6)} ${basename(each.path)}${facts}`)
    }
  return 0
}

/** One lock of a list. One that cannot be inspected, such as another user's, does not hide the others. */
async function listed(path: string) {
  try {
    const inspected = await inspectLock(path)
    return { ...inspected, state: stateOf(inspected) }
  } catch (error) {
    return { path, state: 'error' as const, reason: messageOf(error).replaceAll('\n', ' ') }
  }
}

function holderOf({ holder, liveness, ageMs }: Inspected): string {
  return `${describeHolder(holder, liveness)}${ageMs === null ? '' : `, for ${duration(ageMs)}`}`
}

async function why(args: string[]): Promise<number> {
  const { values, positionals } = parse('lock why', HELP, OBSERVE_OPTIONS, args, {
    min: 1,
    what: 'the path of one lock',
  })
  const [place] = positionals as [string]
  const observeMs = durationOf('--observe-ms', values['observe-ms'])
  if (isStore(place)) {
    const { path, records } = await recordsOfKey(place, observeMs)
    const explained = records.map((record) => ({ ...record, explanation: explainRecord(path, record) }))
    const free = `${path} is free: the next caller acquires it immediately.`
    if (values.json) console.log(JSON.stringify(explained))
    else if (!values.quiet)
      console.log(explained.length === 0 ? free : explained.map(({ explanation }) => explanation).join('\n'))
    return 0
  }
  refuseObserving(observeMs)
  const inspected = await inspectLock(resolve(place))
  const explanation = explain(inspected)
  if (values.json) console.log(JSON.stringify({ ...inspected, state: stateOf(inspected), explanation }))
  else if (!values.quiet) console.log(explanation)
  return 0
}

/** State of the lock, and what will happen. No text advises to delete files. */
function explain(inspected: Inspected): string {
  const { path, held, holder, liveness, warning } = inspected
  if (warning !== null && holder === null) return `${path} cannot be locked: ${warning}`
  if (warning !== null) return `${path} is not free: ${warning}.`
  if (holder === null) return `${path} is free: the next caller acquires it immediately.`
  const by = holderOf(inspected)
  if (!held)
    return `${path} was held by ${by}. That process has ended without releasing it. The next caller takes it over immediately. You do not need to do anything.`
  if (holder.inheritedFrom !== undefined)
    return `${path} is held by ${by}. That child has the lock's descriptor: the lock is free as soon as the child ends or closes it. To have it sooner, stop that child.`
  if (liveness === 'alive')
    return `${path} is held by ${by}. That process is alive: a waiter gets the lock as soon as the process releases it or ends. To have it sooner, stop that process.`
  const window =
    holder.format === 'warmswap'
      ? 'one and a half of its lease (45 s by default)'
      : holder.format === 'ownerless'
        ? '30 s'
        : '10 minutes by default (options.foreignStaleMs)'
  return `${path} is held by ${by}. It cannot be verified from here whether that process is alive (another machine, container or program). A waiter takes the lock over once it has not changed for ${window}.`
}

async function sweep(args: string[]): Promise<number> {
  const { values, positionals } = parse('lock sweep', HELP, SWEEP_OPTIONS, args, {
    max: 1,
    what: 'at most one directory',
  })
  const unusedMs = durationOf('--unused-ms', values['unused-ms'])
  if (isStore(positionals[0] ?? '.'))
    throw wrongArguments("'warmswap lock sweep' takes a directory. A store needs no sweep: a dead holder is taken over")
  const { removed, held } = await sweepLocks(resolve(positionals[0] ?? '.'), unusedMs === undefined ? {} : { unusedMs })
  if (values.json) console.log(JSON.stringify({ removed, held }))
  else if (!values.quiet) {
    for (const path of removed) console.log(`removed ${basename(path)}`)
    for (const path of held) console.log(`held    ${basename(path)}`)
  }
  return 0
}
