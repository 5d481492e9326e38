/** The answer to a request that failed: 501, 502, 503 or 504, with the reason as a page for developers. */

import { STATUS_CODES } from 'node:http'
import { inspect, stripVTControlCharacters } from 'node:util'
import { isWarmswapError } from '../../native/errors.js'
import { stageOf } from '../failures.js'
import type { AnswerHead, HeaderPairs } from './exchange.js'
import type { CheckedFetchOptions, Exchanger } from './options.js'

/** A complete answer. */
export interface FailedAnswer {
  readonly head: AnswerHead
  readonly body: Uint8Array
}

/** Longest text of an error on a page. */
const LONGEST_TEXT = 64 * 1024

/**
 * The answer for this error.
 *
 * | Status | When |
 * | --- | --- |
 * | 502 | the worker ended, its handler threw, or its answer was malformed |
 * | 503, with Retry-After | no worker: the queue is full, the start or the first build failed, or the coordinator is closed |
 * | 504 | a worker had the request and did not answer in time |
 * | 501 | the worker cannot answer such requests |
 */
export function failedAnswer(
  error: unknown,
  accept: string | undefined,
  { development }: CheckedFetchOptions,
  exchanger: Exchanger,
): FailedAnswer {
  const status = statusOf(error)
  const headers: HeaderPairs = [
    ['cache-control', 'no-store'],
    ['x-warmswap-error', isWarmswapError(error) ? error.code : 'handler'],
  ]
  if (status === 503) headers.push(['retry-after', String(exchanger.retryAfter())])
  const title = `${status} ${STATUS_CODES[status]}`
  const isPage = development && /\btext\/html\b/.test(accept ?? '')
  headers.push(['content-type', `text/${isPage ? 'html' : 'plain'}; charset=utf-8`])
  const texts = development ? reasons(error, exchanger.buildError()) : []
  const text = isPage ? page(title, texts) : `${[title, ...texts.flat()].join('\n\n')}\n`
  return { head: { status, statusText: '', headers }, body: Buffer.from(text) }
}

function statusOf(error: unknown): number {
  const stage = stageOf(error)
  if (stage !== undefined) return 503
  if (!isWarmswapError(error)) return 502
  if (error.code === 'ERR_TIMEOUT') return 504
  if (error.code === 'ERR_UNSUPPORTED') return 501
  return ['ERR_QUEUE_FULL', 'ERR_CLOSED', 'ERR_NO_GENERATION', 'ERR_NOT_READY'].includes(error.code) ? 503 : 502
}

type Reason = [heading: string, text: string]

function reasons(error: unknown, build: Error | undefined): Reason[] {
  const own: Reason = ['The request failed:', textOf(error)]
  return build === undefined || build === error ? [own] : [['The last build failed:', textOf(build)], own]
}

/** The error with its stack and its causes. */
function textOf(error: unknown): string {
  return stripVTControlCharacters(inspect(error, { depth: 4, breakLength: 120 })).slice(0, LONGEST_TEXT)
}

function page(title: string, texts: Reason[]): string {
  const sections = texts.map(([heading, text]) => `<h2>${escaped(heading)}</h2><pre>${escaped(text)}</pre>`)
  return `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>${escaped(title)}</title>
<style>body{font:16px/1.5 system-ui,sans-serif;margin:2rem;color-scheme:light dark}pre{white-space:pre-wrap;overflow-wrap:anywhere;padding:1rem;border:1px solid #8888;border-radius:.5rem}h2{font-size:1rem}</style>
</head><body><h1>${escaped(title)}</h1>${sections.join('')}</body></html>
`
}

const ENTITIES: Record<string, string> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;' }

function escaped(text: string): string {
  return text.replace(/[&<>"]/g, (character) => ENTITIES[character] ?? character)
}
