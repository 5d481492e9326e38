/**
 * Whether a message of a worker is what the protocol says (protocol.ts). A worker may run another release of this package,
 * or code that posts messages of its own on the same port.
 */

import { messageOf } from '../native/callbacks.js'
import { problemOfHead } from './http/exchange.js'
import { isRemoteError } from './remote-error.js'

/** Parts of a body that a worker may ask for at once: far more than it has room for. */
const MOST_PARTS = 1024

type Fields = Record<string, unknown>
type Check = (message: Fields) => string | undefined

/** The fields that each kind of message needs. */
const CHECKS = new Map<unknown, Check>([
  [
    'reply',
    (message) => needsRequest(message) ?? ('error' in message ? needsError(message.error) : needsValue(message)),
  ],
  ['begun', needsId],
  ['drop', needsId],
  ['pull', (message) => needsId(message) ?? needsCount(message)],
  ['part', (message) => needsRequest(message) ?? needsValue(message)],
  ['stream', needsRequest],
  ['end', (message) => needsRequest(message) ?? (message.error === undefined ? undefined : needsError(message.error))],
  ['uncaught', (message) => needsError(message.error)],
  ['ready', () => undefined],
])

/** Messages for the hand-over of a generation, which uses the same channel (bundles/hand-over.ts). */
const HAND_OVER: readonly unknown[] = ['ask', 'taken', 'refused', 'offer']

/**
 * Describes what is wrong with a message. Undefined for a valid one, and null for one that has no field `warmswap`: it
 * is between the program and its worker.
 */
export function problemOf(message: unknown): string | undefined | null {
  if (typeof message !== 'object' || message === null) return null
  const fields = message as Fields
  const { warmswap: kind } = fields
  const check = CHECKS.get(kind)
  if (check === undefined)
    return !('warmswap' in fields) || HAND_OVER.includes(kind)
      ? null
      : `sent a message of an unknown kind (${messageOf(kind).slice(0, 50)}); it was refused`
  const problem = check(fields)
  return problem === undefined ? undefined : `sent a malformed '${kind as string}' message: ${problem}; it was refused`
}

function needsId({ id }: Fields): string | undefined {
  return Number.isSafeInteger(id) ? undefined : 'its id is not an integer'
}

function needsRequest(message: Fields): string | undefined {
  return (
    needsId(message) ?? (Number.isSafeInteger(message.incarnation) ? undefined : 'its incarnation is not an integer')
  )
}

function needsCount({ count }: Fields): string | undefined {
  return Number.isSafeInteger(count) && (count as number) > 0 && (count as number) <= MOST_PARTS
    ? undefined
    : `its count is not from 1 to ${MOST_PARTS}`
}

function needsValue(message: Fields): string | undefined {
  return 'value' in message ? undefined : 'it has neither a value nor an error'
}

function needsError(error: unknown): string | undefined {
  return isRemoteError(error) ? undefined : 'its error has no name and message'
}

/** What is wrong with the answer to an HTTP request; undefined for a good one. */
export function problemOfAnswer(answer: unknown): string | undefined {
  if (typeof answer !== 'object' || answer === null) return 'it is no object with head and body'
  const { head, body } = answer as Fields
  if (body !== null && !(body instanceof Uint8Array)) return 'its body is not null and no Uint8Array'
  return problemOfHead(head)
}
