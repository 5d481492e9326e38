#!/usr/bin/env node
/** `warmswap <command>`: each command is one file beside this one. */

import { readFileSync } from 'node:fs'
import { isWarmswapError } from '../native/errors.js'
import { cache } from './cache.js'
import { doctor } from './doctor.js'
import { lock } from './lock.js'

/** Runs with the arguments after its name; resolves with the exit code. */
type Command = (args: string[]) => number | Promise<number>

const commands: Record<string, { run: Command; help: string }> = {
  lock: { run: lock, help: 'ls | why | sweep | run: who holds a lock, since when, doing what; hold one for a command' },
  cache: { run: cache, help: 'save, restore, inspect, prune and probe caches in a store' },
  doctor: { run: doctor, help: 'what this machine and the filesystem of a directory guarantee, and why' },
}

function usage(): string {
  const lines = Object.entries(commands).map(([name, { help }]) => `  warmswap ${name.padEnd(8)} ${help}`)
  return ['Usage:', ...lines, '  warmswap --version'].join('\n')
}

function version(): string {
  const file = new URL('../package.json', import.meta.url)
  return (JSON.parse(readFileSync(file, 'utf8')) as { version: string }).version
}

async function main([name, ...args]: string[]): Promise<number> {
  if (name === '--version' || name === '-v') {
    console.log(version())
    return 0
  }
  const command = name !== undefined && Object.hasOwn(commands, name) ? commands[name] : undefined
  if (command === undefined) {
    const asked = name === undefined || name === '--help' || name === 'help'
    ;(asked ? console.log : console.error)(asked ? usage() : `warmswap: unknown command '${name}'\n${usage()}`)
    return asked ? 0 : 2
  }
  return await command.run(args)
}

main(process.argv.slice(2)).then(
  (code) => (process.exitCode = code),
  (error: unknown) => {
    console.error(isWarmswapError(error) ? `warmswap: ${error.message} [${error.code}]` : error)
    process.exitCode = isWarmswapError(error) && error.code === 'ERR_INVALID_ARGUMENT' ? 2 : 1
  },
)
