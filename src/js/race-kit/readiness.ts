/**
 * Determines when a process is ready, as an interval. A harness that polls every 500 ms and takes the moment of the
 * poll as zero is late by 231 ms in the median (measured). Its 'delay 0' is then a quarter of a second after the real
 * one.
 */

import http from 'node:http'
import https from 'node:https'
import { now, sleep } from './clock.js'
import type { Random } from './random.js'
import type { Interval, Ready } from './types.js'

/** What a process shows while it starts. */
export interface Signs {
  /** Calls back with each line and each message of the process, until the returned function is called. */
  onLine(listener: (line: string) => void): () => void
  onMessage(listener: (message: unknown) => void): () => void
}

/**
 * Time between two polls: short enough for an edge of 10 ms, with jitter so that it does not synchronise with a timer
 * of the server.
 */
const POLL_MS = { least: 5, most: 10 }
/** A health answer that takes longer counts as not ready; the next attempt uses a new connection. */
const ANSWER_LIMIT_MS = 1000
/** Longer bodies are not answers of a health check. */
const LONGEST_BODY = 64 * 1024

export interface ReadinessOptions {
  ready: Ready
  nonce: string
  nonceFrom: 'header' | 'json' | undefined
  started: number
  signs: Signs
  random: Random
  signal: AbortSignal
  /** Called with the latest observation, for error messages. */
  seen(what: string): void
}

export async function waitUntilReady(options: ReadinessOptions): Promise<Interval> {
  const { ready } = options
  if ('http' in ready) return await polled(options, ready.http, ready.nonce === true || options.nonceFrom !== undefined)
  if ('line' in ready)
    return await announced(options, (announce) => options.signs.onLine((line) => ready.line.test(line) && announce()))
  return await announced(options, (announce) =>
    options.signs.onMessage((message) => isReadyMessage(message, ready.ipc) && announce(timeOf(message))),
  )
}

/**
 * The process reports that it is ready: between the last two turns of this event loop, or exactly when its own clock
 * says. A tick shows that the turn before had read everything that was available.
 */
function announced(
  { started, signal }: ReadinessOptions,
  listen: (announce: (at?: number) => void) => () => void,
): Promise<Interval> {
  return new Promise((resolve, reject) => {
    let [before, last] = [started, started]
    const ticker = setInterval(() => ([before, last] = [last, now()]), POLL_MS.least)
    const done = (finish: () => void): void => {
      clearInterval(ticker)
      unlisten()
      signal.removeEventListener('abort', stop)
      finish()
    }
    const stop = (): void => done(() => reject(signal.reason))
    const unlisten = listen((at) => {
      const seen = now()
      const exact = at !== undefined && at >= started && at <= seen
      done(() => resolve(exact ? { after: at, before: at } : { after: before, before: seen }))
    })
    signal.addEventListener('abort', stop, { once: true })
  })
}

/** Polling, for a server that does not report readiness. `after` is the start of the last attempt that failed. */
async function polled(
  { started, nonce, nonceFrom, random, signal, seen }: ReadinessOptions,
  url: string,
  identified: boolean,
): Promise<Interval> {
  let after = started
  for (;;) {
    signal.throwIfAborted()
    const asked = now()
    const answer = await ask(url, { signal, needsBody: nonceFrom === 'json' })
    const problem = typeof answer === 'string' ? answer : problemOf(answer, identified ? nonce : undefined, nonceFrom)
    if (problem === undefined) return { after, before: now() }
    signal.throwIfAborted()
    after = asked
    seen(problem)
    await sleep(POLL_MS.least + random() * (POLL_MS.most - POLL_MS.least), signal)
  }
}

interface HealthResponse {
  status: number
  nonce: string | undefined
  body: string
}

function problemOf(
  answer: HealthResponse,
  nonce: string | undefined,
  from: 'header' | 'json' = 'header',
): string | undefined {
  if (answer.status < 200 || answer.status > 299) return `status ${answer.status}`
  if (nonce === undefined) return undefined
  const echoed = from === 'header' ? answer.nonce : nonceOf(answer.body)
  return echoed === nonce
    ? undefined
    : `an answer of somebody else: it carries ${echoed === undefined ? 'no nonce' : `the nonce '${echoed}'`}, this instance's is '${nonce}'`
}

function nonceOf(body: string): string | undefined {
  try {
    return (JSON.parse(body) as { nonce?: string }).nonce
  } catch {
    return undefined
  }
}

/** One request on its own connection: a kept connection would still lead to the predecessor. */
function ask(
  url: string,
  { signal, needsBody }: { signal: AbortSignal; needsBody: boolean },
): Promise<HealthResponse | string> {
  return new Promise((resolve) => {
    const request = (url.startsWith('https:') ? https : http).get(
      url,
      { agent: false, signal: AbortSignal.any([signal, AbortSignal.timeout(ANSWER_LIMIT_MS)]) },
      (response) => {
        let body = ''
        const answer = (): void => {
          resolve({ status: response.statusCode ?? 0, nonce: headerOf(response.headers['x-race-nonce']), body })
          // The endpoint streams its body. The status is enough.
          request.destroy()
        }
        if (!needsBody) return answer()
        response.setEncoding('utf8').on('data', (text: string) => {
          body += text
          if (body.length > LONGEST_BODY) answer()
        })
        response.on('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? error.message))
        response.on('end', answer)
      },
    )
    request.on('error', (error: NodeJS.ErrnoException) =>
      resolve(error.name === 'AbortError' ? `no answer within ${ANSWER_LIMIT_MS} ms` : (error.code ?? error.message)),
    )
  })
}

function headerOf(value: string | string[] | undefined): string | undefined {
  return Array.isArray(value) ? value[0] : value
}

function isReadyMessage(message: unknown, expected: string): boolean {
  return (
    message === expected ||
    (typeof message === 'object' && message !== null && (message as { type?: unknown }).type === expected)
  )
}

function timeOf(message: unknown): number | undefined {
  const at = typeof message === 'object' && message !== null ? (message as { at?: unknown }).at : undefined
  return typeof at === 'number' ? at : undefined
}
