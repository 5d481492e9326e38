// @module-tag storm
/**
 * bundles/failed-build-changes-nothing, bundles/crash-needs-no-repair from outside: strace kills the process, or fails the call, at each file call of the addon as it is shipped,
 * without help from warmswap. A first run of each operation is only recorded. Then each of its pairs (name of the call,
 * how many of that name) that concerns the store is struck. CI strikes every n-th of the pairs, `npm run test:long`
 * all.
 */

import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, mkdtempSync, readFileSync, readdirSync, readlinkSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, describe, expect } from 'vitest'
import { type BundleStore, openBundles } from 'warmswap'
import { start } from '../support/children.js'
import { repository } from '../support/paths.js'
import { test } from '../support/temp.js'

const operator = join(repository, '__test__/programs/bundles-operator.mjs')
const isLong = process.env.WARMSWAP_LONG === '1'
/** Strikes of each operation in CI. */
const SAMPLE = 24
/** At a call, until it is reached. */
// A call that a pool thread makes is met in about half of the attempts.
const ATTEMPTS = 12
const effects = isLong ? ['signal=KILL', 'error=EIO', 'error=ENOSPC'] : ['signal=KILL', 'error=EIO']

/** Which generations may be current when the store was opened again: an adoption whose number a killed one took is made again. */
const operations = { publish: [2, 3], rollback: [1, 2], collect: [4], pin: [2], 'adopt a link': [2, 3, 4] }
type Operation = keyof typeof operations

interface Strike {
  call: string
  count: number
  effect: string
}

interface Scene {
  folder: string
  root: string
  link: string
}

/** Two generations, and for an adoption a directory of a stranger. */
async function prepare(memory: string, operation: Operation): Promise<Scene> {
  const folder = mkdtempSync(join(memory, 'scene-'))
  const scene = { folder, root: join(folder, 'store'), link: join(folder, 'dist') }
  await using store = await openBundles(scene.root)
  await publish(store)
  await publish(store)
  if (operation === 'adopt a link') {
    mkdirSync(scene.link)
    writeFileSync(join(scene.link, 'a.txt'), 'of a stranger')
  }
  return scene
}

async function publish(store: BundleStore): Promise<number> {
  await using stage = await store.stage()
  await stage.write('a.txt', 'next')
  return (await stage.publish()).number
}

/** Does the operation under strace, which is attached when everything before it was done. */
async function trace({ folder, root, link }: Scene, operation: Operation, args: string[]): Promise<string> {
  const child = start(process.execPath, [operator, root, operation, link], { cwd: repository })
  await child.line(/^ready$/)
  const log = join(folder, 'log')
  const strace = spawn('strace', ['-f', '-y', '-o', log, ...args, '-p', String(child.pid)], {
    stdio: ['ignore', 'ignore', 'pipe'],
  })
  const ended = once(strace, 'exit')
  await once(strace.stderr, 'data')
  child.say('go')
  await Promise.all([child.ended, ended])
  return readFileSync(log, 'utf8')
}

