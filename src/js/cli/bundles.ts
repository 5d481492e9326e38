/** `warmswap bundles ls|current|pins|verify|rollback|collect|publish|run`: a store from the shell. */

import { relative, resolve, sep } from 'node:path'
import { type BundleStore, type BundleStoreOptions, type Generation, openBundles } from '../bundles/index.js'
import { isWarmswapError } from '../native/errors.js'
import {
  Answer,
  type OptionKind,
  type Values,
  countOf,
  durationOf,
  parse,
  sizeOf,
  splitCommand,
  wrongArguments,
} from './arguments.js'
import { type BundlesCommand, HELP, OPTIONS } from './bundles-help.js'
import { run } from './bundles-run.js'
import { directoryToPublish, existingStore, generationsIn, storeFor } from './bundles-store.js'
import { duration, size } from './text.js'

/** Exit codes of errors; of all others 1. */
const EXIT: Record<string, number> = {
  ERR_INVALID_ARGUMENT: 2,
  ERR_NO_GENERATION: 3,
  ERR_GENERATION_GONE: 3,
  ERR_TIMEOUT: 4,
  ERR_UNSTABLE: 4,
  ERR_GENERATION_CORRUPT: 5,
  ERR_EMPTY_STAGE: 6,
  ERR_MISSING_ENTRY: 6,
}

type Given = Values<(typeof OPTIONS)['publish']> & Values<{ json: 'flag'; quiet: 'flag' }>

/** What a command prints, as JSON and as text, and its exit code. */
interface Report {
  json: unknown
  text: string
  code?: number
}

export async function bundles(args: string[]): Promise<number> {
  const known = Object.keys(OPTIONS)
  const all: Record<string, OptionKind> = Object.assign({}, ...Object.values(OPTIONS))
  const separator = args.indexOf('--')
  const { name } = splitCommand(all, separator < 0 ? args : args.slice(0, separator))
  if (name === 'help') throw new Answer(HELP)
  if (name === undefined || !known.includes(name)) {
    // For --help and --version, and for unknown options where there is no command.
    parse('bundles', HELP, all, name === undefined ? args : args.filter(isHelpOrVersion), { max: args.length })
    throw wrongArguments(
      `${name === undefined ? 'the command is missing' : `unknown command '${name}' of 'warmswap bundles'`}. Known commands: ${known.join(', ')}`,
    )
  }
  const { rest } = splitCommand(all, args)
  try {
    return name === 'run' ? await run(rest) : await report(name as Exclude<BundlesCommand, 'run'>, rest)
  } catch (error) {
    return failed(error, rest)
  }
}

const isHelpOrVersion = (arg: string): boolean => ['-h', '--help', '-v', '--version'].includes(arg)

/** Prints an error that has an exit code of its own. */
function failed(error: unknown, args: string[]): number {
  const code = isWarmswapError(error) ? EXIT[error.code] : undefined
  if (!isWarmswapError(error) || code === undefined || code === 2) throw error
  const reason = inShellWords(error.message)
  const separator = args.indexOf('--')
  if ((separator < 0 ? args : args.slice(0, separator)).includes('--json'))
    console.log(JSON.stringify({ outcome: 'error', code: error.code, reason }))
  console.error(`warmswap: ${reason} [${error.code}]`)
  return code
}

function inShellWords(message: string): string {
  return message
    .replaceAll('\n', ' ')
    .replace(/\b([Rr])aise timeoutMs\b/, '$1aise --timeout')
    .replace(/\badopt: true\b/, '--adopt')
}

const POSITIONALS = {
  verify: { max: 1, what: 'at most one generation' },
  rollback: { min: 1, what: 'one generation' },
  publish: { min: 1, what: 'one directory' },
} as const

