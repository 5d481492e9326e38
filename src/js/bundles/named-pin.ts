/** Pins with a name, which outlive their process. */

import { abortable } from '../native/abort.js'
import type { NativeBundles, NativeNamedPin } from '../native/binding.cjs'
import { invalidArgument } from '../native/errors.js'
import { unwrap } from '../native/native.js'
import * as check from '../native/validate.js'
import type { NamedPin, NamedPinOptions, PinRecord, WriteOptions } from './contract.js'
import { StoredGeneration } from './generation.js'
import { PinHandle } from './pin.js'
import { reportExcess } from './replaced.js'
import { waiting } from './wait.js'

const OPTIONS = ['name', 'expiresAt', 'generation', 'signal', 'timeoutMs'] as const

/** Whether options of `store.pin()` are those of a named pin. */
export function isNamed(options: unknown): options is NamedPinOptions {
  const { name, expiresAt } = (options ?? {}) as Partial<NamedPinOptions>
  return name !== undefined || expiresAt !== undefined
}

class NamedPinHandle extends PinHandle implements NamedPin {
  readonly name: string
  readonly expiresAt: string
  readonly resumed: boolean

  constructor(bundles: NativeBundles, root: string, facts: NativeNamedPin) {
    super(bundles, root, new StoredGeneration(bundles, root, facts.generation))
    this.name = facts.name
    this.expiresAt = new Date(facts.expiresAt).toISOString()
    this.resumed = facts.resumed === true
  }
}

export async function pinNamed(open: () => NativeBundles, root: string, options: NamedPinOptions): Promise<NamedPin> {
  const { name, expiresAt, generation, ...wait } = check.options('options', options, OPTIONS)
  const wanted = nameOf('options.name', name)
  const end = timeOf('options.expiresAt', expiresAt)
  if (generation !== undefined) check.wholeNumber('options.generation', generation, 1)
  const { timeoutMs, signal } = waiting(wait)
  const bundles = open()
  const facts = await abortable(signal, (token) => bundles.pinNamed(wanted, end, generation, timeoutMs, token))
  return new NamedPinHandle(bundles, root, facts)
}

export async function listNamed(bundles: NativeBundles): Promise<PinRecord[]> {
  return unwrap(await bundles.namedPins()).map(({ name, generation, pinnedAt, expiresAt }) => ({
    name,
    generation,
    pinnedAt: new Date(pinnedAt).toISOString(),
    expiresAt: new Date(expiresAt).toISOString(),
  }))
}

export async function releaseNamed(
  open: () => NativeBundles,
  name: string,
  options: WriteOptions | undefined,
): Promise<boolean> {
  const wanted = nameOf('name', name)
  const { timeoutMs, signal } = waiting(check.options('options', options, ['signal', 'timeoutMs']))
  const bundles = open()
  const released = await abortable(signal, (token) => bundles.releaseNamed(wanted, timeoutMs, token))
  reportExcess(bundles)
  return released
}

const MAX_NAME_BYTES = 1024

function nameOf(option: string, value: unknown): string {
  const name = check.string(option, value)
  // A lone surrogate has no UTF-8: two such names would be one.
  if (name === '' || Buffer.byteLength(name) > MAX_NAME_BYTES || Buffer.from(name).toString() !== name)
    throw invalidArgument(option, value, `a name of 1 to ${MAX_NAME_BYTES} bytes of UTF-8`)
  return name
}

function timeOf(option: string, value: unknown): number {
  const isTime = value instanceof Date || typeof value === 'number' || typeof value === 'string'
  const time = isTime ? new Date(value).getTime() : Number.NaN
  if (!(time > Date.now()))
    throw invalidArgument(option, value, 'a time in the future: a Date, milliseconds since 1970, or ISO 8601')
  return time
}
