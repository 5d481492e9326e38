/**
 * Whether a message of a worker is what the protocol says (channel.ts). A worker may run another release of this package,
 * or code that posts messages of its own on the same port.
 */

import { messageOf } from '../callbacks.js'
import { isRemoteError } from './remote-error.js'

type Fields = Record<string, unknown>
type Check = (message: Fields) => string | undefined

/** What each kind of message needs, apart from its kind. */
const CHECKS: Record<string, Check> = {
  ready: () => undefined,
  begun: needsId,
  reply: (message) => needsRequest(message) ?? ('error' in message ? needsError(message.error) : needsValue(message)),
  stream: needsRequest,
  part: (message) => needsRequest(message) ?? needsValue(message),
  end: (message) => needsRequest(message) ?? (message.error === undefined ? undefined : needsError(message.error)),
}

/** What is wrong with the message; undefined for a good one. */
export function problemOf(message: object): string | undefined {
  const fields = message as Fields
  const { warmswap: kind } = fields
  if (typeof kind !== 'string' || !Object.hasOwn(CHECKS, kind)) return `sent a message of an unknown kind (${messageOf(kind).slice(0, 50)}); it was refused`
  const problem = CHECKS[kind]?.(fields)
  return problem === undefined ? undefined : `sent a malformed '${kind}' message: ${problem}; it was refused`
}

function needsId({ id }: Fields): string | undefined {
  return Number.isSafeInteger(id) ? undefined : 'its id is no whole number'
}

function needsRequest(message: Fields): string | undefined {
  return needsId(message) ?? (Number.isSafeInteger(message.incarnation) ? undefined : 'its incarnation is no whole number')
}

function needsValue(message: Fields): string | undefined {
  return 'value' in message ? undefined : 'it has neither a value nor an error'
}

function needsError(error: unknown): string | undefined {
  return isRemoteError(error) ? undefined : 'its error has no name and message'
}
