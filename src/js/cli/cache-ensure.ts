/** `warmswap cache ensure`: `cache.ensure()` with a command of any language as its build. */

import { spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { constants } from 'node:os'
import { resolve } from 'node:path'
import type { EnsureBuild, EnsureEvent } from '../caches/index.js'
import { isWarmswapError } from '../native/errors.js'
import {
  type OptionKind,
  type Values,
  countOf,
  durationOf,
  parse,
  sizeOf,
  splitCommand,
  wrongArguments,
} from './arguments.js'
import { endingSignals, present } from './cache-call.js'
import { HELP, OPTIONS } from './cache-help.js'
import { openStore } from './cache-open.js'
import { EXIT, inShellWords } from './cache-report.js'
import { duration } from './text.js'

type Given = Values<(typeof OPTIONS)['ensure']> & Values<{ json: 'flag'; quiet: 'flag' }>

interface Call {
  values: Given
  command: string[]
}

/** What shells answer. */
const CANNOT_START: Record<string, number> = { ENOENT: 127, EACCES: 126 }

/** The arguments, if they are those of `ensure`. */
export function ensureArguments(args: string[]): Call | undefined {
  const separator = args.indexOf('--')
  const own = separator < 0 ? args : args.slice(0, separator)
  const all: Record<string, OptionKind> = Object.assign({}, ...Object.values(OPTIONS))
  const { name, rest } = splitCommand(all, own)
  if (name !== 'ensure') return undefined
  const { values } = parse('cache ensure', HELP, OPTIONS.ensure as Record<string, OptionKind>, rest, {
    what: "no argument but the command after '--'",
  })
  const command = separator < 0 ? [] : args.slice(separator + 1)
  if (!command[0]) throw wrongArguments("the command is missing. Expected '--' and the command that builds")
  return { values: values as Given, command }
}

export async function cacheEnsure({ values, command }: Call): Promise<number> {
  const ending = endingSignals()
  const store = required('--store', values.store ?? process.env.WARMSWAP_STORE)
  const key = required('--key', values.key ?? process.env.WARMSWAP_KEY)
  const into = resolve(required('--into', values.into))
  const build = new CommandBuild(command, values)
  try {
    await using cache = openStore(store, values)
    const result = await cache.ensure(key, {
      fingerprint: fingerprintOf(values),
      into,
      build: (context) => build.run(context),
      signal: ending.signal,
      // The lease of a command that a signal ends is given up, not lost.
      onEvent: (event) => {
        if (!values.quiet && !ending.signal.aborted) report(event)
      },
      ...optionsOf(values),
    })
    const { restore, ...facts } = result
    if (values.json) console.log(JSON.stringify({ outcome: result.role, ...facts, ...present({ restore }) }))
    else if (!values.quiet)
      console.log(`${result.role} in ${duration(result.ms)}${result.reason === undefined ? '' : `: ${result.reason}`}`)
    return 0
  } catch (error) {
    if (ending.code !== undefined) {
      if (values.json) console.log(JSON.stringify({ outcome: 'aborted', reason: 'ended by a signal' }))
      return ending.code
    }
    if (isWarmswapError(error) && error.code === 'ERR_INVALID_ARGUMENT')
      throw wrongArguments(inShellWords(error.message))
    if (error !== build.failure && isWarmswapError(error)) {
      if (error.outcome === undefined) throw error
      const reason = inShellWords(error.message)
      if (values.json) console.log(JSON.stringify({ outcome: error.outcome, reason }))
      console.error(`warmswap: ${reason}`)
      return EXIT[error.outcome] ?? 1
    }
    const reason = error instanceof Error ? error.message : String(error)
    if (values.json) console.log(JSON.stringify({ outcome: 'failed', reason }))
    console.error(`warmswap: ${reason}`)
    return error === build.failure ? build.exitCode : 1
  }
}

/** Runs the command for each build. */
class CommandBuild {
  readonly #command: string[]
  readonly #isJson: boolean
  failure: Error | undefined
  exitCode = 1

  constructor(command: string[], values: Given) {
    this.#command = command
    this.#isJson = values.json ?? false
  }

  async run({ dir, signal }: EnsureBuild): Promise<void> {
    const [program = '', ...args] = this.#command
    const env = { ...process.env, WARMSWAP_BUILD_DIR: dir }
    const child = spawn(program, args, { env, stdio: ['inherit', this.#isJson ? 2 : 'inherit', 'inherit'] })
    const stop = (): void => void child.kill('SIGTERM')
    signal.addEventListener('abort', stop, { once: true })
    if (signal.aborted) stop()
    const ended = await new Promise<string | undefined>((done) => {
      child.once('error', (error: NodeJS.ErrnoException) => {
        this.exitCode = CANNOT_START[error.code ?? ''] ?? 1
        done(`'${program}' cannot be started: ${error.code}`)
      })
      child.once('exit', (code, name) => {
        if (code === 0) return done(undefined)
        this.exitCode = code ?? 128 + (name === null ? 0 : constants.signals[name])
        done(`'${program}' ended with ${name ?? `exit code ${code}`}`)
      })
    })
    signal.removeEventListener('abort', stop)
    if (ended === undefined) return
    this.failure = new Error(ended)
    throw this.failure
  }
}

function report(event: EnsureEvent): void {
  if (event.kind === 'lost') console.error('warmswap: the lease was lost; the command is stopped')
  else if (event.kind === 'building')
    console.error(`warmswap: building${event.alone === undefined ? '' : ` alone: ${event.alone}`}`)
  else {
    const { holder, phase, leaseLeftMs } = event
    const doing = phase === '' ? 'is building' : `is building (${phase})`
    console.error(
      `warmswap: waiting: process ${holder.pid} on '${holder.host}' ${doing}. Take-over after ${duration(leaseLeftMs)} of silence`,
    )
  }
}

/** The text of --fingerprint, and a hash of the files. */
function fingerprintOf(values: Given): string {
  const files = values['fingerprint-file'] ?? []
  if (values.fingerprint === undefined && files.length === 0)
    throw wrongArguments(
      '--fingerprint is missing. Expected it, or --fingerprint-file, to identify the inputs of the command',
    )
  if (files.length === 0) return values.fingerprint as string
  const hash = createHash('sha256')
  for (const file of files) hash.update(createHash('sha256').update(readInput(file)).digest())
  const digest = `sha256:${hash.digest('hex')}`
  return values.fingerprint === undefined ? digest : `${values.fingerprint} ${digest}`
}

function readInput(file: string): Buffer {
  try {
    return readFileSync(file)
  } catch (error) {
    throw wrongArguments(`--fingerprint-file '${file}' cannot be read: ${(error as NodeJS.ErrnoException).code}`)
  }
}

function optionsOf(values: Given) {
  return present({
    deadlineMs: durationOf('--deadline-ms', values['deadline-ms']),
    restoreDeadlineMs: durationOf('--restore-deadline-ms', values['restore-deadline-ms']),
    uploadDeadlineMs: durationOf('--upload-deadline-ms', values['upload-deadline-ms']),
    ttlMs: durationOf('--ttl-ms', values['ttl-ms']),
    idleMs: durationOf('--idle-ms', values['idle-ms']),
    attempts: countOf('--attempts', values.attempts),
    onFailure: values['on-failure'] as 'share' | undefined,
    mode: values.mode as 'replace' | undefined,
    symlinks: values.symlinks as 'relative' | undefined,
    level: countOf('--level', values.level),
    limits: present({
      maxBytes: sizeOf('--max-bytes', values['max-bytes']),
      maxFiles: countOf('--max-files', values['max-files']),
      maxFileBytes: sizeOf('--max-file-bytes', values['max-file-bytes']),
      maxRatio: countOf('--max-ratio', values['max-ratio']),
      maxMemoryBytes: sizeOf('--max-memory-bytes', values['max-memory-bytes']),
      minFreeBytes: sizeOf('--min-free-bytes', values['min-free-bytes']),
    }),
  })
}

function required(name: string, value: string | undefined): string {
  if (value === undefined)
    throw wrongArguments(`${name} is missing. Expected it, as 'warmswap cache ensure --help' says`)
  return value
}
