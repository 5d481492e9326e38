/** `warmswap cache save|restore|ensure|inspect|prune|remove|probe|trust`: a store from the shell, exit code by outcome. */

import { statSync } from 'node:fs'
import { resolve } from 'node:path'
import type { Limits } from '../archives/index.js'
import type { Budget, Cache } from '../caches/index.js'
import { isWarmswapError } from '../native/errors.js'
import {
  Answer,
  countOf,
  durationOf,
  type OptionKind,
  parse,
  sizeOf,
  splitCommand,
  type Values,
  wrongArguments,
} from './arguments.js'
import { cacheEnsure, ensureArguments } from './cache-ensure.js'
import { type CacheCommand, HELP, OPTIONS } from './cache-help.js'
import { openStore } from './cache-open.js'
import { describe, EXIT, headline, inShellWords, NOTHING, type Result } from './cache-report.js'
import { endingSignals, present } from './cache-call.js'
import { cacheTrust, trustArguments } from './cache-trust.js'
import { progressBar } from './progress.js'

type Given = Values<(typeof OPTIONS)['save'] & (typeof OPTIONS)['restore'] & (typeof OPTIONS)['prune']> &
  Values<{ json: 'flag'; quiet: 'flag' }>

export async function cache(args: string[]): Promise<number> {
  const ensured = ensureArguments(args)
  if (ensured !== undefined) return await cacheEnsure(ensured)
  const trusted = trustArguments(args)
  if (trusted !== undefined) return await cacheTrust(trusted)
  const call = read(args)
  try {
    return await execute(call)
  } catch (error) {
    if (isWarmswapError(error) && error.code === 'ERR_INVALID_ARGUMENT')
      throw wrongArguments(inShellWords(error.message))
    throw error
  }
}

interface Call {
  command: CacheCommand
  values: Given
  directory: string | undefined
}

function read(args: string[]): Call {
  const known = Object.keys(OPTIONS)
  const all: Record<string, OptionKind> = Object.assign({}, ...Object.values(OPTIONS))
  const { name, rest } = splitCommand(all, args)
  if (name === 'help') throw new Answer(HELP)
  const command = (name === 'snapshot' ? 'save' : name) as CacheCommand
  if (name === undefined || !known.includes(command)) {
    // For --help and --version, and for unknown options where there is no command.
    parse('cache', HELP, all, name === undefined ? args : args.filter(isHelpOrVersion), { max: args.length })
    throw wrongArguments(
      `${name === undefined ? 'the command is missing' : `unknown command '${name}' of 'warmswap cache'`}. Known commands: ${known.join(', ')}`,
    )
  }
  const hasDirectory = command === 'save' || command === 'restore'
  const options: Record<string, OptionKind> = OPTIONS[command]
  const { values, positionals } = parse(`cache ${command}`, HELP, options, rest, {
    min: hasDirectory ? 1 : 0,
    what: hasDirectory ? 'one directory' : 'no argument after the command',
  })
  return { command, values: values as Given, directory: positionals[0] }
}

const isHelpOrVersion = (arg: string): boolean => ['-h', '--help', '-v', '--version'].includes(arg)

async function execute({ command, values, directory }: Call): Promise<number> {
  const store = values.store ?? process.env.WARMSWAP_STORE
  if (store === undefined)
    throw wrongArguments('--store is missing. Expected the URL of a store, here or in WARMSWAP_STORE')
  await using opened = openStore(store, values)
  const ending = endingSignals()
  const { reason, ...facts } = await run(opened, command, directory, values, ending.signal).catch(outcomeOf)
  const result = { ...facts, ...present({ reason: reason && inShellWords(reason) }) }
  const code = exitCode(command, result, values)
  print(command, result, values, code)
  return result.outcome === 'aborted' && ending.code !== undefined ? ending.code : code
}

function exitCode(command: CacheCommand, { outcome }: Result, { required }: Given): number {
  // A cold cache is the normal first run of a script with `set -e`.
  if (outcome === 'miss' && command === 'restore' && !required) return 0
  return EXIT[outcome] ?? 1
}

function print(command: CacheCommand, result: Result, { json, quiet }: Given, code: number): void {
  if (json) console.log(JSON.stringify(result))
  else if (!quiet) console.log(describe(command, result))
  else if (code !== 0) console.error(`warmswap: ${headline(result)}`)
}

/** The error of `inspect` and `probe` as an outcome, like that of the other commands. */
function outcomeOf(error: unknown): Result {
  if (error instanceof DOMException && error.name === 'AbortError') return { outcome: 'aborted' }
  if (!isWarmswapError(error) || error.outcome === undefined) throw error
  return { outcome: error.outcome, reason: error.message }
}

