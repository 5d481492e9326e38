/**
 * `warmswap bundles run`: keeps a generation for a command of any language.
 *
 * The command inherits the descriptor of the pin, so that the generation is kept as long as the command runs, also if
 * this program is killed.
 */

import { statSync } from 'node:fs'
import { resolve } from 'node:path'
import { type BundleStore, type Pin, descriptorOf } from '../bundles/index.js'
import { countOf, durationOf, parse, wrongArguments } from './arguments.js'
import { HELP, OPTIONS } from './bundles-help.js'
import { openExisting } from './bundles-store.js'
import { Signals, execute } from './lock-run.js'

const USAGE = "options, then '--' and the command"
const DEFAULT_EXPIRY = '1d'

export async function run(args: string[]): Promise<number> {
  const separator = args.indexOf('--')
  const own = separator < 0 ? args : args.slice(0, separator)
  const [command, ...rest] = separator < 0 ? [] : args.slice(separator + 1)
  const { values } = parse('bundles run', HELP, OPTIONS.run, own, { what: USAGE })
  if (!command) throw wrongArguments(`the command to run is missing. Expected ${USAGE}`)
  if (values.expires !== undefined && values.name === undefined)
    throw wrongArguments("option '--expires' needs '--name'")
  const generation = countOf('--generation', values.generation)
  const cwd = values.cwd === undefined ? undefined : existingDirectory(values.cwd)
  const expiresAt = expiryOf(values.expires ?? DEFAULT_EXPIRY)
  const timeoutMs = durationOf('--timeout', values.timeout)
  await using store = await openExisting(values.store, timeoutMs === undefined ? {} : { timeoutMs })
  const signals = new Signals()
  using pin = await pinOf(store, {
    ...(generation === undefined ? {} : { generation }),
    ...(values.name === undefined ? {} : { name: values.name, expiresAt }),
  })
  if (signals.exitCode !== undefined) return signals.exitCode
  const inherited = process.platform === 'win32' ? undefined : descriptorOf(pin)
  const held = {
    env: { WARMSWAP_GENERATION: String(pin.generation.number), WARMSWAP_GENERATION_PATH: pin.path },
    ...(inherited === undefined ? {} : { inherited }),
    lost: new AbortController().signal,
    started: () => {},
    release: async () => {},
  }
  return await execute(command, rest, held, signals, cwd ?? pin.path)
}

/** The system would report a missing working directory as a missing command. */
function existingDirectory(given: string): string {
  const path = resolve(given)
  if (statSync(path, { throwIfNoEntry: false })?.isDirectory()) return path
  throw wrongArguments(`Invalid --cwd: '${path}' is not a directory, or does not exist`)
}

/** The last time that a Date can have. */
const LAST_TIME = 8.64e15

function expiryOf(text: string): number {
  const ms = durationOf('--expires', text) as number
  const time = Date.now() + ms
  if (ms > 0 && time <= LAST_TIME) return time
  throw wrongArguments(`Invalid --expires: '${text}'. Expected a time above 0, such as 7d`)
}

async function pinOf(
  store: BundleStore,
  options: { generation?: number; name?: string; expiresAt?: number },
): Promise<Pin> {
  const { name, expiresAt, ...which } = options
  return name === undefined || expiresAt === undefined
    ? store.pin(which)
    : await store.pin({ ...which, name, expiresAt })
}
