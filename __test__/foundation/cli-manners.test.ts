/** The conventions that all commands share: each row of the table is one command, each test one convention. */

import { mkdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { beforeAll, describe, expect, test } from 'vitest'
import { progressLine } from '../../src/js/cli/progress.js'
import { duration, size } from '../../src/js/cli/text.js'
import { type CliResult, runAll } from '../support/cli.js'
import { repository } from '../support/paths.js'
import { makeTemp, removeTemp } from '../support/temp.js'
import { makeTree } from '../support/trees.js'

interface Row {
  command: string
  /** Arguments of a call that succeeds; $DIR is a folder of this file. */
  args: string[]
  /** One of its own options. */
  own?: string
  /** A single option, given twice. */
  twice: string[]
  /** Arguments that a user can get wrong, and what the error says. */
  wrong: [string[], RegExp]
}

const store = ['--store', 'file://$DIR/store', '--key', 'site']
const bundles = ['--store', '$DIR/bundles']
const storeTwice = ['--store', 'a', '--store', 'b']
const keyTwice = ['--key', 'a', '--key', 'b']

/** In this order: each finds what the ones before it made. */
const rows: Row[] = [
  {
    command: 'lock run',
    args: ['$DIR/locks/a.lock', '--', 'true'],
    own: '--timeout',
    twice: ['--timeout', '1s', '--timeout', '2s'],
    wrong: [['$DIR/locks/a.lock', 'true'], /takes one path, then '--' and the command, and got 2 arguments/],
  },
  {
    command: 'lock ls',
    args: ['$DIR/locks'],
    twice: ['--json', '--json'],
    wrong: [['a', 'b'], /takes at most one directory or store, and got 2 arguments/],
  },
  {
    command: 'lock why',
    args: ['$DIR/locks/a.lock'],
    twice: ['-q', '--quiet'],
    wrong: [[], /takes the path of one lock, and got 0 arguments/],
  },
  {
    command: 'lock sweep',
    args: ['$DIR/locks'],
    own: '--unused-ms',
    twice: ['--unused-ms', '1d', '--unused-ms', '2d'],
    wrong: [['$DIR/locks', '--unused-ms', 'soon'], /Invalid --unused-ms: 'soon'. Expected a number of milliseconds/],
  },
  {
    command: 'cache save',
    args: ['$DIR/tree', ...store],
    own: '--conditions',
    twice: keyTwice,
    wrong: [['$DIR/absent', ...store], /'\/.*\/absent' is not a directory, or does not exist/],
  },
  {
    command: 'cache restore',
    args: ['$DIR/into', ...store],
    own: '--symlinks',
    twice: keyTwice,
    wrong: [['$DIR/into', ...store, '--symlinks', 'loose'], /Invalid --symlinks: 'loose'\. Expected .*'relative'/],
  },
  {
    command: 'cache inspect',
    args: store,
    own: '--deadline-ms',
    twice: keyTwice,
    wrong: [['$DIR/into', ...store], /takes no argument after the command/],
  },
  {
    command: 'cache prune',
    args: store,
    own: '--keep',
    twice: ['--keep', '1', '--keep', '2'],
    wrong: [[...store, '--keep', 'two'], /Invalid --keep: 'two'. Expected an integer/],
  },
  {
    command: 'cache remove',
    args: store,
    own: '--key',
    twice: keyTwice,
    wrong: [store.slice(0, 2), /--key is missing/],
  },
  {
    command: 'cache probe',
    args: store.slice(0, 2),
    own: '--store',
    twice: ['--store', 'memory:', '--store', 'memory:'],
    wrong: [['--store', '--json'], /option '--store' needs a value/],
  },
  {
    command: 'doctor',
    args: ['$DIR', ...store.slice(0, 2)],
    own: '--store',
    twice: ['--store', 'memory:', '--store', 'memory:'],
    wrong: [['a', 'b'], /takes at most one directory/],
  },
  {
    command: 'bundles publish',
    args: ['$DIR/tree', ...bundles],
    own: '--link',
    twice: storeTwice,
    wrong: [['$DIR/absent', ...bundles], /'\/.*\/absent' is not a directory, or does not exist/],
  },
  {
    command: 'bundles ls',
    args: bundles,
    own: '--store',
    twice: storeTwice,
    wrong: [['x', ...bundles], /takes no argument after the command/],
  },
  {
    command: 'bundles current',
    args: bundles,
    twice: storeTwice,
    wrong: [['--store', '$DIR/absent'], /'\/.*\/absent' is not a store of bundles/],
  },
  {
    command: 'bundles pins',
    args: bundles,
    twice: storeTwice,
    wrong: [['x', ...bundles], /takes no argument after the command/],
  },
  {
    command: 'bundles verify',
    args: bundles,
    twice: storeTwice,
    wrong: [['one', ...bundles], /Invalid generation: 'one'. Expected an integer/],
  },
  {
    command: 'bundles rollback',
    args: ['1', ...bundles],
    own: '--link',
    twice: storeTwice,
    wrong: [bundles, /takes one generation, and got 0 arguments/],
  },
  {
    command: 'bundles collect',
    args: bundles,
    own: '--max-bytes',
    twice: storeTwice,
    wrong: [[...bundles, '--max-bytes', 'lots'], /Invalid --max-bytes: 'lots'. Expected a number of bytes/],
  },
  {
    command: 'bundles run',
    args: [...bundles, '--', 'true'],
    own: '--name',
    twice: storeTwice,
    wrong: [[...bundles, 'true'], /takes options, then '--' and the command, and got 1 argument/],
  },
]
const groups = ['', 'lock', 'cache', 'bundles']
const all = [...groups, ...rows.map(({ command }) => command)]
const words = (command: string): string[] => command.split(' ').filter((word) => word !== '')

/** What each manner passes, for each command. `lock run` has a command of its own after '--', so options come first. */
const calls: Record<string, string[]> = {}
for (const command of all) {
  for (const option of ['-h', '--help', '-v', '--version'])
    calls[`${command} ${option}`] = [...words(command), option, '--store']
  calls[`${command} --bogus`] = [...words(command), '--bogus=secret']
  calls[`${command} --json --bogus`] = [...words(command), '--json', '--bogus']
}
for (const manner of ['', '--json', '--quiet'])
  for (const { command, args } of rows)
    calls[`${command} ${manner} ok`] = [...words(command), ...(manner === '' ? [] : [manner]), ...args]
for (const { command, args, twice, wrong } of rows) {
  calls[`-q ${command} ok`] = ['-q', ...words(command), ...args]
  calls[`${command} twice`] = [...words(command), ...twice, ...args.filter((arg) => !twice.includes(arg))]
  calls[`${command} wrong`] = [...words(command), ...wrong[0]]
}
const more = {
  'unknown command': ['frobnicate'],
  'unknown lock command': ['lock', 'frobnicate'],
  'unknown bundles command': ['bundles', 'frobnicate', ...bundles],
  'unknown cache command': ['cache', 'frobnicate', ...store],
  'no cache command': ['cache', ...store],
  help: ['help', 'cache'],
  nothing: [],
  'a failed system call': ['lock', 'ls', '/dev/null'],
  'a folder that is missing': ['lock', 'ls', '$DIR/absent'],
  'a value like a command': ['cache', '--key', 'save', 'inspect', ...store.slice(0, 2)],
  'a negative value': ['cache', 'save', '$DIR/tree', ...store, '--level', '-7'],
  'a bad time': ['cache', 'probe', ...store.slice(0, 2), '--deadline-ms', '5weeks'],
  'a bad size': ['cache', 'save', '$DIR/tree', ...store, '--max-bytes', 'lots'],
  units: ['cache', 'save', '$DIR/tree', ...store, '--deadline-ms', '1.5min', '--max-bytes', '2GiB'],
}
Object.assign(calls, more)

let results: Record<string, CliResult> = {}
const resultOf = (name: string): CliResult => {
  const result = results[name]
  if (result === undefined) throw new Error(`no call '${name}'`)
  return result
}
const usageError = /^warmswap: [^\n]+ \[ERR_INVALID_ARGUMENT\]\n$/

let directory = ''
beforeAll(() => {
  directory = makeTemp('/dev/shm')
  mkdirSync(join(directory, 'locks'))
  makeTree(join(directory, 'tree'))
  const names = Object.keys(calls)
  const lines = names.map((name) => (calls[name] as string[]).map((arg) => arg.replaceAll('$DIR', directory)))
  results = Object.fromEntries(runAll(lines).map((result, index) => [names[index], result]))
  return () => removeTemp(directory)
})

test.each(all)("'%s -h' and --help print the usage, whatever else is wrong", (command) => {
  const { code, out, errors } = resultOf(`${command} --help`)
  expect({ code, errors }).toEqual({ code: 0, errors: '' })
  expect(out).toMatch(/^Usage:/)
  expect(resultOf(`${command} -h`)).toEqual({ code, out, errors })
  for (const word of words(command)) expect(out).toContain(word)
})

test.each(all)("'%s -v' and --version print the version", (command) => {
  const { version } = JSON.parse(readFileSync(join(repository, 'package.json'), 'utf8')) as { version: string }
  for (const option of ['-v', '--version'])
    expect(resultOf(`${command} ${option}`)).toEqual({ code: 0, out: `${version}\n`, errors: '' })
})

test.each(all)("'%s' with an unknown option lists the known ones, which are all in its help", (command) => {
  const { code, out, errors } = resultOf(`${command} --bogus`)
  expect({ code, out }).toEqual({ code: 2, out: '' })
  expect(errors).toMatch(usageError)
  expect(errors).toContain("unknown option '--bogus'")
  expect(errors).not.toContain('secret')
  const known = errors.split('Known options: ')[1]?.match(/--[a-z-]+/g) ?? []
  const own = rows.find((row) => row.command === command)?.own
  expect(known).toEqual(expect.arrayContaining(['--help', '--version', '--json', '--quiet', ...(own ? [own] : [])]))
  for (const option of known) expect(resultOf(`${command} --help`).out, option).toContain(option)
})

test.each(all)("'%s --json' reports an error as an object too", (command) => {
  const { code, out, errors } = resultOf(`${command} --json --bogus`)
  expect(code).toBe(2)
  expect(JSON.parse(out)).toEqual({
    outcome: 'error',
    code: 'ERR_INVALID_ARGUMENT',
    reason: expect.stringContaining("unknown option '--bogus'"),
  })
  expect(errors).toMatch(usageError)
})

describe.each(rows)('$command', ({ command, wrong }) => {
  test('succeeds', () => {
    expect(resultOf(`${command}  ok`)).toMatchObject({ code: 0, errors: '' })
  })

  test('--json prints one JSON value, and nothing else', () => {
    const { code, out, errors } = resultOf(`${command} --json ok`)
    expect({ code, errors }).toEqual({ code: 0, errors: '' })
    // The output of `run` is that of its command.
    if (command.endsWith(' run')) expect(out).toBe('')
    else expect(JSON.parse(out)).toBeTypeOf('object')
  })

  test('--quiet prints nothing, also before the command', () => {
    const silent = { code: 0, out: '', errors: '' }
    expect(resultOf(`${command} --quiet ok`)).toEqual(silent)
    expect(resultOf(`-q ${command} ok`)).toEqual(silent)
  })

  test('a single option that is given twice is an error', () => {
    const { code, errors } = resultOf(`${command} twice`)
    expect(code).toBe(2)
    expect(errors).toMatch(usageError)
    expect(errors).toContain('was given more than once')
  })

  test('an error of the user is one line', () => {
    const { code, out, errors } = resultOf(`${command} wrong`)
    expect({ code, out: out.replace(/^\{.*\}\n$/, '') }).toEqual({ code: 2, out: '' })
    expect(errors).toMatch(usageError)
    expect(errors).toMatch(wrong[1])
  })
})

test('an unknown or a missing command is one line that lists the known ones', () => {
  for (const [name, expected] of [
    ['unknown command', /unknown command 'frobnicate'. Known commands: lock, cache, conformance, doctor, bundles/],
    ['unknown lock command', /unknown command 'frobnicate' of 'warmswap lock'. Known commands: ls, why, sweep, run/],
    ['unknown cache command', /'warmswap cache'. Known commands: save, restore, inspect, ensure, prune, remove, probe/],
    [
      'unknown bundles command',
      /'warmswap bundles'. Known commands: ls, current, pins, verify, rollback, collect, publish, run/,
    ],
    ['no cache command', /the command is missing. Known commands: save/],
  ] as const) {
    const { code, out, errors } = resultOf(name)
    expect({ code, out }, name).toEqual({ code: 2, out: '' })
    expect(errors, name).toMatch(usageError)
    expect(errors, name).toMatch(expected)
  }
  expect(resultOf('help')).toEqual(resultOf('cache --help'))
  expect(resultOf('nothing')).toEqual(resultOf(' --help'))
})

test('a failed system call is one line with its code, and a missing folder has no locks', () => {
  const { code, errors } = resultOf('a failed system call')
  expect(code).toBe(1)
  expect(errors).toMatch(/^warmswap: ENOTDIR[^\n]+'\/dev\/null' \[ENOTDIR\]\n$/)
  expect(resultOf('a folder that is missing')).toEqual({ code: 0, out: '', errors: '' })
})

test('values: of an option that comes before the command, negative, with units, or none of these', () => {
  expect(resultOf('a value like a command')).toMatchObject({
    code: 3,
    out: expect.stringContaining('nothing under the'),
  })
  expect(resultOf('a negative value').code).toBe(0)
  expect(resultOf('units').code).toBe(0)
  expect(resultOf('a bad time').errors).toMatch(
    /Invalid --deadline-ms: '5weeks'. Expected a number of milliseconds, or/,
  )
  expect(resultOf('a bad size').errors).toMatch(/Invalid --max-bytes: 'lots'. Expected a number of bytes, such as/)
})

test('a line of progress never wraps, and has a bar where there is room for one', () => {
  for (let columns = 1; columns <= 200; columns += 1) {
    for (const totalBytes of [undefined, 1e9])
      for (const bytes of [0, 5e8, 1e9]) {
        const line = progressLine(
          { phase: 'unpack', files: 123_456, bytes, ...(totalBytes && { totalBytes }) },
          columns,
        )
        expect(line.length, `${columns} columns: '${line}'`).toBeLessThan(columns)
      }
  }
  const half = { phase: 'unpack', files: 1, bytes: 5e8, totalBytes: 1e9 } as const
  expect(progressLine(half, 80)).toBe(`unpack   ${'█'.repeat(15)}${'░'.repeat(15)} 50 % 1 file, 500 MB`)
  expect(progressLine(half, 40)).toBe('unpack   50 % 1 file, 500 MB')
  expect(progressLine({ phase: 'pack', files: 2, bytes: 5e8 }, 80)).toBe('pack     2 files, 500 MB')
})

test('sizes and times are human-readable', () => {
  expect([0, 999, 1_000, 1_240, 99_400, 99_500, 999_499, 999_500, 2.5e12, 5e15].map(size)).toEqual([
    '0 B',
    '999 B',
    '1.0 kB',
    '1.2 kB',
    '99.4 kB',
    '100 kB',
    '999 kB',
    '1.0 MB',
    '2.5 TB',
    '5000 TB',
  ])
  expect([0, 999, 1_000, 9_940, 10_000, 119_999, 120_000, 7_199_000, 7_200_000, 172_800_000].map(duration)).toEqual([
    '0 ms',
    '999 ms',
    '1.0 s',
    '9.9 s',
    '10 s',
    '120 s',
    '2 min',
    '120 min',
    '2 h',
    '2 d',
  ])
})
