/** The arguments of all commands: one set of rules for options, help and errors. */

import { readFileSync } from 'node:fs'
import { parseArgs } from 'node:util'
import { WarmswapError } from '../native/errors.js'

/** How an option is given. `text` takes a value; `list` takes one and can be repeated. */
export type OptionKind = 'flag' | 'text' | 'list'

type ValueOf<Kind extends OptionKind> = Kind extends 'flag' ? true : Kind extends 'text' ? string : string[]

/** The values of the options that were given. */
export type Values<Options extends Record<string, OptionKind>> = { [Name in keyof Options]?: ValueOf<Options[Name]> }

/** Options that every command has. */
const COMMON = { help: 'flag', version: 'flag', json: 'flag', quiet: 'flag' } as const satisfies Record<
  string,
  OptionKind
>
const SHORT: Record<string, string> = { h: 'help', v: 'version', q: 'quiet', o: 'close' }

/** Whether it is one of the options that every command has, which may come before the command. */
export function isCommon(arg: string): boolean {
  return Object.keys(COMMON).some(
    (name) => arg === `--${name}` || (arg.length === 2 && SHORT[arg[1] as string] === name && arg.startsWith('-')),
  )
}

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
  const tokens = tokenize(kinds, args)
  const values: Record<string, string | true | string[]> = {}
  const positionals: string[] = []
  // Help first: a user who asks for it may have the rest wrong.
  const isAsked = (name: string): boolean => tokens.some((token) => token.kind === 'option' && token.name === name)
  if (isAsked('help')) throw new Answer(help)
  if (isAsked('version')) throw new Answer(version())
  for (const token of tokens) {
    if (token.kind === 'positional') positionals.push(token.value)
    else if (token.kind === 'option') addOption(values, kinds, token, command)
  }
  if (positionals.length < min || positionals.length > max)
    throw wrongArguments(
      `'warmswap ${command}' takes ${what}, and got ${positionals.length} argument${positionals.length === 1 ? '' : 's'}. Run 'warmswap ${command} --help' for its usage`,
    )
  return { values: values as Parsed<Options>['values'], positionals }
}

/**
 * Divides the arguments of a group of commands, such as 'cache', into the name of the command and the rest. Options may
 * come before the name: `options` are those of all commands of the group, so that the value of one is not taken for it.
 */
export function splitCommand(
  options: Record<string, OptionKind>,
  args: readonly string[],
): { name: string | undefined; rest: string[] } {
  const first = tokenize({ ...options, ...COMMON }, args).find(({ kind }) => kind !== 'option')
  if (first?.kind !== 'positional') return { name: undefined, rest: [...args] }
  return { name: first.value, rest: args.filter((_, index) => index !== first.index) }
}

function tokenize(kinds: Record<string, OptionKind>, args: readonly string[]) {
  const shorts = Object.entries(SHORT).filter(([, name]) => Object.hasOwn(kinds, name))
  return parseArgs({
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
  }).tokens
}

interface OptionToken {
  name: string
  rawName: string
  value?: string | undefined
  inlineValue?: boolean | undefined
}

function addOption(
  values: Record<string, string | true | string[]>,
  kinds: Record<string, OptionKind>,
  { name, rawName, value, inlineValue }: OptionToken,
  command: string,
): void {
  const kind = Object.hasOwn(kinds, name) ? kinds[name] : undefined
  const known = Object.keys(kinds)
    .map((each) => `--${each}`)
    .join(', ')
  if (kind === undefined)
    throw wrongArguments(`unknown option '${rawName}' of '${`warmswap ${command}`.trim()}'. Known options: ${known}`)
  if (kind === 'flag') {
    if (value !== undefined) throw wrongArguments(`option '${rawName}' takes no value`)
    if (values[name]) throw repeated(rawName)
    values[name] = true
    return
  }
  // A value that looks like an option means that the value was forgotten. A negative number is a value (--level -7).
  if (value === undefined || value === '' || (!inlineValue && /^-(?!\d)./.test(value)))
    throw wrongArguments(`option '${rawName}' needs a value. A value that begins with '-' is written as ${rawName}=-x`)
  if (kind === 'list') values[name] = [...((values[name] as string[] | undefined) ?? []), value]
  else if (values[name] !== undefined) throw repeated(rawName)
  else values[name] = value
}

function repeated(name: string): WarmswapError {
  return wrongArguments(`option '${name}' was given more than once. Expected it once`)
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
  if (!/^-?\d{1,15}$/.test(text)) throw wrongArguments(`Invalid ${name}: '${text}'. Expected an integer`)
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
  if (digits === undefined || factor === undefined)
    throw wrongArguments(`Invalid ${name}: '${text}'. Expected ${expected}`)
  return rounded(Number(digits) * factor)
}