/** The pairs of a recorded run whose call names something in the folder. */
function pairsOf(log: string, { folder }: Scene): { call: string; count: number }[] {
  const counts = new Map<string, number>()
  const pairs = new Map<string, { call: string; count: number }>()
  for (const line of log.split('\n')) {
    const [, thread, call] = /^(\d+)\s+(\w+)\(/.exec(line) ?? []
    if (thread === undefined || call === undefined) continue
    // strace counts each thread's calls by themselves.
    const count = (counts.get(`${thread} ${call}`) ?? 0) + 1
    counts.set(`${thread} ${call}`, count)
    if (line.includes(folder)) pairs.set(`${call} ${count}`, { call, count })
  }
  return [...pairs.values()]
}

/** The same sample in each run: every n-th, which takes calls of all phases. */
function sampled<T>(list: T[]): T[] {
  if (isLong || list.length <= SAMPLE) return list
  return Array.from({ length: SAMPLE }, (_, index) => list[Math.floor((index * list.length) / SAMPLE)] as T)
}

async function expectRepaired({ folder, root, link }: Scene, operation: Operation, context: string): Promise<void> {
  const options = operation === 'adopt a link' ? { link, adopt: true } : {}
  if (operation === 'adopt a link')
    expect(readFileSync(join(link, 'a.txt'), 'utf8'), `${context}: at no time missing`).toMatch(/stranger/)
  await using store = await openBundles(root, options)
  expect(operations[operation], context).toContain(store.current()?.number)
  expect(await store.verify(), context).toEqual({ ok: true, problems: [] })
  const number = await publish(store)
  await store.collect()
  await (await openBundles(root)).close()
  expect(store.current()?.number, context).toBe(number)
  for (const name of ['owners', 'stage', 'trash'])
    expect(readdirSync(join(root, name)), `${context}: ${name}`).toEqual([])
  expect(readdirSync(join(root, 'gens')), context).toEqual(readdirSync(join(root, 'pins')))
  expect(readdirSync(join(root, 'gens')).length, context).toBe(2)
  expect(
    readdirSync(root).filter((name) => name.endsWith('.tmp')),
    context,
  ).toEqual([])
  if (operation === 'adopt a link') {
    expect(readlinkSync(link), context).toBe('store/view')
    expect(readdirSync(folder).sort(), context).toEqual(['dist', 'log', 'store'])
    const kept = readdirSync(join(root, 'set-aside'))
    expect(
      kept.map((name) => readFileSync(join(root, 'set-aside', name, 'a.txt'), 'utf8')),
      context,
    ).toEqual(['of a stranger'])
  }
}

const traces = canTrace()

function canTrace(): boolean {
  return (
    spawnSync('strace', ['-qq', '-e', 'inject=getuid:error=EIO', '-e', 'trace=getuid', 'true'], { stdio: 'ignore' })
      .status === 0
  )
}

const report: string[] = []
afterAll(() => console.log(report.join('\n')))

describe.skipIf(!traces)(
  `bundles/failed-build-changes-nothing, bundles/crash-needs-no-repair: from outside${traces ? '' : ' (NOT RUN: needs strace and the right to trace)'}, ${isLong ? 'every pair' : `${SAMPLE} of the 12 to 472 strikes of each operation; all in test:long`}`,
  () => {
    test.for(Object.keys(operations) as Operation[])(
      '%s: struck at its file calls, the next open and publish succeed and leave nothing',
      { timeout: 600_000 },
      async (operation, { memory }) => {
        const recorded = await prepare(memory, operation)
        const pairs = pairsOf(await trace(recorded, operation, ['-e', 'trace=%file,%desc']), recorded)
        const strikes: Strike[] = sampled(pairs.flatMap((pair) => effects.map((effect) => ({ ...pair, effect }))))
        if (operation === 'adopt a link') expect(pairs.map(({ call }) => call)).toContain('renameat2')
        const strike = async ({ call, count, effect }: Strike): Promise<boolean> => {
          const scene = await prepare(memory, operation)
          const log = await trace(scene, operation, [
            '-e',
            `trace=${call}`,
            '-e',
            `inject=${call}:${effect}:when=${count}`,
          ])
          await expectRepaired(scene, operation, `${effect} at ${call} ${count} of ${operation}`)
          rmSync(scene.folder, { recursive: true })
          return /\(INJECTED\)|killed by SIGKILL/.test(log)
        }
        let struck = 0
        for (const each of strikes) {
          // Which thread of a pool runs a step is not under the test's control, so that a call is sometimes not
          // reached. Other suites at the same time make that more frequent, so this file runs alone.
          for (let attempt = 1; attempt <= ATTEMPTS; attempt += 1) {
            if (!(await strike(each))) continue
            struck += 1
            break
          }
        }
        report.push(
          `${operation}: struck at ${struck} of ${strikes.length} chosen points; ${pairs.length} pairs, ${pairs.length * effects.length} with each effect`,
        )
        // All of them on a quiet machine. On a busy one 18 and 19 of 24 were reached; most, so that the test is not blind.
        expect(struck).toBeGreaterThan(strikes.length * 0.5)
      },
    )
  },
)
