/** `warmswap cache save|restore|inspect|prune|probe`: a store from the shell, exit code by outcome. */

import { resolve } from 'node:path'
import { parseArgs } from 'node:util'
import type { Progress } from '../archives/index.js'
import { openCache, type Cache } from '../caches/index.js'
import { WarmswapError, invalidArgument, isWarmswapError } from '../native/errors.js'

const HELP = `Usage:
  warmswap cache save <directory> --store <url> --key <key>      a directory becomes the next generation of a key
  warmswap cache restore <directory> --store <url> --key <key>   a key's tree appears at the directory
  warmswap cache inspect --store <url> --key <key>               what a key holds
  warmswap cache prune --store <url> --key <key>                 remove generations that nobody needs
  warmswap cache probe --store <url>                             what the store can do

  --store <url>         file:///folder, s3://bucket/prefix?region=…&endpoint=… ; or WARMSWAP_STORE
  --key <key>           name of the cache; or WARMSWAP_KEY
  --mode <mode>         restore: if-empty, replace or merge
  --preset <preset>     save: deno, node_modules, vite or none
  --exclude <glob>      save: leave out, repeatable
  --allow-shrink        save: let the tree shrink as it likes
  --quiet-ms <ms>       save: wait until the tree has been unchanged so long
  --keep <n>            prune: generations that stay, the current one included
  --deadline-ms <ms>    for the whole call
  --read-only           never write to the store
  --json                one JSON object on standard output, no progress bar
A key is signed and verified with WARMSWAP_HMAC_KEY if that is set.

Exit codes: 0 done or unchanged, 1 failed, 2 wrong arguments, 3 nothing there or disabled, 4 timeout or unavailable,
5 corrupt, refused or incompatible, 6 not done on purpose (empty, shrunk, unguarded, unstable, superseded, target-not-empty, busy),
128 + n ended by signal n, and nothing was changed`

const EXIT: Record<string, number> = {
  restored: 0,
  uploaded: 0,
  unchanged: 0,
  pruned: 0,
  found: 0,
  probed: 0,
  miss: 3,
  disabled: 3,
  timeout: 4,
  unavailable: 4,
  aborted: 4,
  corrupt: 5,
  refused: 5,
  incompatible: 5,
  empty: 6,
  shrunk: 6,
  unguarded: 6,
  unstable: 6,
  superseded: 6,
  'target-not-empty': 6,
  busy: 6,
}

const OPTIONS = {
  store: { type: 'string' },
  key: { type: 'string' },
  mode: { type: 'string' },
  preset: { type: 'string' },
  exclude: { type: 'string', multiple: true },
  'allow-shrink': { type: 'boolean' },
  'quiet-ms': { type: 'string' },
  keep: { type: 'string' },
  'deadline-ms': { type: 'string' },
  'read-only': { type: 'boolean' },
  json: { type: 'boolean' },
  help: { type: 'boolean' },
} as const

export async function cache(args: string[]): Promise<number> {
  const { values, positionals } = parse(args)
  const [command, directory, ...more] = positionals
  if (command === undefined || values.help) {
    ;(values.help ? console.log : console.error)(HELP)
    return values.help ? 0 : 2
  }
  const superfluous = command === 'save' || command === 'snapshot' || command === 'restore' ? more[0] : directory
  if (superfluous !== undefined)
    throw invalidArgument('the argument after the command', superfluous, "what 'warmswap cache --help' shows")
  const store = values.store ?? process.env.WARMSWAP_STORE
  if (store === undefined) throw invalidArgument('--store', undefined, 'the URL of a store, here or in WARMSWAP_STORE')
  const hmacKey = process.env.WARMSWAP_HMAC_KEY
  await using opened = openCache(store, {
    readOnly: values['read-only'] ?? false,
    ...(hmacKey === undefined ? {} : { hmacKey }),
  })
  const ending = endingSignals()
  const result = await run(opened, command, directory, values, ending.signal).catch(outcomeOf)
  if (values.json) console.log(JSON.stringify(result))
  else console.log(describe(result))
  if (result.outcome === 'aborted' && ending.code !== undefined) return ending.code
  return EXIT[result.outcome] ?? 1
}

/** A signal of the system aborts the call, which then tidies up: parts of an upload, the stage beside the target. */
function endingSignals(): { signal: AbortSignal; readonly code: number | undefined } {
  const controller = new AbortController()
  let code: number | undefined
  for (const [name, number] of [
    ['SIGINT', 2],
    ['SIGTERM', 15],
  ] as const) {
    process.once(name, () => {
      code = 128 + number
      controller.abort()
    })
  }
  return {
    signal: controller.signal,
    get code() {
      return code
    },
  }
}

