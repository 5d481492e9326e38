/** `warmswap lock ls|why` of a store: who runs the job or the build of a key, and how much of its lease is left as observed here. */

import { setTimeout as sleep } from 'node:timers/promises'
import { checkBudget } from '../caches/options.js'
import { parseKeyLocation, parseStoreLocation } from '../caches/location.js'
import { outcomeError } from '../caches/results.js'
import { describeHolder, type Holder } from '../locks/index.js'
import type { NativeRecord, NativeRecordFacts } from '../native/binding.cjs'
import { native, unwrap } from '../native/native.js'
import { duration } from './text.js'

/** The pause between two reads. */
const POLL_MS = 1_000
/** Longest answer of the store. */
const ANSWER_MS = 30_000
/** A live holder renews its lease within this part of the time after which it expires (4/15), with a margin. */
const OBSERVED_PART = 0.35

/** One record, as observed. */
export interface ObservedRecord {
  /** The store and the key, as a URL without options. */
  path: string
  /** 'prewarm' for the lease of a job, 'ensure' for the build of a tree. */
  kind: 'prewarm' | 'ensure'
  /** 'held?' has not been seen to renew its lease, 'free' was given up. */
  state: 'held' | 'held?' | 'ready' | 'failed' | 'free' | 'error'
  holder: Holder | null
  /** Since the acquisition, by the holder's wall clock and this one. */
  ageMs: number | null
  /** Until a caller that has observed as long takes over. Null unless it is held. */
  leaseLeftMs: number | null
  observedMs: number
  fingerprint?: string
  failure?: string
}

interface Sight {
  record: NativeRecord
  /** When this version was first seen. */
  since: number
  isRenewed: boolean
}

