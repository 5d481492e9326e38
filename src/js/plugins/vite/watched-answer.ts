/** The answer to a request that must not be replayed. If it fails after a re-optimization has overtaken it, the client gets 503. */

import type { ServerResponse } from 'node:http'
import { refuse } from './replay.js'

/** A 503 of the application already means the same. */
const REFUSED = 503

/** Calls the callback of a `write` or `end` that was dropped: the handler may wait for it. Returns `result`. */
function drop<T>(args: unknown[], result: T): T {
  const done = args.find((argument) => typeof argument === 'function') as (() => void) | undefined
  if (done !== undefined) queueMicrotask(() => done())
  return result
}

/** Turns an answer with a status of 500 or more into 503 with Retry-After if `isOvertaken` returns true. */
export function refuseOvertaken(response: ServerResponse, message: string, isOvertaken: () => boolean): void {
  const { writeHead, write, end } = response
  let isRefused = false
  const refuseNow = (status: number): boolean => {
    if (isRefused) return true
    if (status < 500 || status === REFUSED || response.headersSent || !isOvertaken()) return false
    Object.assign(response, { writeHead, write, end })
    for (const name of response.getHeaderNames()) response.removeHeader(name)
    refuse(response, message)
    isRefused = true
    intercept()
    return true
  }
  const intercept = (): void => {
    response.writeHead = ((...args: unknown[]) =>
      refuseNow(Number(args[0])) ? response : Reflect.apply(writeHead, response, args)) as typeof writeHead
    response.write = ((...args: unknown[]) =>
      refuseNow(response.statusCode) ? drop(args, true) : Reflect.apply(write, response, args)) as typeof write
    response.end = ((...args: unknown[]) =>
      refuseNow(response.statusCode) ? drop(args, response) : Reflect.apply(end, response, args)) as typeof end
  }
  intercept()
}
