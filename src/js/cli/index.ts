#!/usr/bin/env node
/** `warmswap <command>`: each command is one file next to this one. */

import { isWarmswapError } from '../native/errors.js'
import { Answer, isCommon, parse, wrongArguments } from './arguments.js'
import { bundles } from './bundles.js'
import { cache } from './cache.js'
import { conformance } from './conformance.js'
import { doctor } from './doctor.js'
import { lock } from './lock.js'

/** Runs with the arguments after its name; resolves with the exit code. */
type Command = (args: string[]) => number | Promise<number>

const commands: Record<string, { run: Command; help: string }> = {
  lock: { run: lock, help: 'ls | why | sweep | run: which process holds a lock, since when; hold one for a command' },
  cache: { run: cache, help: 'save | restore | ensure | inspect | prune | remove | probe | trust: caches in a store' },
  conformance: { run: conformance, help: 'whether a program in another language implements the on-disk formats' },
  doctor: { run: doctor, help: 'what this machine and the filesystem of a directory guarantee, and why' },
  bundles: {
    run: bundles,
    help: 'ls | current | pins | verify | rollback | collect | publish | run: the generations of a store',
  },
}

function usage(): string {
  const lines = Object.entries(commands).map(([name, { help }]) => `  warmswap ${name.padEnd(12)} ${help}`)
  return [
    'Usage:',
    ...lines,
    '  warmswap --version',
    "Each command takes --json, --quiet (-q), --help (-h) and --version (-v). Run 'warmswap <command> --help' for its options.",
  ].join('\n')
}

async function main(args: string[]): Promise<number> {
  const at = args.findIndex((arg) => !isCommon(arg))
  const name = at < 0 ? undefined : (args[at] as string)
  const rest = args.filter((_, index) => index !== at)
  if (args.length === 0) throw new Answer(usage())
  if (name === 'help') {
    const topic = rest[0]
    if (topic === undefined || !Object.hasOwn(commands, topic)) throw new Answer(usage())
    return await (commands[topic] as { run: Command }).run(['--help'])
  }
  const command = name !== undefined && Object.hasOwn(commands, name) ? commands[name] : undefined
  if (command !== undefined) return await command.run(rest)
  // For --help and --version, and for an unknown option.
  parse('', usage(), {}, name === undefined || name.startsWith('-') ? args : args.slice(0, at), { max: args.length })
  throw wrongArguments(
    `${name === undefined ? 'the command is missing' : `unknown command '${name}'`}. Known commands: ${Object.keys(commands).join(', ')}. Run 'warmswap --help' for their usage`,
  )
}

/** Prints the error as one line, and with --json as an object too. Returns the exit code. */
function fail(error: unknown): number {
  if (error instanceof Answer) {
    console.log(error.text)
    return 0
  }
  const { code, message, syscall } = error as { code?: unknown; message?: unknown; syscall?: unknown }
  const isOurs = isWarmswapError(error)
  // A failed system call is external. Any other error is a fault of this program, and the stack locates it.
  if (!isOurs && (typeof code !== 'string' || syscall === undefined)) {
    console.error(error)
    return 1
  }
  const separator = process.argv.indexOf('--')
  if (process.argv.slice(2, separator < 0 ? undefined : separator).includes('--json'))
    console.log(JSON.stringify({ outcome: 'error', code, reason: message }))
  console.error(`warmswap: ${String(message).replaceAll('\n', ' ')} [${String(code)}]`)
  return code === 'ERR_INVALID_ARGUMENT' ? 2 : 1
}

// 'warmswap lock ls | head -1' closes the pipe early.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code !== 'EPIPE') throw error
})

main(process.argv.slice(2)).then(
  (code) => (process.exitCode = code),
  (error: unknown) => (process.exitCode = fail(error)),
)
