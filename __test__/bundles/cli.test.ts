/** `warmswap bundles`: what each command does, prints and exits with. */

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { appendFileSync, chmodSync, mkdirSync, readFileSync, readlinkSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { openBundles } from 'warmswap'
import { expect } from 'vitest'
import { start } from '../support/children.js'
import { type CliResult, program, runAll } from '../support/cli.js'
import { test } from '../support/temp.js'

/** Runs command lines of `warmswap bundles`, one after the other. */
const bundles = (root: string, ...calls: string[][]): CliResult[] =>
  runAll(calls.map(([command = '', ...rest]) => ['bundles', command, '--store', root, ...rest]))
const json = (result: CliResult | undefined): never => JSON.parse(result?.out ?? '') as never

function build(folder: string, text: string): string {
  mkdirSync(join(folder, 'lib'), { recursive: true })
  writeFileSync(join(folder, 'main.mjs'), `console.log('${text}')`)
  writeFileSync(join(folder, 'lib/part.mjs'), text)
  return folder
}

test('publish adopts what has changed, and the other commands show and change what is current', ({ memory }) => {
  const [root, link] = [join(memory, 'store'), join(memory, 'dist')]
  const folder = build(join(memory, 'build'), 'one')
  const publish = ['publish', folder, '--link', link, '--require', 'main.mjs', '--keep', '5']
  const [first, again, empty] = bundles(root, publish, [...publish, '--json'], ['pins'])
  expect(first).toMatchObject({ code: 0, out: expect.stringMatching(/^published generation 1 \(2 files, \d+ B\)\n$/) })
  expect(json(again)).toMatchObject({ outcome: 'unchanged', number: 1, files: 2 })
  expect(empty).toEqual({ code: 0, out: '', errors: '' })
  expect(readlinkSync(link)).toBe('store/view')

  build(folder, 'two')
  const [second, listed, current, back, after] = bundles(
    root,
    [...publish, '--meta', '{"commit":"1a2b"}', '--fingerprint', 'f', '--json'],
    ['ls'],
    ['current'],
    ['rollback', '1', '--link', link],
    ['ls', '--json'],
  )
  expect(json(second)).toMatchObject({ outcome: 'published', number: 2, meta: { commit: '1a2b' }, fingerprint: 'f' })
  expect(listed?.out).toMatch(/^ {7}1 {2}2 files, \d+ B, .* ago\n\* {6}2 {2}2 files/)
  expect(current?.out).toBe(`${join(root, 'gens/000002/tree')}\n`)
  expect(back).toMatchObject({ code: 0, out: 'generation 1 is current\n' })
  expect(readFileSync(join(link, 'lib/part.mjs'), 'utf8')).toBe('one')
  expect(json(after)).toMatchObject([
    { number: 1, current: true, names: [] },
    { number: 2, current: false },
  ])

  const damaged = join(root, 'gens/000002/tree/lib/part.mjs')
  chmodSync(damaged, 0o644)
  writeFileSync(damaged, 'other')
  const [wrong, good, collected, nothing] = bundles(
    root,
    ['verify', '2'],
    ['verify', '--json'],
    ['collect', '--keep', '0'],
    ['collect', '--json'],
  )
  expect(wrong).toMatchObject({ code: 5, out: expect.stringContaining('  size     lib/part.mjs') })
  expect(json(good)).toEqual({ ok: true, generation: 1, problems: [] })
  expect(collected?.out).toBe('removed 1, kept 1, pinned 0\n')
  expect(json(nothing)).toEqual({ removed: [], kept: [1], pinned: [], sweptStages: 0 })
})

test('each kind of failure has its exit code and one line', async ({ memory }) => {
  const [root, folder] = [join(memory, 'store'), join(memory, 'build')]
  const alias = join(memory, 'alias')
  mkdirSync(folder)
  symlinkSync(folder, alias)
  await (await openBundles(root)).close()
  const results = bundles(
    root,
    ['current'],
    ['verify'],
    ['run', '--', 'true'],
    ['publish', folder],
    ['publish', build(join(memory, 'full'), 'x'), '--require', 'absent.mjs', '--json'],
    ['rollback', '7'],
    ['rollback', '0'],
    ['publish', folder, '--meta', '{'],
    ['publish', memory],
    ['publish', folder, '--link', folder],
    ['publish', folder, '--durability', 'high'],
    ['publish', folder, '--link', join(folder, 'dist')],
    ['publish', ''],
    ['publish', alias],
    ['run', '--', ''],
    ['run', '--cwd', join(memory, 'absent'), '--', 'true'],
    ['run', '--name', 'n', '--expires', '0', '--', 'true'],
    ['run', '--name', 'n', '--expires', '999999999999d', '--', 'true'],
  )
  expect(results.map(({ code }) => code)).toEqual([3, 3, 3, 6, 6, 3, ...Array.from({ length: 12 }, () => 2)])
  expect(results.at(-2)?.errors).toContain("Invalid --expires: '0'")
  for (const { errors } of results.slice(1)) expect(errors).toMatch(/^warmswap: [^\n]+ \[ERR_[A-Z_]+\]\n$/)
  expect(json(results[4])).toMatchObject({ outcome: 'error', code: 'ERR_MISSING_ENTRY' })

  const holder = await openBundles(root)
  const lock = start('flock', [join(root, 'writer.lock'), 'sh', '-c', 'echo held; cat'])
  await lock.line(/held/)
  const [late] = bundles(root, ['publish', join(memory, 'full'), '--timeout', '50ms'])
  expect(late).toMatchObject({ code: 4, errors: expect.stringMatching(/[Rr]aise --timeout.*\[ERR_TIMEOUT\]/) })
  lock.signal('SIGKILL')
  await lock.ended
  await holder.close()
})

test('without --store: WARMSWAP_BUNDLES, else .warmswap/<directory>, else the only store there', async ({ memory }) => {
  build(join(memory, 'build'), 'one')
  const cli = async (args: string[], env = {}): Promise<{ code: number | null; out: string; errors: string }> => {
    const child = start(process.execPath, [program, 'bundles', ...args], { cwd: memory, env })
    const { code } = await child.ended
    return { code, out: child.lines.join('\n'), errors: child.stderr() }
  }
  expect(await cli(['ls'])).toMatchObject({ code: 2, errors: expect.stringContaining("/.warmswap' has no store") })
  expect(await cli(['publish', 'build'])).toMatchObject({ code: 0 })
  // A first publish that failed has left a store without a generation.
  mkdirSync(join(memory, 'empty'))
  expect(await cli(['publish', 'empty'])).toMatchObject({ code: 6 })
  for (const env of [{}, { WARMSWAP_BUNDLES: '' }])
    expect((await cli(['current'], env)).out).toBe(join(memory, '.warmswap/build/gens/000001/tree'))
  expect(await cli(['publish', 'build'], { WARMSWAP_BUNDLES: '.warmswap/other' })).toMatchObject({ code: 0 })
  expect((await cli(['current'])).errors).toContain('has 2 stores: build, other')
  expect((await cli(['current', '--store', 'absent'])).errors).toContain('is not a store of bundles')
})

test('run: the command works in the generation and keeps it, also if the program is killed', async ({ memory }) => {
  const root = join(memory, 'store')
  await using store = await openBundles(root)
  const publish = async (text: string): Promise<void> => {
    await using stage = await store.stage()
    await stage.adopt(build(join(memory, text), text))
    await stage.publish()
  }
  await publish('one')
  const text = `console.log([process.cwd(), process.env.WARMSWAP_GENERATION, process.env.WARMSWAP_GENERATION_PATH, process.pid].join()); setInterval(() => {}, 1000)`
  const cli = spawn(
    process.execPath,
    [program, 'bundles', 'run', '--store', root, '--', process.execPath, '-e', text],
    {
      stdio: ['pipe', 'pipe', 'inherit'],
    },
  )
  const [line] = (await once(cli.stdout.setEncoding('utf8'), 'data')) as [string]
  const [cwd, number, path, pid] = line.trim().split(',')
  expect([cwd, number, path]).toEqual([join(root, 'gens/000001/tree'), '1', join(root, 'gens/000001/tree')])
  cli.kill('SIGKILL')
  await once(cli, 'exit')
  for (const next of ['two', 'three', 'four']) await publish(next)
  expect((await store.collect()).pinned).toEqual([1])
  process.kill(Number(pid), 'SIGKILL')
  await expect.poll(async () => (await store.collect()).pinned, { timeout: 20_000 }).toEqual([])
})

test('run: a name keeps the generation for later runs, and exit codes are those of a shell', async ({ memory }) => {
  const root = join(memory, 'store')
  const run = (...args: string[]): string[] => ['run', ...args]
  const name = ['--name', 'session:42', '--expires', '2h']
  const exit = (code: string): string[] => ['--', 'sh', '-c', `exit ${code}`]
  bundles(root, ['publish', build(join(memory, 'a'), 'a')])
  const results = bundles(
    root,
    run(...name, ...exit('3')),
    ...['b', 'c', 'd', 'e'].map((text) => ['publish', build(join(memory, text), text)]),
    run(...name, ...exit('$WARMSWAP_GENERATION')),
    run(...exit('$WARMSWAP_GENERATION')),
    run('--generation', '4', '--cwd', memory, ...exit('$WARMSWAP_GENERATION')),
    run('--', join(memory, 'absent')),
    run(...exit('0; kill -TERM $$')),
    run('--generation', '2', ...exit('0')),
    run('--expires', '1h', ...exit('0')),
    ['pins'],
    ['ls'],
  )
  expect(results.map(({ code }) => code)).toEqual([3, 0, 0, 0, 0, 1, 5, 4, 127, 0, 3, 2, 0, 0])
  expect(results.at(-2)?.out).toMatch(/^session:42 {2}generation 1, for 120 min more\n$/)
  expect(results.at(-1)?.out).toMatch(/^ {7}1 .* {2}session:42$/m)
})

test('publish waits for a tool that still writes', async ({ memory }) => {
  const folder = build(join(memory, 'build'), 'one')
  const file = join(folder, 'log')
  // Longer than the 50 ms that a file has to rest, and shorter than the time between two looks.
  const writer = setInterval(() => appendFileSync(file, 'line\n'), 5)
  const child = start(process.execPath, [
    program,
    'bundles',
    'publish',
    folder,
    '--store',
    join(memory, 'store'),
    '--json',
  ])
  await expect.poll(() => readFileSync(file, 'utf8').length, { timeout: 20_000 }).toBeGreaterThan(500)
  clearInterval(writer)
  const whole = readFileSync(file, 'utf8')
  expect(JSON.parse(await child.line(/outcome/))).toMatchObject({ outcome: 'published' })
  expect(readFileSync(join(memory, 'store/gens/000001/tree/log'), 'utf8')).toBe(whole)
  await child.ended
})