async function report(command: Exclude<BundlesCommand, 'run'>, args: string[]): Promise<number> {
  const how = POSITIONALS[command as keyof typeof POSITIONALS] ?? { what: 'no argument after the command' }
  const options: Record<string, OptionKind> = OPTIONS[command]
  const parsed = parse(`bundles ${command}`, HELP, options, args, how)
  const values = parsed.values as Given
  const { json, text, code = 0 } = await execute(command, values, parsed.positionals[0])
  if (values.json) console.log(JSON.stringify(json))
  else if (!values.quiet && text !== '') console.log(text)
  else if (values.quiet && code !== 0) console.error(`warmswap: ${text.split('\n')[0]}`)
  return code
}

async function execute(
  command: Exclude<BundlesCommand, 'run'>,
  values: Given,
  argument: string | undefined,
): Promise<Report> {
  if (command === 'publish') return await publish(values, directoryToPublish(argument as string))
  const generation = generationOf(argument)
  const root = existingStore(values.store)
  const before = command === 'collect' ? generationsIn(root) : []
  await using store = await openBundles(root, storeOptions(values))
  switch (command) {
    case 'ls':
      return await list(store)
    case 'current':
      return current(store)
    case 'pins':
      return await pins(store)
    case 'verify':
      return await verify(store, generation)
    case 'rollback': {
      const facts = await store.rollback(generation as number, waitOf(values))
      return { json: facts, text: `generation ${facts.number} is current` }
    }
    case 'collect': {
      const { kept, pinned, sweptStages } = await store.collect(waitOf(values))
      // The open may have collected already.
      const remaining = new Set(generationsIn(root))
      const removed = before.filter((number) => !remaining.has(number))
      const text = `removed ${removed.length}, kept ${kept.length}, pinned ${pinned.length}`
      return { json: { removed, kept, pinned, sweptStages }, text }
    }
  }
}

function generationOf(text: string | undefined): number | undefined {
  const number = countOf('generation', text)
  if (number !== undefined && number < 1)
    throw wrongArguments(`Invalid generation: '${text}'. Expected a number from 1`)
  return number
}

async function list(store: BundleStore): Promise<Report> {
  const number = store.current()?.number
  const names = await store.pins()
  const generations = (await store.list()).map((each) => ({
    ...(each as Generation & { toJSON(): Generation }).toJSON(),
    current: each.number === number,
    names: names.filter(({ generation }) => generation === each.number).map(({ name }) => name),
  }))
  const lines = generations.map(({ number: of, files, bytes, publishedAt, current: isCurrent, names: under }) => {
    const facts = [`${files} file${files === 1 ? '' : 's'}`, size(bytes), `${ago(publishedAt)} ago`]
    return `${isCurrent ? '*' : ' '} ${String(of).padStart(6)}  ${facts.join(', ')}${under.length > 0 ? `  ${under.map(printable).join(', ')}` : ''}`
  })
  return { json: generations, text: lines.join('\n') }
}

/** A name may have line breaks, and sequences that change the terminal. */
const printable = (name: string): string =>
  name.replace(/\p{Cc}/gu, (one) => `\\u${one.charCodeAt(0).toString(16).padStart(4, '0')}`)

const ago = (time: string): string => duration(Math.max(0, Date.now() - Date.parse(time)))

function current(store: BundleStore): Report {
  const generation = store.current()
  if (generation === null) return { json: null, text: 'nothing is published', code: 3 }
  return { json: generation, text: generation.path }
}

async function pins(store: BundleStore): Promise<Report> {
  const named = await store.pins()
  const line = (pin: (typeof named)[number]): string =>
    `${printable(pin.name)}  generation ${pin.generation}, for ${duration(Date.parse(pin.expiresAt) - Date.now())} more`
  return { json: named, text: named.map(line).join('\n') }
}

/** Longest list of problems that is printed in full. */
const MOST_LINES = 20

async function verify(store: BundleStore, given: number | undefined): Promise<Report> {
  const generation = given ?? store.current()?.number
  const { ok, problems } = await store.verify(generation)
  const lines = problems.slice(0, MOST_LINES).map(({ path, problem }) => `  ${problem.padEnd(8)} ${path}`)
  if (problems.length > MOST_LINES) lines.push(`  and ${problems.length - MOST_LINES} more`)
  const headline = `generation ${generation} ${ok ? 'is as it was published' : `has ${problems.length} differences`}`
  return { json: { ok, generation, problems }, text: [headline, ...lines].join('\n'), code: ok ? 0 : 5 }
}