/** The records of a store. `observeMs` is how long to watch them, 0 by default. */
export async function recordsOf(url: string, observeMs = 0): Promise<ObservedRecord[]> {
  const { scheme, options } = parseStoreLocation(url) ?? { scheme: '', options: {} }
  const base = url.replace(/[?#].*$/, '').replace(/\/+$/, '')
  const sights = await observe({ scheme, options }, undefined, () => observeMs)
  return sights.map((sight) => described(`${base}/${sight.record.key}`, sight))
}

/** The records of one key. Watches them until each holder has renewed its lease, or has not for longer than it needs. */
export async function recordsOfKey(
  url: string,
  observeMs?: number,
): Promise<{ path: string; records: ObservedRecord[] }> {
  const { scheme, options, key, url: path } = parseKeyLocation(url)
  const longest = (sights: Sight[]): number =>
    Math.max(...sights.filter(isHeld).map(({ record }) => (record.facts?.expiresAfterMs ?? 0) * OBSERVED_PART))
  const sights = await observe({ scheme, options }, key, (found) => observeMs ?? longest(found))
  return { path, records: sights.map((sight) => described(path, sight)) }
}

const isHeld = ({ record }: Sight): boolean => record.facts?.state === 'building'

async function observe(
  location: { scheme: string; options: Record<string, string> },
  key: string | undefined,
  limit: (sights: Sight[]) => number,
): Promise<Sight[]> {
  const handle = unwrap(native().openCache(location.scheme, location.options, undefined, true, 'auto'))
  const read = async (): Promise<NativeRecord[]> => {
    const time = checkBudget('options', {}, ANSWER_MS)
    const { outcome, reason, records } = unwrap(await handle.records(key, time, new (native().CancelToken)()))
    if (outcome !== 'restored')
      throw outcomeError('lock', { outcome, ...(reason !== undefined && { reason }) }, undefined)
    return records
  }
  let sights = (await read()).map((record): Sight => ({ record, since: performance.now(), isRenewed: false }))
  const until = performance.now() + limit(sights)
  for (;;) {
    const left = until - performance.now()
    if (left <= 0 || sights.filter(isHeld).every(({ isRenewed }) => isRenewed)) return sights
    await sleep(Math.min(POLL_MS, left))
    const before = new Map(sights.map((sight) => [idOf(sight.record), sight]))
    sights = (await read()).map((record) => sightOf(record, before.get(idOf(record))))
  }
}

function sightOf(record: NativeRecord, before: Sight | undefined): Sight {
  const isSame = before !== undefined && versionOf(before.record) === versionOf(record)
  if (isSame) return before
  const isRenewed = before !== undefined && before.record.facts?.token === record.facts?.token
  return { record, since: performance.now(), isRenewed }
}

const idOf = ({ key, isLease, facts }: NativeRecord): string => JSON.stringify([key, isLease, facts?.fingerprint])
const versionOf = ({ facts }: NativeRecord): string => JSON.stringify([facts?.token, facts?.seq, facts?.state])

function described(path: string, { record, since, isRenewed }: Sight): ObservedRecord {
  const { facts, isLease } = record
  const observedMs = performance.now() - since
  const kind = isLease ? 'prewarm' : 'ensure'
  if (facts === undefined)
    return { path, kind, state: 'error', holder: null, ageMs: null, leaseLeftMs: null, observedMs }
  const isBuilding = facts.state === 'building'
  const age = Date.now() - Date.parse(facts.since === '' ? facts.at : facts.since)
  return {
    path,
    kind,
    state: stateOf(facts, isRenewed),
    holder: holderOf(facts),
    ageMs: isBuilding && !Number.isNaN(age) ? Math.max(0, age) : null,
    leaseLeftMs: isBuilding ? Math.max(0, facts.expiresAfterMs - observedMs) : null,
    observedMs,
    ...(facts.fingerprint === '' ? {} : { fingerprint: facts.fingerprint }),
    ...(facts.failure === undefined ? {} : { failure: facts.failure }),
  }
}

function stateOf({ state, failure }: NativeRecordFacts, isRenewed: boolean): ObservedRecord['state'] {
  if (state === 'building') return isRenewed ? 'held' : 'held?'
  return state === 'failed' && failure === undefined ? 'free' : state
}

function holderOf({ host, pid, phase, since, at, generation, metadata }: NativeRecordFacts): Holder {
  return {
    pid,
    hostname: host,
    ...(since === '' ? {} : { since }),
    ...(generation === 0 ? {} : { generation }),
    ...(phase === '' ? {} : { progress: { phase, at } }),
    ...(metadata === undefined ? {} : { metadata: JSON.parse(metadata) as Record<string, unknown> }),
    format: 'warmswap',
  }
}

/** The holder of a record in one line. */
export function holderText({ holder, ageMs }: ObservedRecord): string {
  return holder === null
    ? ''
    : `${describeHolder(holder, 'unknown')}${ageMs === null ? '' : `, for ${duration(ageMs)}`}`
}

/** The state of a record, and what will happen. */
export function explainRecord(path: string, record: ObservedRecord): string {
  const { kind, state, leaseLeftMs, observedMs, fingerprint, failure } = record
  const subject = kind === 'prewarm' ? path : `The build of ${path} with the fingerprint '${fingerprint}'`
  const by = holderText(record)
  switch (state) {
    case 'held':
      return `${subject} is held by ${by}. That process is alive: it renewed its lease while this command watched. A waiter continues as soon as it has finished. If it stops, a waiter takes over ${duration(leaseLeftMs ?? 0)} later.`
    case 'held?':
      return `${subject} is held by ${by}. Its lease did not change for ${duration(observedMs)}. If that stays so, a waiter takes over in at most ${duration(leaseLeftMs ?? 0)}. You do not need to do anything.`
    case 'ready':
      return kind === 'prewarm'
        ? `${subject} is free: ${by} has run the job. The next caller checks for its result, and runs the job if there is none.`
        : `${subject} is ready: ${by} has built it. The next caller restores it.`
    case 'failed':
      return `${subject} is free: the run of ${by} failed with '${failure}'. The next caller runs it again.`
    case 'free':
      return `${subject} is free: ${by} gave it up. The next caller acquires it immediately.`
    default:
      return `The record of ${path} cannot be read by this version of warmswap. Update it, or remove the record with 'warmswap cache remove'.`
  }
}