/** What inspect and probe throw where the store cannot say, as the other commands tell it. */
function outcomeOf(error: unknown): Result {
  if (error instanceof DOMException && error.name === 'AbortError') return { outcome: 'aborted' }
  if (!isWarmswapError(error) || error.outcome === undefined) throw error
  return { outcome: error.outcome, reason: error.message }
}

type Values = ReturnType<typeof parse>['values']
type Result = {
  outcome: string
  reason?: string
  files?: number
  bytes?: number
  compressedBytes?: number
  timings?: Record<string, number>
} & object

function parse(args: string[]) {
  try {
    return parseArgs({ args, options: OPTIONS, allowPositionals: true })
  } catch (error) {
    // The line itself is not shown: it can hold a secret.
    throw new WarmswapError(
      'ERR_INVALID_ARGUMENT',
      `${(error as Error).message}; accepted is what 'warmswap cache --help' shows`,
    )
  }
}

async function run(
  cache: Cache,
  command: string,
  directory: string | undefined,
  values: Values,
  signal: AbortSignal,
): Promise<Result> {
  const deadlineMs = number('--deadline-ms', values['deadline-ms'])
  const budget = { signal, ...(deadlineMs === undefined ? {} : { deadlineMs }) }
  switch (command) {
    case 'save':
    case 'snapshot': {
      const quietMs = number('--quiet-ms', values['quiet-ms'])
      const bar = progressBar(values)
      const result = await cache.snapshot({
        key: key(values),
        from: path(directory),
        ...budget,
        exclude: values.exclude ?? [],
        guard: { allowShrink: values['allow-shrink'] ?? false },
        ...(values.preset === undefined ? {} : { preset: values.preset as 'none' }),
        ...(quietMs === undefined ? {} : { quietMs }),
        ...bar.listener,
      })
      bar.end()
      return result
    }
    case 'restore': {
      const bar = progressBar(values)
      const result = await cache.restore({
        key: key(values),
        into: path(directory),
        ...budget,
        ...(values.mode === undefined ? {} : { mode: values.mode as 'merge' }),
        ...bar.listener,
      })
      bar.end()
      return result
    }
    case 'inspect': {
      const info = await cache.inspect(key(values), budget)
      return info === null ? { outcome: 'miss' } : { outcome: 'found', ...info }
    }
    case 'prune': {
      const keep = number('--keep', values.keep)
      return await cache.prune({ key: key(values), ...budget, ...(keep === undefined ? {} : { keep }) })
    }
    case 'probe':
      return { outcome: 'probed', ...(await cache.probe(budget)) }
    default:
      throw invalidArgument('the command', command, 'save, restore, inspect, prune or probe')
  }
}

function key(values: Values): string {
  const text = values.key ?? process.env.WARMSWAP_KEY
  if (text === undefined) throw invalidArgument('--key', undefined, 'the name of a cache, here or in WARMSWAP_KEY')
  return text
}

function path(directory: string | undefined): string {
  if (directory === undefined) throw invalidArgument('<directory>', undefined, 'a directory')
  return resolve(directory)
}

function number(name: string, text: string | undefined): number | undefined {
  if (text === undefined) return undefined
  const value = Number(text)
  if (text.trim() === '' || !Number.isFinite(value)) throw invalidArgument(name, text, 'a number')
  return value
}

/** A line on standard error that is redrawn; silent where nobody looks at a terminal. */
function progressBar(values: Values): { listener: { onProgress?(progress: Progress): void }; end(): void } {
  if (values.json || !process.stderr.isTTY) return { listener: {}, end: () => {} }
  const clear = '\r\x1b[K'
  return {
    listener: {
      onProgress: ({ phase, files, bytes, totalBytes }) => {
        const share = totalBytes === undefined || totalBytes === 0 ? undefined : Math.min(1, bytes / totalBytes)
        const bar =
          share === undefined
            ? ''
            : ` ${'█'.repeat(Math.round(share * 30)).padEnd(30, '░')} ${Math.round(share * 100)} %`
        process.stderr.write(`${clear}${phase.padEnd(8)}${bar} ${files} files, ${megabytes(bytes)}`)
      },
    },
    end: () => void process.stderr.write(clear),
  }
}

function describe({ outcome, reason, timings, ...facts }: Result): string {
  const rest = Object.entries(facts).filter(
    ([name, value]) => value !== undefined && name !== 'ok' && !(Array.isArray(value) && value.length === 0),
  )
  const lines = rest.map(
    ([name, value]) => `  ${name.padEnd(16)} ${typeof value === 'object' ? JSON.stringify(value) : String(value)}`,
  )
  const took = timings?.total === undefined ? '' : ` in ${Math.round(timings.total)} ms`
  return [`${outcome}${took}${reason === undefined ? '' : `: ${reason}`}`, ...lines].join('\n')
}

function megabytes(bytes: number): string {
  return `${(bytes / 1e6).toFixed(1)} MB`
}
