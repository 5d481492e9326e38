/** The arguments of all commands: one set of rules for options, help and errors. */

import { readFileSync } from 'node:fs'
import { parseArgs } from 'node:util'
import { WarmswapError } from '../native/errors.js'

/** How an option is given. `text` takes a value; `list` takes one and can be repeated. */
export type OptionKind = 'flag' | 'text' | 'list'

type ValueOf<Kind extends OptionKind> = Kind extends 'flag' ? true : Kind extends 'text' ? string : string[]

/** The values of the options that were given. */
export type Values<Options extends Record<string, OptionKind>> = { [Name in keyof Options]?: ValueOf<Options[Name]> }

/** Options of each command. */
const COMMON = { help: 'flag', version: 'flag', json: 'flag', quiet: 'flag' } as const satisfies Record<
  string,
  OptionKind
>
const SHORT: Record<string, string> = { h: 'help', v: 'version', q: 'quiet', o: 'close' }

export interface Parsed<Options extends Record<string, OptionKind>> {
  values: Values<Options & typeof COMMON>
  positionals: string[]
}

/** Thrown for --help and --version: what to print instead of running the command. */
export class Answer {
  constructor(readonly text: string) {}
}

/** A mistake in the arguments: one line, and exit code 2. */
export function wrongArguments(message: string): WarmswapError {
  return new WarmswapError('ERR_INVALID_ARGUMENT', message)
}

/**
 * Parses the arguments of `command`, such as 'cache save'. An unknown option, an option without its value, a flag with a
 * value and a repeated option are errors. They name no value: it can be a secret.
 *
 * @throws {Answer} for --help and --version.
 * @throws {WarmswapError} ERR_INVALID_ARGUMENT.
 */
export function parse<Options extends Record<string, OptionKind>>(
  command: string,
  help: string,
  options: Options,
  args: readonly string[],
  { min = 0, max = min, what = 'arguments' }: { min?: number; max?: number; what?: string } = {},
): Parsed<Options> {
  const kinds: Record<string, OptionKind> = { ...options, ...COMMON }
  const shorts = Object.entries(SHORT).filter(([, name]) => Object.hasOwn(kinds, name))
  const { tokens } = parseArgs({
    args: [...args],
    strict: false,
    allowPositionals: true,
    tokens: true,
    options: Object.fromEntries(
      Object.entries(kinds).map(([name, kind]) => {
        const short = shorts.find(([, full]) => full === name)?.[0]
        return [
          name,
          { type: kind === 'flag' ? 'boolean' : 'string', multiple: true, ...(short && { short }) } as const,
        ]
      }),
    ),
  })
  const values: Record<string, string | true | string[]> = {}
  const positionals: string[] = []
  // Help first: a user who asks for it may have the rest wrong.
  const isAsked = (name: string): boolean => tokens.some((token) => token.kind === 'option' && token.name === name)
  if (isAsked('help')) throw new Answer(help)
  if (isAsked('version')) throw new Answer(version())
  for (const token of tokens) {
    if (token.kind === 'positional') positionals.push(token.value)
    else if (token.kind === 'option') take(values, kinds, token, command)
  }
  if (positionals.length < min || positionals.length > max)
    throw wrongArguments(
      `'warmswap ${command}' takes ${what}, and got ${positionals.length} argument${positionals.length === 1 ? '' : 's'}. Run 'warmswap ${command} --help' for its usage`,
    )
  return { values: values as Parsed<Options>['values'], positionals }
}

function take(
  values: Record<string, string | true | string[]>,
  kinds: Record<string, OptionKind>,
  { name, rawName, value }: { name: string; rawName: string; value?: string | undefined },
  command: string,
): void {
  const kind = Object.hasOwn(kinds, name) ? kinds[name] : undefined
  const known = Object.keys(kinds)
    .map((each) => `--${each}`)
    .join(', ')
  if (kind === undefined)
    throw wrongArguments(`unknown option '${rawName}' of 'warmswap ${command}'. Known options: ${known}`)
  if (kind === 'flag') {
    if (value !== undefined) throw wrongArguments(`option '${rawName}' takes no value`)
    if (values[name]) throw repeated(rawName)
    values[name] = true
    return
  }
  // As parseArgs() does: a value that looks like an option is one that was forgotten.
  if (value === undefined || value === '' || (value.length > 1 && value.startsWith('--')))
    throw wrongArguments(`option '${rawName}' needs a value. A value that begins with '-' is written as ${rawName}=-x`)
  if (kind === 'list') values[name] = [...((values[name] as string[] | undefined) ?? []), value]
  else if (values[name] !== undefined) throw repeated(rawName)
  else values[name] = value
}

function repeated(name: string): WarmswapError {
  return wrongArguments(`option '${name}' was given more than once. It takes one value`)
}

export function version(): string {
  const file = new URL('../package.json', import.meta.url)
  return (JSON.parse(readFileSync(file, 'utf8')) as { version: string }).version
}

const SIZES: Record<string, number> = {
  '': 1,
  b: 1,
  k: 1e3,
  kb: 1e3,
  m: 1e6,
  mb: 1e6,
  g: 1e9,
  gb: 1e9,
  t: 1e12,
  tb: 1e12,
  kib: 2 ** 10,
  mib: 2 ** 20,
  gib: 2 ** 30,
  tib: 2 ** 40,
}
const TIMES: Record<string, number> = { '': 1, ms: 1, s: 1e3, m: 60e3, min: 60e3, h: 3_600e3, d: 86_400e3 }

/** A whole number of bytes, such as 1000, 64MB or 2GiB. */
export function sizeOf(name: string, text: string | undefined): number | undefined {
  return withUnit(name, text, SIZES, 'a number of bytes, such as 1000, 64MB or 2GiB', Math.round)
}

/** Milliseconds, such as 500, 30s or 5min. */
export function durationOf(name: string, text: string | undefined): number | undefined {
  return withUnit(
    name,
    text,
    TIMES,
    'a number of milliseconds, or one with a unit such as 30s or 5min',
    (value) => value,
  )
}

/** A whole number. */
export function countOf(name: string, text: string | undefined): number | undefined {
  if (text === undefined) return undefined
  if (!/^-?\d{1,15}$/.test(text)) throw wrongArguments(`${name} is '${text}'. Expected a whole number`)
  return Number(text)
}

function withUnit(
  name: string,
  text: string | undefined,
  units: Record<string, number>,
  expected: string,
  rounded: (value: number) => number,
): number | undefined {
  if (text === undefined) return undefined
  const [, digits, unit = ''] = /^(\d+(?:\.\d+)?) ?([a-z]*)$/i.exec(text.trim()) ?? []
  const factor = units[unit.toLowerCase()]
  if (digits === undefined || factor === undefined) throw wrongArguments(`${name} is '${text}'. Expected ${expected}`)
  return rounded(Number(digits) * factor)
}
