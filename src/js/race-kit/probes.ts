/** One probe of one target, and how its result is classified. */

import { now } from './clock.js'
import type { Outcome, Probe } from './types.js'

export interface ProbeResult {
  outcome: Outcome
  sentAt: number
  endedAt: number
  detail: string | undefined
}

export type Identify = (nonce: string) => 'current' | 'former' | 'stranger'

const OUTCOMES: readonly Outcome[] = ['ok', 'wrong-generation', 'refused', 'reset', 'hang', 'server-error', 'stranger']

/** Codes of Node's net, http and undici, and of close frames that no peer sent. */
const BY_CODE: Record<string, Outcome> = {
  ECONNREFUSED: 'refused',
  ENOENT: 'refused',
  ECONNRESET: 'reset',
  ECONNABORTED: 'reset',
  EPIPE: 'reset',
  UND_ERR_SOCKET: 'reset',
  UND_ERR_ABORTED: 'reset',
  HPE_INVALID_EOF_STATE: 'reset',
  ETIMEDOUT: 'hang',
  UND_ERR_CONNECT_TIMEOUT: 'hang',
  UND_ERR_HEADERS_TIMEOUT: 'hang',
  UND_ERR_BODY_TIMEOUT: 'hang',
}

/** Runs the probe once, with its time limit. Rejects only if the probe itself is broken. */
export async function runProbe<T>(
  probe: Probe<T>,
  target: T,
  identify: Identify,
  outer: AbortSignal,
): Promise<ProbeResult> {
  outer.throwIfAborted()
  const limit = new AbortController()
  const timer = setTimeout(
    () => limit.abort(new DOMException(`no answer within ${probe.timeoutMs} ms`, 'TimeoutError')),
    probe.timeoutMs,
  )
  const signal = AbortSignal.any([limit.signal, outer])
  const sentAt = now()
  try {
    // A probe that ignores its signal is abandoned, not awaited.
    const timedOut = new Promise<never>((_, reject) =>
      signal.addEventListener('abort', () => reject(signal.reason), { once: true }),
    )
    // Async, so that a probe that throws is raced too. Otherwise the abort that follows would be an unhandled
    // rejection.
    const running = async (): ReturnType<typeof probe.run> => probe.run(target, signal)
    const answer = await Promise.race([running(), timedOut])
    return { ...judge(answer, probe.status, identify), sentAt, endedAt: now() }
  } catch (error) {
    outer.throwIfAborted()
    const outcome: Outcome = limit.signal.aborted ? 'hang' : classify(error)
    return { outcome, sentAt, endedAt: now(), detail: error instanceof Error ? describeError(error) : String(error) }
  } finally {
    clearTimeout(timer)
  }
}

function judge(
  { nonce, value }: { nonce?: string; value?: unknown },
  wanted: number | undefined,
  identify: Identify,
): { outcome: Outcome; detail: string | undefined } {
  const status = statusOf(value)
  const who = nonce === undefined ? 'current' : identify(nonce)
  if (who === 'stranger')
    return { outcome: 'stranger', detail: `answered by '${nonce}', which no instance of this race is or was` }
  if (who === 'former')
    return { outcome: 'wrong-generation', detail: `answered by '${nonce}', which has been replaced` }
  // 404 too: a server that has not yet registered its routes is not ready.
  const wrong = status !== undefined && (wanted === undefined ? status >= 400 : status !== wanted)
  return wrong ? { outcome: 'server-error', detail: `status ${status}` } : { outcome: 'ok', detail: undefined }
}

/** A mistake in the probe's own code must not count as a failure of what it probes. */
const MISTAKES = ['TypeError', 'ReferenceError', 'SyntaxError', 'RangeError']

/**
 * Classifies by an error's `outcome`, its code or that of its cause (fetch hides it there), or its status. An answer
 * with any other error counts as the server's.
 */
function classify(error: unknown): Outcome {
  const facts = (typeof error === 'object' && error !== null ? error : {}) as {
    outcome?: Outcome
    code?: string
    name?: string
    message?: string
    cause?: unknown
  }
  if (facts.outcome !== undefined && OUTCOMES.includes(facts.outcome)) return facts.outcome
  const known = facts.code === undefined ? undefined : BY_CODE[facts.code]
  if (known !== undefined) return known
  if (facts.message === 'socket hang up' || facts.message === 'terminated') return 'reset'
  if (facts.cause !== undefined) return classify(facts.cause)
  if (statusOf(error) === undefined && MISTAKES.includes(facts.name ?? '')) throw error
  return 'server-error'
}

function statusOf(value: unknown): number | undefined {
  const { status, statusCode } = (typeof value === 'object' && value !== null ? value : {}) as {
    status?: unknown
    statusCode?: unknown
  }
  const found = typeof status === 'number' ? status : statusCode
  return typeof found === 'number' ? found : undefined
}

function describeError(error: Error): string {
  const cause = error.cause instanceof Error ? ` (${error.cause.message})` : ''
  return `${error.message}${cause}`.slice(0, 200)
}