async function run(
  cache: Cache,
  command: CacheCommand,
  directory: string | undefined,
  values: Given,
  signal: AbortSignal,
): Promise<Result> {
  const budget = budgetOf(values, signal)
  switch (command) {
    case 'save':
      return await save(cache, resolve(directory as string), values, budget)
    case 'restore':
      return await restore(cache, resolve(directory as string), values, budget)
    case 'inspect': {
      const info = await cache.inspect(key(values), budget)
      return info === null ? { outcome: 'miss', reason: NOTHING } : { outcome: 'found', ...info }
    }
    case 'prune':
      return await cache.prune({
        key: key(values),
        ...budget,
        ...present({
          keep: countOf('--keep', values.keep),
          olderThanMs: durationOf('--older-than-ms', values['older-than-ms']),
        }),
      })
    case 'remove':
      return await cache.remove(key(values), budget)
    case 'probe':
      return { outcome: 'probed', ...(await cache.probe(budget)) }
  }
}

async function save(cache: Cache, from: string, values: Given, budget: Budget): Promise<Result> {
  // The API ends as 'empty', which in a script would hide a misspelt path.
  if (!statSync(from, { throwIfNoEntry: false })?.isDirectory())
    throw wrongArguments(`'${from}' is not a directory, or does not exist. Expected the directory to save`)
  const bar = progressBar(values)
  try {
    return await cache.snapshot({
      key: key(values),
      from,
      ...budget,
      exclude: values.exclude ?? [],
      guard: { allowShrink: values['allow-shrink'] ?? false },
      limits: limitsOf(values),
      ...present({
        preset: values.preset as 'none' | undefined,
        quietMs: durationOf('--quiet-ms', values['quiet-ms']),
        fingerprint: values.fingerprint,
        ticket: values.ticket,
        level: countOf('--level', values.level),
      }),
      ...bar.listener,
    })
  } finally {
    bar.end()
  }
}

async function restore(cache: Cache, into: string, values: Given, budget: Budget): Promise<Result> {
  const bar = progressBar(values)
  try {
    const result = await cache.restore({
      key: key(values),
      into,
      ...budget,
      fallbackKeys: values['fallback-key'] ?? [],
      expect: expectationOf(values.expect ?? []),
      limits: limitsOf(values),
      ...present({
        mode: values.mode as 'merge' | undefined,
        symlinks: values.symlinks as 'relative' | undefined,
        duplicates: values.duplicates as 'reject' | undefined,
        concurrency: countOf('--concurrency', values.concurrency),
      }),
      ...bar.listener,
    })
    if (result.outcome !== 'miss') return result
    return { ...result, reason: result.reason === undefined ? NOTHING : `${NOTHING} (${result.reason})` }
  } finally {
    bar.end()
  }
}

function budgetOf(values: Given, signal: AbortSignal): Budget {
  return {
    signal,
    ...present({
      deadlineMs: durationOf('--deadline-ms', values['deadline-ms']),
      idleMs: durationOf('--idle-ms', values['idle-ms']),
      attempts: countOf('--attempts', values.attempts),
    }),
  }
}

function limitsOf(values: Given): Limits {
  return present({
    maxBytes: sizeOf('--max-bytes', values['max-bytes']),
    maxFiles: countOf('--max-files', values['max-files']),
    maxFileBytes: sizeOf('--max-file-bytes', values['max-file-bytes']),
    maxRatio: countOf('--max-ratio', values['max-ratio']),
    maxMemoryBytes: sizeOf('--max-memory-bytes', values['max-memory-bytes']),
    minFreeBytes: sizeOf('--min-free-bytes', values['min-free-bytes']),
  })
}

const EXPECTED = ['platform', 'arch', 'libc', 'fingerprint']

function expectationOf(pairs: string[]): Record<string, string> {
  const expected: Record<string, string> = {}
  for (const pair of pairs) {
    const at = pair.indexOf('=')
    const name = pair.slice(0, Math.max(at, 0))
    if (!EXPECTED.includes(name))
      throw wrongArguments(`Invalid --expect: '${pair}'. Expected name=value, with the name ${EXPECTED.join(', ')}`)
    if (Object.hasOwn(expected, name)) throw wrongArguments(`--expect names ${name} twice`)
    expected[name] = pair.slice(at + 1)
  }
  return expected
}

function key(values: Given): string {
  const text = values.key ?? process.env.WARMSWAP_KEY
  if (text === undefined)
    throw wrongArguments('--key is missing. Expected the name of a cache, here or in WARMSWAP_KEY')
  return text
}
