/** Matchers for the results of a race. */

import { expect } from 'vitest'
import { invalidArgument } from '../native/errors.js'
import { milliseconds } from '../native/validate.js'
import { failed } from './edge.js'
import { RequestHistory } from './history.js'
import { RunningRace } from './race.js'
import { Report } from './report.js'
import { samplesFor, supportedConfidence } from './statistics.js'

/** Matchers for the results of a race. */
export interface RaceMatchers<T = unknown> {
  /**
   * Checks a sweep's report: every probe (or the named one) was tried at `ms` or later, none failed there, and the
   * control worked without a restart. With `confidence` c, the number of samples must also suffice to state 'works in
   * at least c of all cases' with confidence c: 0.95 takes 59 samples.
   */
  toSettleWithin(
    ms: number,
    options?: {
      /** Confidence from 0 to 1 that the number of samples must support. Default: any number of samples is enough. */
      confidence?: number
      /** Name of the only probe to check. Default: all. */
      probe?: string
    },
  ): T
  /** Checks a history: every request was answered, and none twice. */
  toAnswerEachOnce(): T
  /** Checks a history: no answer came from an incarnation or generation older than one seen before the request. */
  toNeverGoBackwards(): T
  /** Checks a race: no process or port is left over that belongs to no running instance. Await it. */
  toLeakNothing(): T
}

declare module 'vitest' {
  // biome-ignore lint/suspicious/noExplicitAny: must be declared as in vitest.
  interface Matchers<T = any> extends RaceMatchers<T> {}
}

interface MatcherResult {
  pass: boolean
  message: () => string
}

/** Adds the matchers to vitest's expect. Safe to call again. */
export function addMatchers(): void {
  expect.extend({ toSettleWithin, toAnswerEachOnce, toNeverGoBackwards, toLeakNothing })
}

function toSettleWithin(
  received: unknown,
  ms: number,
  { confidence, probe }: { confidence?: number; probe?: string } = {},
): MatcherResult {
  if (!(received instanceof Report)) throw invalidArgument('expect(…)', received, 'the report of race.sweep()')
  milliseconds('ms', ms)
  if (confidence !== undefined && !(confidence > 0 && confidence < 1))
    throw invalidArgument('options.confidence', confidence, 'a number between 0 and 1')
  const probes = Object.keys(received.edge)
  if (probe !== undefined && !probes.includes(probe))
    throw invalidArgument('options.probe', probe, probes.map((each) => `'${each}'`).join(', '))
  const problems = [
    ...brokenRig(received),
    ...(probe === undefined ? probes : [probe]).flatMap((each) => problemsOf(received, each, ms, confidence)),
  ]
  return {
    pass: problems.length === 0,
    message: () =>
      `${problems.length === 0 ? `every sample at ${ms} ms or later was ok` : problems.join('\n')}\n${received.toString()}`,
  }
}

/** If the control fails, results after a restart are meaningless. */
function brokenRig({ facts: { controls } }: Report): string[] {
  const bad = controls.filter(failed)
  return bad.length === 0
    ? []
    : [
        `the control failed ${bad.length} of ${controls.length} times without a restart (${[...new Set(bad.map(({ outcome }) => outcome))].join(', ')})`,
      ]
}

function problemsOf({ facts }: Report, probe: string, ms: number, confidence: number | undefined): string[] {
  const beyond = facts.samples.filter((sample) => sample.probe === probe && sample.delayMs >= ms)
  const bad = beyond.filter(failed)
  const asked = facts.delays.filter((delay) => delay >= ms)
  if (asked.length === 0 && beyond.length === 0)
    return [`'${probe}' was not tried at ${ms} ms or later: add such a delay`]
  const untried = asked.filter((delay) => !beyond.some(({ delayMs }) => delayMs === delay))
  // Without samples nothing is proven: a slow setup must not make a test green.
  if (bad.length === 0 && untried.length > 0)
    return [
      `'${probe}' was not tried at ${untried.join(', ')} ms: the time was up; raise budgetMs or the test's timeout`,
    ]
  if (bad.length > 0)
    return [
      `'${probe}' failed ${bad.length} of ${beyond.length} times at ${ms} ms or later, last at ${Math.max(...bad.map(({ delayMs }) => delayMs))} ms (${[...new Set(bad.map(({ outcome }) => outcome))].join(', ')})`,
    ]
  if (confidence === undefined || beyond.length >= samplesFor(confidence)) return []
  return [
    `'${probe}' did not fail in ${beyond.length} samples at ${ms} ms or later, which supports a confidence of ${supportedConfidence(beyond.length)}; ${confidence} takes ${samplesFor(confidence)} samples: raise repeats or add delays`,
  ]
}

function toAnswerEachOnce(received: unknown): MatcherResult {
  return judge(received, ['lost', 'twice'], 'every request was answered once')
}

function toNeverGoBackwards(received: unknown): MatcherResult {
  return judge(received, ['stale', 'backwards'], 'no answer went back in time')
}

function judge(received: unknown, kinds: ('lost' | 'twice' | 'stale' | 'backwards')[], good: string): MatcherResult {
  if (!(received instanceof RequestHistory)) throw invalidArgument('expect(…)', received, 'a history of race.history()')
  const findings = received.check()
  const lines = kinds.flatMap((kind) =>
    findings[kind].length === 0
      ? []
      : [
          `${kind}: ${findings[kind].length} of ${received.size}`,
          ...findings[kind].slice(0, 5).map((id) => `  ${received.describe(id)}`),
        ],
  )
  // Without requests nothing is proven.
  if (received.size === 0) return { pass: false, message: () => 'the history is empty: nothing was asked' }
  return { pass: lines.length === 0, message: () => (lines.length === 0 ? good : lines.join('\n')) }
}

async function toLeakNothing(received: unknown): Promise<MatcherResult> {
  if (!(received instanceof RunningRace)) throw invalidArgument('expect(…)', received, 'the race of this test')
  const leaks = await received.leaks()
  return {
    pass: leaks.length === 0,
    message: () => (leaks.length === 0 ? 'something is left behind' : leaks.join('\n')),
  }
}
