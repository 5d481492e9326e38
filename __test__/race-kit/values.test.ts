// The parts of the kit that are values: statistics, orders, edges, clean-up, and what the built file may import.
import { spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { CleanUp, combined, withCleanUpErrors } from '../../src/js/race-kit/clean-up.js'
import { type Sample, edgeOf, nextDelay, pointsOf } from '../../src/js/race-kit/edge.js'
import { LineReader, OutputTail } from '../../src/js/race-kit/output.js'
import { chooseSeed, seeded, shuffled } from '../../src/js/race-kit/random.js'
import { samplesFor, supportedConfidence, wilson } from '../../src/js/race-kit/statistics.js'
import { repository } from '../support/paths.js'

describe('statistics', () => {
  test.each([
    { failures: 0, samples: 5, interval: [0, 0.4345] },
    { failures: 5, samples: 5, interval: [0.5655, 1] },
    { failures: 3, samples: 10, interval: [0.1078, 0.6032] },
    { failures: 50, samples: 100, interval: [0.4038, 0.5962] },
    { failures: 0, samples: 0, interval: [0, 1] },
  ])('Wilson: $failures of $samples', ({ failures, samples, interval }) => {
    const [low, high] = wilson(failures, samples)
    expect(low).toBeCloseTo(interval[0] as number, 4)
    expect(high).toBeCloseTo(interval[1] as number, 4)
    // What defines it: at its ends the observed rate is z standard errors away.
    for (const end of [low, high].filter((each) => each > 0 && each < 1)) {
      expect(Math.abs(failures / samples - end)).toBeCloseTo(1.959964 * Math.sqrt((end * (1 - end)) / samples), 6)
    }
  })

  test('the confidence that n samples without a failure support', () => {
    expect([0.8, 0.9, 0.95, 0.99].map(samplesFor)).toEqual([8, 22, 59, 459])
    for (const samples of [1, 5, 22, 59, 500]) {
      const supported = supportedConfidence(samples)
      expect(samplesFor(supported)).toBeLessThanOrEqual(samples)
      expect(samplesFor(supported + 0.002)).toBeGreaterThan(samples - 1)
    }
  })

  test('coverage: in 2000 seeded experiments the interval contains the real value in 93 to 97.5 %', () => {
    const random = seeded(7)
    let held = 0
    for (let round = 0; round < 2000; round += 1) {
      const failures = Array.from({ length: 40 }, () => random() < 0.3).filter(Boolean).length
      const [low, high] = wilson(failures, 40)
      if (low <= 0.3 && 0.3 <= high) held += 1
    }
    expect(held / 2000).toBeGreaterThan(0.93)
    expect(held / 2000).toBeLessThan(0.975)
  })
})

test('the same seed gives the same order, another seed another order; a bad seed is refused', () => {
  const values = Array.from({ length: 50 }, (_, index) => index)
  expect(shuffled(values, seeded(1))).toEqual(shuffled(values, seeded(1)))
  expect(shuffled(values, seeded(1))).not.toEqual(shuffled(values, seeded(2)))
  expect([...shuffled(values, seeded(1))].sort((one, other) => one - other)).toEqual(values)
  expect(chooseSeed('12')).toBe(12)
  for (const bad of ['x', '-1', '4294967296', '1.5']) expect(() => chooseSeed(bad)).toThrow(/WARMSWAP_RACE_SEED/)
})

test('the edge: greatest failing delay and its neighbour, halved until it is narrow enough', () => {
  const sample = (delayMs: number, outcome: Sample['outcome']): Sample => ({
    probe: 'p',
    delayMs,
    outcome,
    sentAt: 0,
    endedAt: 0,
    detail: undefined,
    ready: { after: 0, before: 0 },
  })
  const edge = (...samples: Sample[]) => edgeOf(pointsOf(samples))
  expect(edge(sample(0, 'hang'), sample(50, 'ok'), sample(100, 'reset'), sample(100, 'ok'), sample(200, 'ok'))).toEqual(
    { lastFailMs: 100, firstOkMs: 200 },
  )
  expect(edge(sample(0, 'ok'), sample(9, 'ok'))).toEqual({ lastFailMs: null, firstOkMs: 0 })
  expect(edge(sample(0, 'hang'))).toEqual({ lastFailMs: 0, firstOkMs: null })
  expect(nextDelay({ lastFailMs: 100, firstOkMs: 200 }, 10)).toBe(150)
  expect(nextDelay({ lastFailMs: 100, firstOkMs: 110 }, 10)).toBeUndefined()
  expect(nextDelay({ lastFailMs: null, firstOkMs: 0 }, 10)).toBeUndefined()
})

test('clean-up runs in reverse, to the end, and never hides the first error', async () => {
  const order: number[] = []
  const cleanUp = new CleanUp()
  for (const step of [1, 2, 3]) {
    cleanUp.add(() => {
      order.push(step)
      if (step > 1) throw new Error(`step ${step}`)
    })
  }
  const errors = await cleanUp.run()
  expect(order).toEqual([3, 2, 1])
  expect(errors.map(String)).toEqual(['Error: step 3', 'Error: step 2'])
  const first = new Error('first')
  expect(withCleanUpErrors(first, errors)).toBe(first)
  expect(first).toHaveProperty('cleanUpErrors', errors)
  expect((combined(errors) as Error).message).toBe('step 3\nstep 2')
})

test('output: the last 64 KiB, lines over chunk borders', () => {
  const tail = new OutputTail()
  for (let index = 0; index < 3000; index += 1) tail.add(Buffer.from(`${String(index).padStart(99, '.')}\n`))
  expect(tail.toString()).toHaveLength(65_536)
  expect(tail.toString().trimEnd().endsWith('2999')).toBe(true)
  const lines = new LineReader()
  const push = (text: string): string[] => lines.push(Buffer.from(text))
  expect([push('REA'), push('DY\r\nnext'), push('\n')]).toEqual([[], ['READY'], ['next']])
  const [begin, end] = [Buffer.from('bereit für\n').subarray(0, 9), Buffer.from('bereit für\n').subarray(9)]
  expect([lines.push(begin), lines.push(end)], 'a chunk may end within a character').toEqual([[], ['bereit für']])
})

test('nothing that warmswap/vitest loads is the store or the addon, and warmswap/race-point loads nothing at all', () => {
  const loaded = (entry: string, seen = new Set<string>()): Set<string> => {
    if (seen.has(entry)) return seen
    seen.add(entry)
    const text = readFileSync(join(repository, 'dist', entry), 'utf8')
    for (const [, file] of text.matchAll(/(?:from|import)\s*\(?"\.\/([^"]+)"/g)) loaded(file as string, seen)
    return seen
  }
  const texts = [...loaded('vitest.js'), ...loaded('keeper.js')].map((file) =>
    readFileSync(join(repository, 'dist', file), 'utf8'),
  )
  expect(texts.join('\n')).not.toMatch(/binding\.cjs|openBundles/)
  expect([...loaded('race-point.js')]).toEqual(['race-point.js'])
  expect(readFileSync(join(repository, 'dist/race-point.js'), 'utf8')).not.toMatch(/^import /m)
})

test("a worker's warmswap/worker loads neither the addon nor the rest of warmswap before it needs them", () => {
  const loaded = (entry: string, seen = new Set<string>()): Set<string> => {
    if (seen.has(entry)) return seen
    seen.add(entry)
    for (const [, file] of readFileSync(join(repository, 'dist', entry), 'utf8').matchAll(/from "\.\/([^"]+)"/g))
      loaded(file as string, seen)
    return seen
  }
  const files = [...loaded('worker.js')]
  expect(files).not.toContain('index.js')
  expect(files.map((file) => readFileSync(join(repository, 'dist', file), 'utf8')).join('\n')).not.toMatch(
    /binding\.cjs|openBundles/,
  )
})

test('racePoint does nothing without a race', () => {
  const { stdout } = spawnSync(
    process.execPath,
    ['--input-type=module', '-e', "import { racePoint } from 'warmswap/race-point'; console.log(racePoint('x'))"],
    { cwd: repository, encoding: 'utf8', env: { ...process.env, WARMSWAP_RACE: undefined } },
  )
  expect(stdout).toBe('undefined\n')
})