async function publish(values: Given, directory: string): Promise<Report> {
  const root = storeFor(values.store, directory)
  if (isBelow(directory, root)) throw wrongArguments(`the store '${root}' is inside the directory to publish`)
  if (values.link !== undefined && isBelow(resolve(values.link), directory))
    throw wrongArguments(`--link is the directory to publish, or holds it. Let the tool write to another directory`)
  if (values.link !== undefined && isBelow(directory, resolve(values.link)))
    throw wrongArguments(`--link is inside the directory to publish: each generation would contain the link`)
  const meta = metaOf(values.meta)
  await using store = await openBundles(root, storeOptions(values))
  const { generation, changed } = await adopt(store, directory, values, meta)
  const facts = { outcome: changed ? 'published' : 'unchanged', ...generation.toJSON() }
  const text = `${changed ? 'published' : 'unchanged: it is'} generation ${generation.number} (${generation.files} file${generation.files === 1 ? '' : 's'}, ${size(generation.bytes)})`
  return { json: facts, text }
}

const isBelow = (folder: string, path: string): boolean => {
  const way = relative(folder, path)
  return way === '' || (way !== '..' && !way.startsWith(`..${sep}`) && !/^[a-z]:/i.test(way))
}

type Published = Generation & { changed: boolean; toJSON(): Generation }

/** A tool that is still writing makes the directory unstable: tried again until the time is over. */
async function adopt(
  store: BundleStore,
  directory: string,
  values: Given,
  meta: unknown,
): Promise<{ generation: Published; changed: boolean }> {
  const { timeoutMs = DEFAULT_TIMEOUT_MS } = waitOf(values)
  const end = Date.now() + timeoutMs
  for (;;) {
    await using stage = await store.stage({ timeoutMs })
    try {
      await stage.adopt(directory)
    } catch (error) {
      if (!isWarmswapError(error) || error.code !== 'ERR_UNSTABLE' || Date.now() > end) throw error
      continue
    }
    const generation = (await stage.publish({
      timeoutMs,
      ifChanged: values.always !== true,
      require: values.require ?? [],
      ...(values.fingerprint === undefined ? {} : { fingerprint: values.fingerprint }),
      ...(meta === undefined ? {} : { meta }),
    })) as Published
    return { generation, changed: generation.changed }
  }
}

const DEFAULT_TIMEOUT_MS = 30_000

function metaOf(text: string | undefined): unknown {
  if (text === undefined) return undefined
  try {
    return JSON.parse(text) as unknown
  } catch {
    throw wrongArguments(`Invalid --meta: it is not JSON. Expected a value such as '{"commit":"1a2b3c"}'`)
  }
}

function waitOf(values: Given): { timeoutMs?: number } {
  const timeoutMs = durationOf('--timeout', values.timeout)
  return timeoutMs === undefined ? {} : { timeoutMs }
}

function storeOptions(values: Given): BundleStoreOptions {
  const { durability } = values
  if (durability !== undefined && durability !== 'process' && durability !== 'power')
    throw wrongArguments(`Invalid --durability: '${durability}'. Expected process or power`)
  const bound = (name: string, text: string | undefined, read: typeof sizeOf): number | undefined =>
    text === 'none' ? Number.POSITIVE_INFINITY : read(name, text)
  const options = {
    durability,
    keep: countOf('--keep', values.keep),
    graceMs: durationOf('--grace-ms', values['grace-ms']),
    maxBytes: bound('--max-bytes', values['max-bytes'], sizeOf),
    maxAgeMs: bound('--max-age-ms', values['max-age-ms'], durationOf),
    link: values.link === undefined ? undefined : resolve(values.link),
    adopt: values.adopt,
    ...waitOf(values),
  }
  return Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined)) as BundleStoreOptions
}
